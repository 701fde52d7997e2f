"""The lease on servers that keep documents: who may touch a live database now, kept beside it.

All leases of a server are one document of Env Sync's own. It is read, judged, and replaced only where it is
still the same, so that two never take the same lease and `at_most` holds. Times are the server's. A step that
is at work says so beside its lease, every few seconds; a process that could not say it for too long stops
touching anything.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from attrs import evolve, frozen

from env_sync.core.errors import EnvSyncError, LeaseHeld, LeaseLost
from env_sync.core.process_identity import Process, this_process
from env_sync.core.serialization import from_plain, to_plain
from env_sync.engines.base.contract import Holder
from env_sync.engines.base.renewing import renewing

WAIT = 60.0
"""Seconds that a step waits for another process that is at work on its database."""
SIGN_OF_LIFE = dt.timedelta(seconds=20)
"""For how long a process that is at work is believed to be, without a new sign of life."""
POLL = 0.2
CONFLICTS = 200
"""How many times the document is read again because somebody else was quicker."""


@frozen(kw_only=True)
class Worker:
    """A process that is at work on a live database right now, and until when that is believed."""

    token: str
    process: Process
    step: str
    until: dt.datetime


@frozen(kw_only=True)
class Row:
    """One lease."""

    database: str
    holder: Holder
    process: Process
    """The one that took it, or worked with it last."""
    taken_at: dt.datetime
    expires_at: dt.datetime
    worker: Worker | None = None

    def belongs_to(self, holder: Holder) -> bool:
        """Whether this run and group hold it, in whatever attempt."""
        return self.holder.same_group_as(holder)

    def __str__(self) -> str:
        step = f", step {self.worker.step}" if self.worker and self.worker.step else ""
        return (
            f"{self.holder} ({self.process}{step}) since {_moment(self.taken_at)}; unless it is renewed it "
            f"lapses at {_moment(self.expires_at)}"
        )


Rows = Mapping[str, Row]
"""By the database that each is on."""


class LeaseSession(Protocol):
    """How a step talks to the server."""

    may_write: Callable[[], None]
    """Asked before each request; raises where this process may no longer touch the copies."""

    def statement(self) -> None:
        """Comes before each request. Raises Cancelled, and what `may_write` raises."""

    def uninterrupted(self) -> contextlib.AbstractContextManager[None]:
        """For the length of the block a cancel is not heard."""


S = TypeVar("S", bound=LeaseSession)


@frozen(kw_only=True)
class Found:
    """The document as it was read: its rows as plain data, and by what it is known to be still the same."""

    rows: Sequence[Any]
    version: Any


class LeaseServer(Protocol[S]):
    """Where the document is kept; prints itself as the server's name."""

    def session(self) -> contextlib.AbstractContextManager[S]:
        """A session for the length of a block."""

    def session_at_work(self, database: str, token: str) -> contextlib.AbstractContextManager[S]:
        """The same for a process at work on a database; the server may know it by its token."""

    def end_earlier(self, session: S, database: str, token: str, log: logging.Logger) -> None:
        """End what other processes than `token` left running on the server; called with the lease held."""

    def errors(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Within the block whatever goes wrong is raised as an EnvSyncError that begins with `what`."""

    def read(self, session: S) -> Found | None:
        """The document; None where there is none."""

    def replace(self, session: S, rows: Sequence[Any], found: Found | None) -> bool:
        """Write it in the place of what was found, which may be nothing; False where that has changed."""

    def now(self, session: S) -> dt.datetime:
        """The server's clock, in UTC: the same one for whoever asks."""


class Hold(Generic[S]):
    """The lease while a step is at work."""

    def __init__(self, leases: Leases[S], session: S, token: str) -> None:
        self.session = session
        self.token = token
        self._leases = leases
        self._step = ""
        self._good_until = 0.0
        self._lost: LeaseLost | None = None

    def note_step(self, step: str) -> None:
        """Write beside the lease what is being done. Raises LeaseLost."""
        self._step = step
        self.check()

    def check(self) -> None:
        """Renew it. Raises LeaseLost where it is no longer this process's."""
        self.renew(self.session)

    def renew(self, session: S) -> None:
        """The same in another session."""
        asked = time.monotonic()
        try:
            self._leases.work_on(session, self.token, self._step, wait=False)
        except LeaseLost as lost:
            self._lost = lost
            raise
        self._good_until = asked + self._leases.sign_of_life.total_seconds()

    def may_write(self) -> None:
        """Raises LeaseLost where the lease is lost, or may have lapsed because it could not be renewed."""
        if self._lost is not None:
            raise LeaseLost(str(self._lost))
        if time.monotonic() > self._good_until:
            raise LeaseLost(
                f"The lease on {self._leases.where} could not be renewed for {self._leases.sign_of_life}: "
                "another process may be at work by now, so this one stops. Run the group again from its "
                "start gate."
            )


class Leases(Generic[S]):
    """The lease on one live database, as one holder sees it."""

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
        self.where = f"{database} on {server}"
        self.sign_of_life = min(lifetime, SIGN_OF_LIFE)
        self._lifetime = lifetime
        self._log = log

    def take(self, *, at_most: int) -> None:
        """Take or renew it, or raise LeaseHeld. See `Engine.take_lease`."""

        def taken(rows: Rows, now: dt.datetime) -> Rows:
            row = rows.get(self.database)
            if row is not None and not row.belongs_to(self.holder) and row.expires_at > now:
                raise LeaseHeld(
                    f"The lease on {self.where} is held by {row}. Wait until it is given back, or end that "
                    "run first."
                )
            if row is None or row.expires_at <= now:
                self._count(rows, now, at_most)
            same = row is not None and row.holder == self.holder
            mine = Row(
                database=self.database,
                holder=self.holder,
                process=this_process(),
                taken_at=row.taken_at if row and same else now,
                expires_at=now + self._lifetime,
                # Whoever is still at work is waited for where the work begins.
                worker=row.worker if row else None,
            )
            return {**rows, self.database: mine}

        with self.server.session() as session, self._errors():
            self._change(session, taken)

    def release(self) -> None:
        """Give it back, where this run and group hold it."""

        def released(rows: Rows, now: dt.datetime) -> Rows:
            row = rows.get(self.database)
            if row is None or not row.belongs_to(self.holder):
                return rows
            return {database: each for database, each in rows.items() if database != self.database}

        with self.server.session() as session, session.uninterrupted(), self._errors():
            self._change(session, released)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[Hold[S]]:
        """Hold it for the length of the block. See `Engine.at_work`."""
        token = uuid.uuid4().hex
        with self.server.session_at_work(self.database, token) as session:
            hold = Hold(self, session, token)
            try:
                with self._errors():
                    self.work_on(session, hold.token, "", wait=True)
                    hold.check()
                    self.server.end_earlier(session, self.database, token, self._log)
                session.may_write = hold.may_write
                with self._renewing(hold):
                    yield hold
                with self._errors():
                    hold.check()
            finally:
                session.may_write = lambda: None
                self._stop_working(session, hold.token)

    def work_on(self, session: S, token: str, step: str, *, wait: bool) -> None:
        """Renew the lease, and say that this process is at work; `wait` for another one that still is.

        Raises LeaseLost, and LeaseHeld where the other one does not end.
        """
        began = time.monotonic()
        process = this_process()

        def working(rows: Rows, now: dt.datetime) -> Rows:
            row = rows.get(self.database)
            if row is None or row.holder != self.holder:
                raise self._lost(row)
            other = row.worker
            if other is not None and other.token != token and other.until > now:
                if not other.process.is_known_to_be_dead():
                    if not wait:
                        raise LeaseLost(
                            f"{other.process} works on {self.where} in this one's place: this one stops."
                        )
                    raise _AtWork(other)
                self._log.warning("%s was at work on %s and is gone.", other.process, self.where)
            worker = Worker(token=token, process=process, step=step, until=now + self.sign_of_life)
            renewed = evolve(row, worker=worker, process=process, expires_at=now + self._lifetime)
            return {**rows, self.database: renewed}

        while True:
            try:
                self._change(session, working)
            except _AtWork as at_work:
                if time.monotonic() - began > WAIT:
                    raise LeaseHeld(
                        f"Another process is at work on {self.where} ({at_work.worker.process}, step "
                        f"{at_work.worker.step or 'unknown'}) and was not done within {WAIT:.0f} seconds. "
                        "Wait for it, or end its run, and run this step again."
                    ) from None
                session.statement()
                time.sleep(POLL)
            else:
                return

    def _stop_working(self, session: S, token: str) -> None:
        """Say that this process is done; where that fails, its last sign of life lapses by itself."""

        def stopped(rows: Rows, now: dt.datetime) -> Rows:
            row = rows.get(self.database)
            if row is None or row.worker is None or row.worker.token != token:
                return rows
            return {**rows, self.database: evolve(row, worker=None)}

        try:
            with session.uninterrupted(), self._errors():
                self._change(session, stopped)
        except EnvSyncError as error:
            self._log.warning(
                "The end of the work on %s could not be told (%s); a rerun waits for it at most %s.",
                self.where,
                error,
                self.sign_of_life,
            )

    def _renewing(self, hold: Hold[S]) -> contextlib.AbstractContextManager[None]:
        """Give a sign of life now and then, in a session of its own each time, while the block runs."""

        def renew() -> None:
            with (
                self.server.errors(f"The lease on {self.where}"),
                self.server.session() as session,
                session.uninterrupted(),
            ):
                hold.renew(session)

        return renewing(renew, self.sign_of_life.total_seconds() / 4, self._log)

    def _count(self, rows: Rows, now: dt.datetime, at_most: int) -> None:
        others = [row for row in rows.values() if row.database != self.database and row.expires_at > now]
        if len(others) >= at_most:
            named = ", ".join(
                f"{row.database} by {row.holder} (lapses at {_moment(row.expires_at)})" for row in others
            )
            raise LeaseHeld(
                f"{len(others)} leases are held on {self.server}, which is to have {at_most} at the same "
                f"time: {named}. Wait until one is given back."
            )

    def _lost(self, row: Row | None) -> LeaseLost:
        holder = f"is held by {row}" if row else "was given back, or never taken"
        newer = " That is another attempt of this group." if row and row.belongs_to(self.holder) else ""
        return LeaseLost(
            f"The lease on {self.where} {holder}, not by {self.holder} attempt "
            f"{self.holder.attempt}.{newer} This step stops; run the group again from its start gate if it "
            "should not have."
        )

    def _change(self, session: S, change: Callable[[Rows, dt.datetime], Rows]) -> None:
        """Replace the leases by what `change` makes of them at the server's time; again on a conflict."""
        for _ in range(CONFLICTS):
            found = self.server.read(session)
            rows = self._rows(found)
            changed = change(rows, self.server.now(session))
            if changed is rows:
                return
            if self.server.replace(session, [to_plain(row) for row in changed.values()], found):
                return
            time.sleep(0.01)
        raise LeaseHeld(
            f"The leases on {self.server} changed {CONFLICTS} times while the one on {self.database} was to "
            "be written: too many syncs start there at once. Run the group again."
        )

    def _rows(self, found: Found | None) -> dict[str, Row]:
        try:
            rows = [from_plain(Row, each) for each in found.rows] if found else []
        except ValueError:
            raise LeaseHeld(
                f"The leases on {self.server} cannot be read: another version of Env Sync wrote one of them. "
                "Wait until its runs have ended. If none is left, remove the document that holds the leases; "
                "docs/operations.md says where it is."
            ) from None
        return {row.database: row for row in rows}

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return self.server.errors(f"The lease on {self.database}")


class _AtWork(Exception):
    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self.worker = worker


def _moment(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%SZ}"
