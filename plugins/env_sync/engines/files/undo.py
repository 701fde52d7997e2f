"""Undo: live and previous change places."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import ClassVar

from attrs import evolve, frozen

from env_sync.core.errors import NoSuchDatabase, PromoteFailed
from env_sync.engines.base import undo
from env_sync.engines.base.history import Returned
from env_sync.engines.base.promotion import Swapped
from env_sync.engines.files.lease import Hold
from env_sync.engines.files.metadata import Record, read_record, write_record
from env_sync.engines.files.place import Place, check_live
from env_sync.engines.files.promotion import note_was_live
from env_sync.engines.files.swap import is_there, swap
from env_sync.engines.files.syscalls import identity


@frozen(kw_only=True)
class Ready:
    """What previous says, and the identities of live and previous."""

    previous: Record
    identities: tuple[str, str]


@frozen(kw_only=True)
class Undoing(undo.Undoing[Record, Record, Ready]):
    """All that an undo works with. Every method may raise OSError."""

    unsaid: ClassVar[str] = "nothing says that it was ever live"

    place: Place
    hold: Hold
    check: Callable[[], None]
    """Raises Cancelled."""

    @property
    def previous_named(self) -> str:
        """The path of previous."""
        return str(self.place.previous)

    def read_live(self) -> Record | None:
        """What live says about itself."""
        return read_record(self.place, self.place.live)

    def write_returned(self, said: Record, returned: Returned) -> None:
        """Let live, which says this, say that this undo made it live."""
        write_record(self.place, self.place.live, evolve(said, returned=returned))

    def has_previous(self) -> bool:
        """Whether there is anything of that name."""
        return is_there(self.place.previous)

    def read_previous(self) -> Record | None:
        """What previous says about itself; None where there is no such directory."""
        return read_record(self.place, self.place.previous)

    def prepare(self, previous: Record) -> Ready:
        """Remember which directories they are. Raises NoSuchDatabase where there is no live."""
        place = self.place
        if not check_live(place):
            raise NoSuchDatabase(
                f"There is no {place}, so {place.previous} cannot change places with it. To make it live by "
                f"hand: mv '{place.previous}' '{place.live}'."
            )
        self.check()
        return Ready(previous=previous, identities=(identity(place.live), identity(place.previous)))

    def swap(self, ready: Ready) -> Swapped:
        """Exchange the two. Raises PromoteFailed where somebody put other directories there."""
        place = self.place
        self.hold.check()
        if ready.identities != (identity(place.live), identity(place.previous)) or not check_live(place):
            raise PromoteFailed(
                f"{place} or {place.previous} was replaced by somebody else meanwhile. Live is as they left "
                "it; run the step again."
            )
        note_was_live(place, self.environment)
        returned = Returned(holder=self.holder, at=dt.datetime.now(dt.UTC), unavailable=0.0)
        write_record(place, place.previous, evolve(ready.previous, returned=returned))
        swap(place, place.previous)
        self.log.info("%s is what %s was.", place, place.previous)
        return Swapped(unavailable=0.0)
