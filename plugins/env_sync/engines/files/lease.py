"""The lease: who may touch a live directory now, kept beside it.

A file says who holds it between steps; a lock of the operating system on another file says who is at work
right now, and is gone in the instant in which that process is. Files are read and written under a lock for
all directories of the root. Times are of this machine's clock.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve, frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import LeaseHeld, LeaseLost
from env_sync.core.serialization import from_plain, to_plain
from env_sync.engines.base.contract import Holder
from env_sync.engines.base.renewing import renewing
from env_sync.engines.files.metadata import write_whole
from env_sync.engines.files.place import Place, check_folder, make_folder, plain_errors

WAIT = 60.0
"""Seconds that a step waits for another process that is at work on its directory."""
TABLE_WAIT = 30.0
"""The same for the lock on the files that say who holds what."""
BETWEEN_TRIES = 0.05
RENEW_AT_MOST = 60.0
CHECK_EVERY = 1.0
"""Seconds between two looks of a step at whether the lease is still its own."""


@frozen(kw_only=True)
class Row:
    """What the file says."""

    holder: Holder
    step: str
    host: str
    pid: int
    taken_at: dt.datetime
    expires_at: dt.datetime

    def belongs_to(self, holder: Holder) -> bool:
        """Whether this run and group hold it, in whatever attempt."""
        return self.holder.same_group_as(holder)

    def __str__(self) -> str:
        step = f", step {self.step}" if self.step else ""
        return (
            f"{self.holder} (process {self.pid} on {self.host}{step}) since {_moment(self.taken_at)}; "
            f"unless it is renewed it lapses at {_moment(self.expires_at)}"
        )


class Hold:
    """The lease while a step is at work."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._checked = time.monotonic()

    def note_step(self, step: str) -> None:
        """Write down what is being done."""
        self._leases.renew(step)

    def check(self) -> None:
        """Raises LeaseLost where somebody else has taken it, a newer attempt of this group included."""
        self._leases.renew(None)

    def check_now_and_then(self) -> None:
        """The same, where the last time is long enough ago."""
        now = time.monotonic()
        if now - self._checked >= CHECK_EVERY:
            self._checked = now
            self.check()


