from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Iterator, Sequence

import pytest
from attrs import define, evolve, field, frozen

from env_sync.core.errors import EnvSyncError, LeaseHeld, LeaseLost, ServerUnreachable
from env_sync.engines.base import session_lease
from env_sync.engines.base.contract import Holder
from env_sync.engines.base.session_lease import HeldLease, LeaseManager, OtherLease, Row, SessionGone
from env_sync.engines.base.strange_locks import LockTry

LOG = logging.getLogger("env_sync.tests")
HOLDER = Holder(run="run", group="pull", attempt="1")
AGAIN = evolve(HOLDER, attempt="2")
ANOTHER = Holder(run="another run", group="pull", attempt="1")
NOW = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
SECOND = dt.timedelta(seconds=1)


@frozen
class Somebody:
    """Whose session holds a lock."""

    name: str
    ours: bool = True

    def __str__(self) -> str:
        return self.name


OURS = Somebody("one of ours")
STRANGER = Somebody("a stranger", ours=False)


@define(eq=False)
class MemorySession:
    server: MemoryServer
    open: bool = True
    gone: bool = False
    interruptible: bool = True

    @contextlib.contextmanager
    def uninterrupted(self) -> Iterator[None]:
        self.interruptible = False
        yield
        self.interruptible = True

    def close(self) -> None:
        self.open = False
        self.server.locks = {name: by for name, by in self.server.locks.items() if by is not self}


@define
class MemoryServer:
    """Rows, locks, and a clock that moves by as long as a lock is waited for."""

    table: bool = True
    may_make: bool = True
    waited: float = 0.0
    rows: dict[str, Row] = field(factory=dict)
    locks: dict[str, object] = field(factory=dict)
    """By the lock's name the session that has it, or who does."""
    ends: bool = False
    """Whether an earlier attempt gives its locks back when it is ended."""
    sessions: list[MemorySession] = field(factory=list)
    said: list[str] = field(factory=list)
    """What was asked of it, but for what only reads."""

    lease_database: str = "leases"

    def __str__(self) -> str:
        return "memory"

    def monotonic(self) -> float:
        return self.waited

    def now(self) -> dt.datetime:
        return NOW + dt.timedelta(seconds=self.waited)

    def open(self) -> MemorySession:
        self.sessions.append(MemorySession(self))
        return self.sessions[-1]

    @contextlib.contextmanager
    def session(self, database: str, /) -> Iterator[MemorySession]:
        assert database == "leases"
        with contextlib.closing(self.open()) as session:
            yield session

    def put(self, holder: Holder, *, database: str = "live", expires: dt.timedelta = HOUR) -> None:
        self.rows[database] = Row(
            holder=holder,
            step="restore",
            host="host",
            pid=7,
            taken_at=NOW - HOUR,
            expires_at=self.now() + expires,
        )


