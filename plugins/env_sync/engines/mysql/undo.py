"""Undo: live and previous change places."""

from __future__ import annotations

from attrs import evolve, frozen

from env_sync.core.errors import NoSuchDatabase, PromoteFailed
from env_sync.engines.base import undo
from env_sync.engines.base.history import Returned
from env_sync.engines.base.promotion import Swapped
from env_sync.engines.mysql.metadata import Told, has_table, make_table, read_told, write_told
from env_sync.engines.mysql.objects import Object
from env_sync.engines.mysql.promotion import Promoting
from env_sync.engines.mysql.replaceable import check_replaceable
from env_sync.engines.mysql.session import exists
from env_sync.engines.mysql.stash import put_back
from env_sync.engines.mysql.swap import begin, make_like, objects_of


@frozen(kw_only=True)
class Undoing(undo.Undoing[Told, Told, tuple[Object, ...]]):
    """All that an undo works with. Every method may raise MySQLError."""

    promoting: Promoting

    @property
    def previous_named(self) -> str:
        """Previous, and where it is."""
        return f"{self.promoting.copies.previous} on {self.promoting.server}"

    def read_live(self) -> Told:
        """What live says about itself."""
        return self.promoting.read_live()

    def write_returned(self, said: Told, returned: Returned) -> None:
        """Let live, which says this, say that this undo made it live."""
        write_told(self.promoting.hold.session, self.database, evolve(said, returned=returned))

    def has_previous(self) -> bool:
        """Whether there is a database of that name."""
        return self.promoting.has_previous()

    def read_previous(self) -> Told | None:
        """What previous says about itself; None where there is none."""
        session, copies = self.promoting.hold.session, self.promoting.copies
        put_back(session, copies)
        return read_told(session, copies.previous) if self.has_previous() else None

    def is_another(self, previous: Told) -> bool:
        """Whether it has another token than the lease database keeps of what was live last."""
        known = self.promoting.hold.session.value(
            "SELECT token FROM was_live WHERE `database` = %s", [self.database]
        )
        return previous.was_live is not None and previous.was_live.token != known

    def prepare(self, previous: Told) -> tuple[Object, ...]:
        """What live has beside its tables. Raises NoSuchDatabase, PromoteFailed."""
        server, session, copies = self.promoting.server, self.promoting.hold.session, self.promoting.copies
        if not exists(session, copies.live):
            raise NoSuchDatabase(
                f"There is no database {self.promoting.leases.where}, so {copies.previous} cannot change "
                "places with it. Make an empty database of that name, and run this again."
            )
        old = objects_of(server, copies.live)
        if not has_table(session, copies.live):
            make_table(session, copies.live)
        check_replaceable(session, server, copies, PromoteFailed)
        return old

    def swap(self, ready: tuple[Object, ...]) -> Swapped:
        """Swap the tables through `replaced`, and make what cannot move. See `swap`."""
        session, copies = self.promoting.hold.session, self.promoting.copies
        make_like(session, copies.replaced, copies.live)
        plan = self.promoting.plan(copies.previous, ready, undo=True)
        begin(session, plan)
        swapped = self.promoting.carry_out(plan)
        warnings = self.promoting.drop_replaced(first=False)
        return evolve(swapped, warnings=(*swapped.warnings, *warnings))