class Leases:
    """The lease on one live directory, as one holder sees it."""

    def __init__(
        self,
        place: Place,
        holder: Holder,
        lifetime: dt.timedelta,
        cancellation: Cancellation,
        log: logging.Logger,
    ) -> None:
        self.place = place
        self.holder = holder
        self._lifetime = lifetime
        self._cancellation = cancellation
        self._log = log

    def take(self, *, at_most: int) -> None:
        """Take or renew it. See `Engine.take_lease`. Raises LeaseHeld, AccessRefused, DiskFull."""
        make_folder(self.place)
        with self._errors(), self._table():
            row = self._row()
            at_rest = self._at_rest()
            now = _now()
            ours = row is not None and row.belongs_to(self.holder)
            if row is not None and not ours and (row.expires_at > now or not at_rest):
                lapsed = "" if row.expires_at > now else " It has lapsed, but its process is still at work."
                raise LeaseHeld(
                    f"The lease on {self.place} is held by {row}.{lapsed} Wait until it is given back, or "
                    "end that run first."
                )
            if row is None or row.expires_at <= now:
                self._count(now, at_most)
            taken = row.taken_at if row is not None and row.holder == self.holder else now
            self._write(
                Row(
                    holder=self.holder,
                    step="",
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    taken_at=taken,
                    expires_at=now + self._lifetime,
                )
            )

    def release(self) -> None:
        """Give it back; does nothing where this run and group do not hold it."""
        if not self.place.folder.is_dir():
            return
        check_folder(self.place)
        with self._errors(), self._table():
            row = self._row()
            if row is not None and row.belongs_to(self.holder):
                self._file.unlink(missing_ok=True)

    def renew(self, step: str | None) -> None:
        """Move its end into the future; `step` None keeps what is written. Raises LeaseLost."""
        if not self.place.folder.is_dir():
            raise self._lost(None)
        with self._errors(), self._table():
            row = self._row()
            if row is None or row.holder != self.holder:
                raise self._lost(row)
            self._write(
                evolve(
                    row,
                    step=row.step if step is None else step,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    expires_at=_now() + self._lifetime,
                )
            )

    @contextlib.contextmanager
    def at_work(self) -> Iterator[Hold]:
        """Hold it for the length of the block. See `Engine.at_work`."""
        check_folder(self.place)
        self.renew(None)
        with self._errors():
            file = open(self._at_work, "w", opener=_private)  # noqa: SIM115 - closed below
        with file:
            self._lock(file.fileno())
            self.renew("at work")
            hold = Hold(self)
            every = min(self._lifetime.total_seconds() / 4, RENEW_AT_MOST)
            with renewing(lambda: self.renew(None), every, self._log):
                yield hold
            hold.check()

    # The files and the locks

    @property
    def _file(self) -> Path:
        return self.place.lease

    @property
    def _at_work(self) -> Path:
        return self.place.at_work

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return plain_errors(f"The lease on {self.place}")

    def _row(self) -> Row | None:
        return _read(self._file)

    def _write(self, row: Row) -> None:
        write_whole(self._file, to_plain(row))

    def _lost(self, row: Row | None) -> LeaseLost:
        holder = f"is held by {row}" if row else "was given back, or never taken"
        newer = " That is a newer attempt of this group." if row and row.belongs_to(self.holder) else ""
        return LeaseLost(
            f"The lease on {self.place} {holder}, not by {self.holder} attempt {self.holder.attempt}.{newer} "
            "This step stops; run the group again from its start gate if it should not have."
        )

    def _count(self, now: dt.datetime, at_most: int) -> None:
        others = [
            said
            for folder in sorted(self.place.hidden.iterdir())
            if folder != self.place.folder and (said := _said_of(folder, now)) is not None
        ]
        if len(others) >= at_most:
            raise LeaseHeld(
                f"{len(others)} leases are held below {self.place.root}, which is to have {at_most} at the "
                f"same time: {', '.join(others)}. Wait until one is given back."
            )

    def _at_rest(self) -> bool:
        """Whether no process is at work on the directory right now."""
        with open(self._at_work, "w", opener=_private) as file:
            return _try_lock(file.fileno())

    @contextlib.contextmanager
    def _table(self) -> Iterator[None]:
        """Alone with what the files of all directories of this root say."""
        with open(self.place.lock, "w", opener=_private) as file:
            began = time.monotonic()
            while not _try_lock(file.fileno()):
                if time.monotonic() - began > TABLE_WAIT:
                    raise LeaseHeld(
                        f"{file.name} was locked by another process for {TABLE_WAIT:.0f} seconds. Look who "
                        "has it open (fuser), and run the step again."
                    )
                time.sleep(BETWEEN_TRIES)
            yield

    def _lock(self, descriptor: int) -> None:
        """Take the lock of who is at work; an earlier attempt of the same group gives way by itself."""
        began = time.monotonic()
        while not _try_lock(descriptor):
            self._cancellation.check()
            if time.monotonic() - began > WAIT:
                raise LeaseHeld(
                    f"Another process is at work on {self.place} and was not done within {WAIT:.0f} seconds. "
                    "Wait for it, or end its run, and run this step again."
                )
            time.sleep(BETWEEN_TRIES)


def _read(file: Path) -> Row | None:
    """What a file says; None where there is none, or where a power cut left something else than a lease.

    Raises LeaseHeld where another version wrote it.
    """
    try:
        with open(file, "rb", opener=_private) as content:
            plain = json.loads(content.read())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    try:
        return from_plain(Row, plain)
    except ValueError:
        raise LeaseHeld(
            f"The lease in {file} cannot be read: another version of Env Sync wrote it. Wait until its run "
            "has ended. If it has, remove that file."
        ) from None


def _said_of(folder: Path, now: dt.datetime) -> str | None:
    """Which lease another directory has, in words; None where it has none."""
    try:
        row = _read(folder / "lease.json")
    except LeaseHeld:
        return f"{folder.name} by another version of Env Sync"
    if row is None or row.expires_at <= now:
        return None
    return f"{folder.name} by {row.holder} (lapses at {_moment(row.expires_at)})"


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _moment(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%SZ}"