class Manager(LeaseManager[MemorySession, Row]):
    """On a server in memory."""

    server: MemoryServer

    @contextlib.contextmanager
    def errors(self, where: str) -> Iterator[None]:
        try:
            yield
        except ConnectionError:
            raise ServerUnreachable(where) from None

    def open_table(self, *, make: bool, without_table: bool) -> MemorySession | None:
        if make and not without_table:
            self.server.table = True
        return self.server.open() if self.server.table else None

    def open_without_table(self) -> MemorySession:
        return self.server.open()

    def may_make_databases(self) -> bool:
        return self.server.may_make

    @contextlib.contextmanager
    def taking(self, session: MemorySession) -> Iterator[None]:
        self.server.said.append("begin")
        yield
        self.server.said.append("commit")

    def now(self, session: MemorySession) -> dt.datetime:
        return self.server.now()

    def row(self, session: MemorySession) -> Row | None:
        assert session.open
        return self.server.rows.get(self.database)

    def others(self, session: MemorySession) -> Sequence[OtherLease]:
        return [
            OtherLease(
                database=database, run=row.holder.run, group=row.holder.group, expires_at=row.expires_at
            )
            for database, row in self.server.rows.items()
            if database != self.database and row.expires_at > self.server.now()
        ]

    def write(self, session: MemorySession) -> None:
        self.server.said.append("write")
        self.server.put(self.holder, expires=self.lifetime)

    def extend(self, session: MemorySession, step: str | None) -> bool:
        row = self.row(session)
        if row is None or row.holder != self.holder:
            return False
        self.server.said.append("extend" if step is None else f"step {step}")
        self.server.put(self.holder, expires=self.lifetime)
        return True

    def delete(self, session: MemorySession) -> None:
        assert not session.interruptible
        row = self.row(session)
        if row is not None and row.holder.same_group_as(self.holder):
            del self.server.rows[self.database]

    def _try(self, session: MemorySession, name: str, seconds: float) -> LockTry:
        by = self.server.locks.setdefault(name, session)
        if by is session:
            return LockTry(taken=True)
        self.server.waited += seconds
        return LockTry(taken=False, instead=(by,) if isinstance(by, Somebody) else ())

    def try_lock(self, session: MemorySession) -> LockTry:
        return self._try(session, "lock", 0)

    def look_at_lock(self, session: MemorySession) -> LockTry:
        return self._try(session, "lock", 0)

    def lock(self, session: MemorySession, seconds: int) -> LockTry:
        return self._try(session, "lock", seconds)

    def lock_group(self, session: MemorySession, *, in_table: bool) -> LockTry:
        return self._try(session, f"{self.holder} group", 1)

    def holds_lock(self, session: MemorySession) -> bool:
        if session.gone:
            raise SessionGone("it fell silent")
        return self.server.locks.get("lock") is session

    def held_by_strangers(self, who: str) -> str:
        return f"{who} has a lock on {self.where}"

    def end_earlier_attempts(self, session: MemorySession) -> bool:
        self.server.said.append("end earlier attempts")
        if self.server.ends:
            del self.server.locks["lock"]
        return self.server.ends

    def put_right(self, session: MemorySession, row: Row) -> None:
        self.server.said.append(f"put right what {row.holder} left")

    def begin(self, session: MemorySession) -> bool:
        self.server.said.append("begin work")
        return True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> MemoryServer:
    server = MemoryServer()
    monkeypatch.setattr(session_lease, "time", server)
    return server


def manager(server: MemoryServer, holder: Holder = HOLDER, lifetime: dt.timedelta = HOUR) -> Manager:
    return Manager(server, "live", holder, lifetime, LOG)


def take(server: MemoryServer, holder: Holder = HOLDER, *, at_most: int = 1) -> None:
    manager(server, holder).take(at_most=at_most, without_table=False)
    assert not any(session.open for session in server.sessions)


@contextlib.contextmanager
def working(
    server: MemoryServer, holder: Holder = HOLDER, *, without_table: bool = False
) -> Iterator[HeldLease[MemorySession]]:
    with manager(server, holder).at_work(without_table=without_table) as held:
        yield held


# Taking


def test_what_nobody_holds_is_taken(server: MemoryServer) -> None:
    take(server)
    assert server.rows["live"].holder == HOLDER
    assert server.said == ["begin", "write", "commit"]


def test_it_is_refused_to_others_until_it_lapses(server: MemoryServer) -> None:
    server.put(ANOTHER, expires=SECOND)
    with pytest.raises(LeaseHeld) as refused:
        take(server)
    assert str(refused.value) == (
        "The lease on live on memory is held by another run pull (process 7 on host, step restore) since "
        "2026-11-24 02:00:00Z; unless it is renewed it lapses at 2026-11-24 03:00:01Z. Wait until it is "
        "given back, or end that run first."
    )
    server.waited = 1.0
    take(server)
    assert server.rows["live"].holder == HOLDER


def test_what_has_lapsed_is_not_taken_from_a_process_that_is_at_work(server: MemoryServer) -> None:
    server.put(ANOTHER, expires=-SECOND)
    server.locks["lock"] = OURS
    with pytest.raises(LeaseHeld, match="It has lapsed, but its process is still at work"):
        take(server)


def test_a_later_attempt_takes_it_even_while_an_earlier_one_is_at_work(server: MemoryServer) -> None:
    """But puts nothing right that the earlier one may still be about."""
    server.put(HOLDER)
    server.locks["lock"] = OURS
    take(server, AGAIN)
    assert server.rows["live"].holder == AGAIN
    assert server.said == ["begin", "write", "commit"]


@pytest.mark.parametrize("lock", [None, STRANGER])
def test_what_the_last_holder_left_is_put_right_while_nobody_is_at_work(
    server: MemoryServer, lock: Somebody | None
) -> None:
    server.put(ANOTHER, expires=-SECOND)
    if lock is not None:
        server.locks["lock"] = lock
    take(server)
    assert server.said == ["begin", "put right what another run pull left", "write", "commit"]


