"""The lease on servers with sessions: who may touch a live database now, kept on the server that holds it.

A row in a small database of its own says who holds it between steps; a lock of a session there says who is at
work right now, and is gone in the instant in which that process is. Everything is decided on the server's
clock. The rules are here, once; an engine says in its server's own words how a row is read or a lock taken.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from attrs import frozen

from env_sync.core.errors import LeaseHeld, LeaseLost
from env_sync.engines.base.contract import Holder
from env_sync.engines.base.renewing import renewing
from env_sync.engines.base.strange_locks import LockTry, warn_of_strange_lock

WAIT = 60.0
"""Seconds that a step waits for another process that is at work on its database."""
GIVE_WAY = 10.0
"""Seconds after which the session of an earlier attempt of the same group is ended; it needs about two."""
RENEW_AT_MOST = 60.0


class SessionGone(Exception):
    """The session that carried the lock is gone. Its text is what the server, or its client, said."""


@frozen(kw_only=True)
class Row:
    """Who holds the lease on a database, and until when. Times are the server's, in UTC.

    `host` and `pid` are those of the process that took it, or worked with it last; `step` is what it did.
    """

    holder: Holder
    step: str
    host: str
    pid: int
    taken_at: dt.datetime
    expires_at: dt.datetime

    def __str__(self) -> str:
        step = f", step {self.step}" if self.step else ""
        return (
            f"{self.holder} (process {self.pid} on {self.host}{step}) since {_moment(self.taken_at)}; "
            f"unless it is renewed it lapses at {_moment(self.expires_at)}"
        )


@frozen(kw_only=True)
class OtherLease:
    """The lease on another database of the same server."""

    database: str
    run: str
    group: str
    expires_at: dt.datetime

    def __str__(self) -> str:
        return f"{self.database} by {self.run} {self.group} (lapses at {_moment(self.expires_at)})"


class LeaseSession(Protocol):
    """A session on the server."""

    def uninterrupted(self) -> contextlib.AbstractContextManager[None]:
        """For the length of the block a cancel is not heard."""

    def close(self) -> None:
        """Close it, and with it give back its locks."""


S = TypeVar("S", bound=LeaseSession)
S_co = TypeVar("S_co", bound=LeaseSession, covariant=True)
R = TypeVar("R", bound=Row)


class LeaseServer(Protocol[S_co]):
    """Where the lease is kept; prints itself as the server's name."""

    @property
    def lease_database(self) -> str:
        """The database that holds the leases."""

    def session(self, database: str, /) -> contextlib.AbstractContextManager[S_co]:
        """A session in a database for the length of a block."""


class HeldLease(Generic[S]):
    """The lease while a step is at work.

    What only the holder may do is done in `session`: it carries the session lock, so a process that has lost
    the lock has lost the means as well.
    """

    def __init__(self, session: S, manager: LeaseManager[S, Any], *, in_table: bool) -> None:
        self.session = session
        self.in_table = in_table
        self.locked = True
        """Whether the session carries the session lock; False where a stranger holds it."""
        self.live_reopened = False
        """Whether live was found closed by an earlier step, and was reopened."""
        self._manager = manager

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found that should not be."""
        return tuple(self._manager.warnings)

    def note_step(self, step: str) -> None:
        """Write into the row what is being done. Raises LeaseLost."""
        if self.in_table:
            self._manager.renew(self.session, step)

    def check(self) -> None:
        """Raises LeaseLost unless the session lock and the row are still this holder's."""
        where = self._manager.where
        try:
            # Asked also where a stranger has the lock: it tells as well whether the session is still there.
            held = self._manager.holds_lock(self.session)
        except SessionGone as gone:
            raise LeaseLost(
                f"The session that held the lease on {where} is gone ({gone}): another process may have been "
                "at work meanwhile. Run the group again from its start gate."
            ) from None
        if self.locked and not held:
            raise LeaseLost(f"The session lock of the lease on {where} is gone: run the group again.")
        if self.in_table:
            self._manager.renew(self.session, None)


