"""The clean-up after a group: nothing of it runs on, and no copy that is not live or previous is left."""

from __future__ import annotations

from attrs import frozen

from env_sync.engines.base import clean_up
from env_sync.engines.mysql.copy_ownership import is_copy
from env_sync.engines.mysql.incoming import drop_copy, end_earlier_sessions
from env_sync.engines.mysql.lease import HeldLease
from env_sync.engines.mysql.metadata import Told, read_told
from env_sync.engines.mysql.names import Copies
from env_sync.engines.mysql.session import exists
from env_sync.engines.mysql.stash import put_back


@frozen(kw_only=True)
class Cleaning(clean_up.Cleaning):
    """All that a clean-up works with. Every method may raise MySQLError."""

    hold: HeldLease
    database: str
    copies: Copies | None
    """None for a database that can only be dumped."""
    recovered: str
    """What was put right before; "" for nothing."""

    def begin(self) -> list[str]:
        """End what still runs in the copies."""
        copies = self.copies
        worked_on = (copies.live, copies.incoming, copies.outgoing) if copies else (self.database,)
        return [*([self.recovered] if self.recovered else []), *end_earlier_sessions(self.hold, worked_on)]

    def read_copy(self, copy: str) -> Told | None:
        """What a copy says about itself; None where there is none, or somebody else's."""
        session = self.hold.session
        if not exists(session, copy) or not is_copy(session, copy):
            return None
        return read_told(session, copy)

    def drop(self, copy: str) -> bool:
        """Drop it; whether there was one."""
        return drop_copy(self.hold.session, copy)

    def settle(self) -> str:
        """Settle what is aside; what was done, or ""."""
        return put_back(self.hold.session, self.copies) if self.copies else ""