def test_at_most_so_many_are_held_on_a_server(server: MemoryServer) -> None:
    server.put(ANOTHER, database="first")
    server.put(ANOTHER, database="second", expires=SECOND)
    with pytest.raises(LeaseHeld) as refused:
        take(server, at_most=2)
    assert str(refused.value) == (
        "2 leases are held on memory, which is to have 2 at the same time: first by another run pull (lapses "
        "at 2026-11-24 04:00:00Z), second by another run pull (lapses at 2026-11-24 03:00:01Z). Wait until "
        "one is given back."
    )
    take(server, at_most=3)
    # What is held already is renewed, whatever else is held; what has lapsed is counted anew.
    take(server, at_most=1)
    server.put(HOLDER, expires=-SECOND)
    with pytest.raises(LeaseHeld, match="2 leases"):
        take(server, at_most=2)
    server.waited = 1.0
    take(server, at_most=2)


def test_without_a_table_the_lock_alone_says_who_is_at_work(server: MemoryServer) -> None:
    server.table = False
    pushing = manager(server)
    pushing.take(at_most=1, without_table=True)
    assert server.said == []
    server.locks["lock"] = STRANGER
    pushing.take(at_most=1, without_table=True)
    [warning] = pushing.warnings
    assert warning.startswith("a stranger has a lock on live on memory, so it does not count.")
    server.locks["lock"] = OURS
    with pytest.raises(LeaseHeld, match=r"at work on live on memory: one of ours\. Wait for it"):
        pushing.take(at_most=1, without_table=True)
    assert not any(session.open for session in server.sessions)


# Giving back


def test_it_is_given_back_by_this_run_and_group_in_whatever_attempt(server: MemoryServer) -> None:
    server.put(HOLDER)
    manager(server, ANOTHER).release()
    assert server.rows["live"].holder == HOLDER
    manager(server, AGAIN).release()
    assert server.rows == {}
    manager(server, AGAIN).release()
    server.table = False
    manager(server, AGAIN).release()
    assert not server.table


# At work


def test_a_step_holds_it_and_its_lock(server: MemoryServer) -> None:
    take(server)
    server.said.clear()
    with working(server) as held:
        assert (held.in_table, held.locked, held.live_reopened, held.warnings) == (True, True, True, ())
        assert server.locks == {"lock": held.session, "run pull group": held.session}
        held.note_step("promote")
    assert server.said == ["extend", "step at work", "begin work", "step promote", "extend"]
    assert server.locks == {}


def test_no_step_begins_without_it(server: MemoryServer) -> None:
    with pytest.raises(LeaseLost, match=r"was given back, not by run pull attempt 1\. This step"):
        working(server).__enter__()
    server.put(ANOTHER)
    with pytest.raises(LeaseLost, match=r"is held by another run pull .*, not by run pull attempt 1\. This"):
        working(server).__enter__()
    server.put(AGAIN)
    with pytest.raises(LeaseLost, match=r"attempt 1\. That is a newer attempt of this group\. This step"):
        working(server).__enter__()
    assert server.locks == {}


def test_what_was_taken_while_it_waited_for_the_lock_is_lost(server: MemoryServer) -> None:
    server.put(HOLDER)
    taken = manager(server).lock_group

    def take_meanwhile(session: MemorySession, *, in_table: bool) -> LockTry:
        server.put(ANOTHER)
        return taken(session, in_table=in_table)

    waiting = manager(server)
    waiting.lock_group = take_meanwhile  # type: ignore[method-assign]
    with pytest.raises(LeaseLost, match="another run"):
        waiting.at_work(without_table=False).__enter__()


@pytest.mark.parametrize(("may_make", "asks"), [(True, True), (False, False), (True, False)])
def test_where_there_could_be_a_table_there_has_to_be_a_lease(
    server: MemoryServer, may_make: bool, asks: bool
) -> None:
    server.table, server.may_make = False, may_make
    with pytest.raises(LeaseLost, match="There is no lease on live on memory"):
        working(server, without_table=asks).__enter__()


def test_where_there_can_be_none_the_lock_alone_is_held(server: MemoryServer) -> None:
    server.table = server.may_make = False
    with working(server, without_table=True) as held:
        assert (held.in_table, held.locked, held.live_reopened) == (False, True, False)
        held.note_step("dump")
        assert server.locks["lock"] is held.session
    assert server.said == []