class LeaseManager(ABC, Generic[S, R]):
    """The lease on one live database, as one holder sees it.

    The abstract methods are what differs from server to server, one for each kind of statement; they raise
    what the driver raises, which `errors` makes plain. The hooks are for an engine that leaves more behind
    than a row.
    """

    def __init__(
        self,
        server: LeaseServer[S],
        database: str,
        holder: Holder,
        lifetime: dt.timedelta,
        log: logging.Logger,
    ) -> None:
        self.server = server
        self.database = database
        self.holder = holder
        self.lifetime = lifetime
        self.log = log
        self.where = f"{database} on {server}"
        self.warnings: list[str] = []

    @property
    def identity(self) -> list[str]:
        """What is in the row of this attempt, and of no other: database, run, group, attempt."""
        return [self.database, self.holder.run, self.holder.group, self.holder.attempt]

    # Taking and giving back

    def take(self, *, at_most: int, without_table: bool) -> None:
        """Take or renew it, or raise LeaseHeld. See `Engine.take_lease`.

        `without_table`: where this account may not make the lease database, the session lock alone will do.
        """
        session = self.open_table(make=True, without_table=without_table)
        if session is None:
            self._look_at_lock()
            return
        with contextlib.closing(session), self._errors(), self.taking(session):
            row = self.row(session)
            at_rest = not self.heed(self.try_lock(session)).held
            now = self.now(session)
            ours = row is not None and row.holder.same_group_as(self.holder)
            if row is not None and not ours and (row.expires_at > now or not at_rest):
                lapsed = "" if row.expires_at > now else " It has lapsed, but its process is still at work."
                raise LeaseHeld(
                    f"The lease on {self.where} is held by {row}.{lapsed} Wait until it is given back, or "
                    "end that run first."
                )
            if row is None or row.expires_at <= now:
                self._count(session, at_most)
            if row is not None and at_rest:
                self.put_right(session, row)
            self.write(session)

    def release(self) -> None:
        """Give it back; does nothing where this run and group do not hold it."""
        session = self.open_table(make=False, without_table=True)
        if session is None:
            return
        with contextlib.closing(session), session.uninterrupted(), self._errors():
            self.give_back(session)

    # At work

    @contextlib.contextmanager
    def at_work(self, *, without_table: bool) -> Iterator[HeldLease[S]]:
        """Hold it for the length of the block. See `Engine.at_work`."""
        session = self.open_table(make=False, without_table=True)
        in_table = session is not None
        if session is None:
            if not without_table or self.may_make_databases():
                raise LeaseLost(
                    f"There is no lease on {self.where}: run the group again from its start gate."
                )
            session = self.open_without_table()
        with contextlib.closing(session):
            held = HeldLease(session, self, in_table=in_table)
            with self._errors():
                if in_table:
                    self.renew(session, None)
                held.locked = self._lock(session, in_table=in_table)
                if in_table:
                    self.renew(session, "at work")
                    held.live_reopened = self.begin(session)
            with self._renewing() if in_table else contextlib.nullcontext():
                yield held
            with self._errors():
                held.check()

    def renew(self, session: S, step: str | None) -> None:
        """Move its end into the future; `step` None keeps what is written. Raises LeaseLost."""
        if self.extend(session, step):
            return
        row = self.row(session)
        holder = f"is held by {row}" if row else "was given back"
        ours = row is not None and row.holder.same_group_as(self.holder)
        newer = " That is a newer attempt of this group." if ours else ""
        raise LeaseLost(
            f"The lease on {self.where} {holder}, not by {self.holder} attempt {self.holder.attempt}.{newer} "
            "This step stops; run the group again from its start gate if it should not have."
        )

    def lock_alone(self, session: S) -> bool:
        """Take the session lock again after the session that had it was lost; False where another has it."""
        return (
            not self.heed(self.lock(session, 10)).held
            and (row := self.row(session)) is not None
            and row.holder.same_group_as(self.holder)
        )

    def heed(self, tried: LockTry) -> LockTry:
        """The same try; where strangers have the lock, that is a warning, and counts for nothing."""
        if tried.strange:
            warn_of_strange_lock(self.warnings, self.log, self.held_by_strangers(tried.who))
        return tried

    def _lock(self, session: S, *, in_table: bool) -> bool:
        """Take the session lock; an earlier attempt of the same group is made to give way.

        False where a stranger has it.
        """
        began = time.monotonic()
        while (tried := self.heed(self.lock(session, 1))).held:
            waited = time.monotonic() - began
            if waited > WAIT:
                raise LeaseHeld(
                    f"Another process is at work on {self.where} ({tried.who}) and was not done within "
                    f"{WAIT:.0f} seconds. Wait for it, or end its run, and run this step again."
                )
            if waited > GIVE_WAY and self.end_earlier_attempts(session):
                self.log.warning(
                    "An earlier attempt of %s was still at work on %s; it was ended.", self.holder, self.where
                )
        self.heed(self.lock_group(session, in_table=in_table))
        return tried.taken

    def _renewing(self) -> contextlib.AbstractContextManager[None]:
        """Renew it now and then, in a session of its own each time, while the block runs."""

        def renew() -> None:
            with (
                self._errors(),
                self.server.session(self.server.lease_database) as session,
                session.uninterrupted(),
            ):
                self.renew(session, None)

        return renewing(renew, min(self.lifetime.total_seconds() / 4, RENEW_AT_MOST), self.log)

    def _count(self, session: S, at_most: int) -> None:
        """Raises LeaseHeld where so many leases on other databases of the server are held."""
        others = self.others(session)
        if len(others) >= at_most:
            raise LeaseHeld(
                f"{len(others)} leases are held on {self.server}, which is to have {at_most} at the same "
                f"time: {', '.join(map(str, others))}. Wait until one is given back."
            )

    def _look_at_lock(self) -> None:
        """Without a table: raises LeaseHeld where a process is at work on the database."""
        with contextlib.closing(self.open_without_table()) as session, self._errors():
            tried = self.heed(self.look_at_lock(session))
            if tried.held:
                raise LeaseHeld(f"Another process is at work on {self.where}: {tried.who}. Wait for it.")

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return self.errors(f"The lease on {self.where}")

    # Hooks

    def put_right(self, session: S, row: R) -> None:
        """As it is taken, while nobody is at work: put right what whoever had it left."""

    def begin(self, session: S) -> bool:
        """As a step begins, with the lock and the row: reopen live, if an earlier step left it closed.

        Whether it was. Most engines never close it.
        """
        return False

    def give_back(self, session: S) -> None:
        """Delete the row, where it is of this run and group. Raises LeaseHeld where it has to stay."""
        self.delete(session)

    # In the server's own words

    @abstractmethod
    def errors(self, where: str) -> contextlib.AbstractContextManager[None]:
        """Within the block what the driver raises becomes an EnvSyncError that begins with `where`."""

    @abstractmethod
    def open_table(self, *, make: bool, without_table: bool) -> S | None:
        """A session where the table is; None where there is none and it may not, or need not, be made.

        Raises EnvSyncError where what is there cannot be used.
        """

    @abstractmethod
    def open_without_table(self) -> S:
        """A session for the session lock alone, where there is no table."""

    @abstractmethod
    def may_make_databases(self) -> bool:
        """Whether this account may make the lease database."""

    @abstractmethod
    def taking(self, session: S) -> contextlib.AbstractContextManager[None]:
        """A transaction for the length of the block, in which no other process takes a lease there.

        Raises LeaseHeld where another one does not end.
        """

    @abstractmethod
    def now(self, session: S) -> dt.datetime:
        """The server's clock, in UTC."""

    @abstractmethod
    def row(self, session: S) -> R | None:
        """The row of this database, kept from others to the transaction's end; None where there is none."""

    @abstractmethod
    def others(self, session: S) -> Sequence[OtherLease]:
        """The leases on other databases that have not lapsed, the oldest first."""

    @abstractmethod
    def write(self, session: S) -> None:
        """Make this attempt the holder; it holds since now, unless it did before."""

    @abstractmethod
    def extend(self, session: S, step: str | None) -> bool:
        """Move the end into the future where the row is this attempt's; whether it is.

        `step` is written into it; None keeps what is there.
        """

    @abstractmethod
    def delete(self, session: S) -> None:
        """Delete the row of this run and group."""

    @abstractmethod
    def try_lock(self, session: S) -> LockTry:
        """Take the session lock while the lease is taken, without waiting: nobody is at work then."""

    @abstractmethod
    def look_at_lock(self, session: S) -> LockTry:
        """Whether the session lock could be had, where there is no table."""

    @abstractmethod
    def lock(self, session: S, seconds: int) -> LockTry:
        """Take the session lock, and wait for it for so long."""

    @abstractmethod
    def lock_group(self, session: S, *, in_table: bool) -> LockTry:
        """Take the lock by which a later attempt of this group knows the session that is at work."""

    @abstractmethod
    def holds_lock(self, session: S) -> bool:
        """Whether the session carries the session lock. Raises SessionGone."""

    @abstractmethod
    def held_by_strangers(self, who: str) -> str:
        """A clause that says in the server's words that these hold a lock, and are not this account."""

    @abstractmethod
    def end_earlier_attempts(self, session: S) -> bool:
        """End the sessions of this group that are at work; whether there were any."""


def _moment(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%SZ}"
