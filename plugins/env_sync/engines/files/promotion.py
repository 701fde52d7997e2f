"""Promoting: incoming becomes live, live becomes previous."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable
from pathlib import Path

from attrs import evolve, frozen

from env_sync.core.errors import EnvSyncError, PromoteFailed
from env_sync.engines.base import promotion
from env_sync.engines.base.contract import Stamp
from env_sync.engines.base.history import Promoted, WasLive
from env_sync.engines.base.promotion import Swapped, warning_of
from env_sync.engines.base.proof import nothing_to_promote
from env_sync.engines.files.lease import Hold
from env_sync.engines.files.metadata import Record, forget_others, read_record, sync_folder, write_record
from env_sync.engines.files.place import Place, check_folder, check_live, plain_errors
from env_sync.engines.files.swap import is_there, keep_as_previous, remove, swap
from env_sync.engines.files.syscalls import identity, rename_to_new


@frozen(kw_only=True)
class Prepared(promotion.Prepared):
    """The identities of incoming, when it was proved, and of live; None for a live that is not there."""

    incoming: str
    live: str | None


@frozen(kw_only=True)
class Promoting(promotion.Promoting[None, Prepared]):
    """All that a promotion works with. Every method may raise OSError."""

    place: Place
    hold: Hold
    check: Callable[[], None]
    """Raises Cancelled."""

    @property
    def live_named(self) -> str:
        """Live, and where it is."""
        return str(self.place)

    @property
    def incoming_named(self) -> str:
        """The path of incoming."""
        return str(self.place.incoming)

    def read_incoming(self) -> None:
        """Nothing: live is asked in any case."""

    def read_live(self) -> Record | None:
        """What live says about itself."""
        return read_record(self.place, self.place.live)

    def read_proof(self) -> Stamp | None:
        """The stamp of incoming. Raises ProofMissing where there is none."""
        record = read_record(self.place, self.place.incoming)
        if record is None:
            raise nothing_to_promote(f"directory {self.place.incoming}")
        return record.stamp

    def prepare(self, incoming: None, stamp: Stamp) -> Prepared:
        """Remember which directories they are. Raises ContentRefused, AccessRefused."""
        place = self.place
        check_folder(place)
        proven = identity(place.incoming)
        live = identity(place.live) if check_live(place) else None
        return Prepared(stamp=stamp, first=live is None, incoming=proven, live=live)

    def make_way(self, prepared: Prepared) -> Prepared:
        """Remove what an earlier promotion left of the previous of before."""
        if remove(self.place, self.place.replaced):
            self.log.info("Removed %s, which an earlier promotion left.", self.place.replaced)
        return prepared

    def check_same(self, prepared: Prepared, *, last: bool) -> Prepared:
        """See that the lease is held, and that nobody put other directories there."""
        place = self.place
        self.check()
        self.hold.check()
        if prepared.live is not None and (
            (identity(place.incoming), identity(place.live)) != (prepared.incoming, prepared.live)
            or not check_live(place)
        ):
            raise PromoteFailed(
                f"{place} was replaced by somebody else while the swap was prepared. Live is as they left "
                "it; run the step again."
            )
        return prepared

    def swap(self, prepared: Prepared) -> Swapped:
        """Exchange the two, and let what was live be previous. See `files.swap`."""
        if prepared.first:
            return self._name_first(prepared.stamp)
        place = self.place
        _dress(place.incoming, place.live)
        note_was_live(place, self.environment)
        self._note_promoted(prepared.stamp, first=False)
        began = time.monotonic()
        swap(place, place.incoming)
        self.log.info("%s was swapped within %.3f s.", place, time.monotonic() - began)
        keep_as_previous(place)
        return Swapped(unavailable=0.0)

    def has_previous(self) -> bool:
        """Whether there is anything of that name."""
        return is_there(self.place.previous)

    def drop_replaced(self, *, first: bool) -> tuple[str, ...]:
        """Remove what was previous before the swap; gives a warning where that fails."""
        return self._removed(self.place.replaced)

    def drop_previous(self) -> tuple[str, ...]:
        """Remove previous; gives a warning where that fails."""
        return self._removed(self.place.previous)

    def tidy_up(self) -> tuple[str, ...]:
        """Remove the records of what is gone; gives a warning where that fails."""
        try:
            with plain_errors(f"Tidying up {self.place.folder}"):
                forget_others(self.place)
        except EnvSyncError as problem:
            return (f"Live is the new data, but: {problem}",)
        return ()

    def _removed(self, copy: Path) -> tuple[str, ...]:
        try:
            with plain_errors(f"Removing {copy}"):
                remove(self.place, copy)
        except EnvSyncError as problem:
            return warning_of(copy, problem)
        return ()

    def _name_first(self, stamp: Stamp) -> Swapped:
        """Make incoming live where there is none: only the sync's user gets in until somebody opens it."""
        place = self.place
        self._note_promoted(stamp, first=True)
        rename_to_new(place.incoming, place.live)
        sync_folder(place.root)
        warning = (
            f"{place} is new: only the user of this worker can enter it. Let applications in with chown and "
            f"chmod of {place.live} itself; later pulls keep that."
        )
        return Swapped(unavailable=0.0, warnings=(warning,))

    def _note_promoted(self, stamp: Stamp, *, first: bool) -> None:
        """Let incoming say, before the swap, what that makes of it."""
        promoted = Promoted(at=dt.datetime.now(dt.UTC), unavailable=0.0, first=first)
        write_record(self.place, self.place.incoming, Record(stamp=stamp, promoted=promoted))


def note_was_live(place: Place, environment: str) -> None:
    """Let live say, before it is swapped, that it was live here: by this it is known for undo.

    Raises OSError.
    """
    record = read_record(place, place.live) or Record()
    was_live = WasLive(database=place.database, environment=environment, until=dt.datetime.now(dt.UTC))
    write_record(place, place.live, evolve(record, was_live=was_live))


def _dress(incoming: Path, live: Path) -> None:
    """Give incoming live's owner and mode; above it stands a directory that only this user can enter."""
    status = live.stat()
    ours = incoming.stat()
    if (status.st_uid, status.st_gid) != (ours.st_uid, ours.st_gid):
        os.chown(incoming, status.st_uid, status.st_gid, follow_symlinks=False)
    incoming.chmod(status.st_mode & 0o7777)
    os.utime(incoming, ns=(ours.st_atime_ns, ours.st_mtime_ns))