@pytest.mark.parametrize("table", [True, False])
def test_a_lock_of_strangers_is_a_warning(server: MemoryServer, table: bool) -> None:
    server.table = server.may_make = table
    server.put(HOLDER)
    server.locks["lock"] = server.locks["run pull group"] = STRANGER
    with working(server, without_table=not table) as held:
        assert not held.locked
        held.check()
        [warning] = held.warnings
    assert warning.startswith("a stranger has a lock on live on memory, so it does not count.")
    assert server.waited < 3


def test_another_process_is_waited_for(server: MemoryServer) -> None:
    server.put(HOLDER)
    server.locks["lock"] = OURS
    with pytest.raises(LeaseHeld) as refused:
        working(server).__enter__()
    assert str(refused.value) == (
        "Another process is at work on live on memory (one of ours) and was not done within 60 seconds. Wait "
        "for it, or end its run, and run this step again."
    )
    assert server.waited == 61
    # For ten seconds it may end by itself; the last try comes after what was waited.
    assert server.said.count("end earlier attempts") == 50
    server.locks["lock"] = "just ended"
    with pytest.raises(LeaseHeld, match=r"at work on live on memory \(just ended\)"):
        working(server).__enter__()


def test_an_earlier_attempt_has_to_give_way(server: MemoryServer, caplog: pytest.LogCaptureFixture) -> None:
    server.put(HOLDER)
    server.locks["lock"], server.ends = OURS, True
    with working(server):
        assert server.waited == 11
    assert server.said.count("end earlier attempts") == 1
    assert "An earlier attempt of run pull was still at work on live on memory; it was ended." in caplog.text


LOSSES: dict[str, tuple[Callable[[MemoryServer, MemorySession], None], str]] = {
    "the session": (
        lambda _, session: setattr(session, "gone", True),
        r"is gone \(it fell silent\)",
    ),
    "the lock": (
        lambda server, _: server.locks.clear(),
        "The session lock of the lease on live on memory",
    ),
    "the row": (lambda server, _: server.put(ANOTHER), "is held by another run pull"),
}


@pytest.mark.parametrize(("lose", "says"), LOSSES.values(), ids=LOSSES)
def test_what_is_lost_at_work_is_found_out(
    server: MemoryServer, lose: Callable[[MemoryServer, MemorySession], None], says: str
) -> None:
    server.put(HOLDER)
    with pytest.raises(LeaseLost, match=says), working(server) as held:
        lose(server, held.session)
    assert not any(session.open for session in server.sessions)


def test_a_lost_session_is_found_out_where_a_stranger_has_the_lock(server: MemoryServer) -> None:
    server.table = server.may_make = False
    server.locks["lock"] = STRANGER
    with pytest.raises(LeaseLost, match="is gone"), working(server, without_table=True) as held:
        held.session.gone = True


def test_it_is_renewed_in_a_session_of_its_own(server: MemoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times in its life, and at least each minute."""
    server.put(HOLDER)
    asked: list[float] = []

    @contextlib.contextmanager
    def renewing(renew: Callable[[], None], every: float, log: logging.Logger) -> Iterator[None]:
        asked.append(every)
        opened = len(server.sessions)
        renew()
        assert len(server.sessions) == opened + 1
        assert not server.sessions[-1].open
        yield

    monkeypatch.setattr(session_lease, "renewing", renewing)
    for lifetime in (HOUR, 100 * SECOND):
        with manager(server, lifetime=lifetime).at_work(without_table=False):
            pass
    assert asked == [60.0, 25.0]


def test_the_lock_is_taken_again_unless_another_has_it(server: MemoryServer) -> None:
    session = server.open()
    assert not manager(server).lock_alone(session)
    server.put(ANOTHER)
    assert not manager(server).lock_alone(session)
    server.put(AGAIN)
    assert manager(server).lock_alone(session)
    server.locks["lock"] = OURS
    assert not manager(server).lock_alone(session)
    assert server.waited == 10


def test_what_the_driver_raises_is_made_plain(server: MemoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: Manager, session: MemorySession) -> Row | None:
        raise ConnectionError

    monkeypatch.setattr(Manager, "row", unreachable)
    for work in (
        lambda: take(server),
        lambda: manager(server).release(),
        lambda: working(server).__enter__(),
    ):
        with pytest.raises(EnvSyncError, match="The lease on live on memory"):
            work()
    assert not any(session.open for session in server.sessions)
