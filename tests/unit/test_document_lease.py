from __future__ import annotations

import contextlib
import datetime as dt
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from attrs import define, evolve, field

from env_sync.core.errors import Cancelled, LeaseHeld, LeaseLost, ServerUnreachable
from env_sync.core.process_identity import Process, this_process
from env_sync.core.serialization import from_plain, to_plain
from env_sync.engines.base import document_lease
from env_sync.engines.base.contract import Holder
from env_sync.engines.base.document_lease import Found, Hold, Leases, Row, Worker

LOG = logging.getLogger("env_sync.tests")
HOLDER = Holder(run="run", group="pull", attempt="1")
AGAIN = evolve(HOLDER, attempt="2")
ANOTHER = Holder(run="another run", group="pull", attempt="1")
ELSEWHERE = Process(host="elsewhere", pid=7, namespace="pid:[1]", started="1")
NOW = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
SECOND = dt.timedelta(seconds=1)


@define
class Clock:
    """Stands for the module `time`, and moves the server's clock with it; the machine has just started."""

    seconds: float = 0.0
    while_asleep: Callable[[], None] = field(default=lambda: None)
    slept: list[float] = field(factory=list)

    def monotonic(self) -> float:
        return 0.5 + self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.slept.append(seconds)
        self.while_asleep()


@define(eq=False)
class MemorySession:
    """A session for the length of a block; with a token it is that of a process at work."""

    server: MemoryServer
    token: str = ""
    open: bool = True
    may_write: Callable[[], None] = field(default=lambda: None)

    def statement(self) -> None:
        self.server.raise_at("statement")

    @contextlib.contextmanager
    def uninterrupted(self) -> Iterator[None]:
        cancelled_at, self.server.cancelled_at = self.server.cancelled_at, ""
        yield
        self.server.cancelled_at = cancelled_at


@define
class MemoryServer:
    """A lease server whose document is in memory, replaced only where it is still the one that was read."""

    clock: Clock = field(factory=Clock)
    rows: Sequence[Any] | None = None
    version: int = 0
    cancelled_at: str = ""
    unreachable: bool = False
    between: Callable[[], None] = field(default=lambda: None)
    """What others do between the reading of the document and its replacement."""
    sessions: list[MemorySession] = field(factory=list)
    ended_earlier: list[tuple[str, str, logging.Logger]] = field(factory=list)

    def __str__(self) -> str:
        return "memory"

    @contextlib.contextmanager
    def session(self, token: str = "") -> Iterator[MemorySession]:
        session = MemorySession(self, token)
        self.sessions.append(session)
        yield session
        session.open = False

    @contextlib.contextmanager
    def session_at_work(self, database: str, token: str) -> Iterator[MemorySession]:
        assert database == "live"
        with self.session(token) as session:
            yield session

    def end_earlier(self, session: MemorySession, database: str, token: str, log: logging.Logger) -> None:
        assert session.open
        self.raise_at("end_earlier")
        assert self.worker().token == token
        self.ended_earlier.append((database, token, log))

    @contextlib.contextmanager
    def errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except ConnectionError:
            raise ServerUnreachable(f"{what}: nobody answers") from None

    def read(self, session: MemorySession) -> Found | None:
        self.reach(session)
        return None if self.rows is None else Found(rows=self.rows, version=self.version)

    def replace(self, session: MemorySession, rows: Sequence[Any], found: Found | None) -> bool:
        self.reach(session)
        self.between()
        if (found.version if found else 0) != self.version:
            return False
        self.put(*(from_plain(Row, row) for row in rows))
        # What is cancelled may have been done.
        self.raise_at("replace")
        return True

    def now(self, session: MemorySession) -> dt.datetime:
        self.reach(session)
        return NOW + dt.timedelta(seconds=self.clock.seconds)

    def reach(self, session: MemorySession) -> None:
        assert session.open
        if self.unreachable:
            raise ConnectionError

    def raise_at(self, what: str) -> None:
        if self.cancelled_at == what:
            raise Cancelled

    def put(self, *rows: Row) -> None:
        self.rows, self.version = [to_plain(row) for row in rows], self.version + 1

    def row(self, database: str = "live") -> Row:
        (row,) = [row for row in self.all_rows() if row.database == database]
        return row

    def worker(self) -> Worker:
        """Who says now that it is at work on the database."""
        at_work = self.row().worker
        assert at_work is not None
        return at_work

    def all_rows(self) -> list[Row]:
        return [from_plain(Row, row) for row in self.rows or ()]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> MemoryServer:
    """A server that holds no leases, and a clock that moves only where somebody sleeps."""
    server = MemoryServer()
    monkeypatch.setattr(document_lease, "time", server.clock)
    return server


def leases(
    server: MemoryServer, holder: Holder = HOLDER, lifetime: dt.timedelta = HOUR
) -> Leases[MemorySession]:
    return Leases(server, "live", holder, lifetime, LOG)


def row(
    database: str = "live",
    holder: Holder = HOLDER,
    worker: Worker | None = None,
    expires_at: dt.datetime = NOW + HOUR,
) -> Row:
    return Row(
        database=database,
        holder=holder,
        process=ELSEWHERE,
        taken_at=NOW - HOUR,
        expires_at=expires_at,
        worker=worker,
    )


def worker(
    token: str = "theirs", process: Process = ELSEWHERE, step: str = "restore", until: dt.timedelta = HOUR
) -> Worker:
    return Worker(token=token, process=process, step=step, until=NOW + until)


# Taking it


def test_a_lease_that_nobody_has_is_taken(server: MemoryServer) -> None:
    leases(server).take(at_most=1)
    assert server.all_rows() == [
        Row(
            database="live",
            holder=HOLDER,
            process=this_process(),
            taken_at=NOW,
            expires_at=NOW + HOUR,
            worker=None,
        )
    ]


def test_anothers_lease_is_left_and_its_holder_named(server: MemoryServer) -> None:
    server.put(row(holder=ANOTHER, worker=worker(), expires_at=NOW + SECOND))
    with pytest.raises(LeaseHeld) as error:
        leases(server).take(at_most=9)
    assert str(error.value).startswith(
        "The lease on live on memory is held by another run pull (process 7 on elsewhere, step restore) "
        "since 2026-11-24 02:00:00Z; unless it is renewed it lapses at 2026-11-24 03:00:01Z. "
    )
    assert server.version == 1


@pytest.mark.parametrize("at_work", [None, worker(step="")])
def test_a_holder_that_is_in_no_step_is_named_without_one(
    server: MemoryServer, at_work: Worker | None
) -> None:
    server.put(row(holder=ANOTHER, worker=at_work))
    with pytest.raises(LeaseHeld, match=r"another run pull \(process 7 on elsewhere\) since"):
        leases(server).take(at_most=9)


@pytest.mark.usefixtures("far_from_utc")
def test_times_are_told_in_utc() -> None:
    there = dt.timezone(dt.timedelta(hours=-8))
    assert "since 2026-11-24 02:00:00Z" in str(evolve(row(), taken_at=(NOW - HOUR).astimezone(there)))


@pytest.mark.parametrize("lapsed", [dt.timedelta(), SECOND])
def test_anothers_lease_that_has_lapsed_is_taken(server: MemoryServer, lapsed: dt.timedelta) -> None:
    server.put(row(holder=ANOTHER, worker=worker(), expires_at=NOW - lapsed))
    leases(server).take(at_most=1)
    assert (server.row().holder, server.row().taken_at) == (HOLDER, NOW)
    # Whoever is still at work is waited for where the work begins.
    assert server.row().worker == worker()


@pytest.mark.parametrize(
    ("holder", "taken_at"),
    [(HOLDER, NOW - HOUR), (evolve(HOLDER, attempt="0"), NOW)],
    ids=["same", "earlier"],
)
def test_a_lease_of_this_group_is_renewed(
    server: MemoryServer, holder: Holder, taken_at: dt.datetime
) -> None:
    server.put(row(holder=holder, worker=worker(), expires_at=NOW + SECOND))
    leases(server).take(at_most=0)
    assert server.row() == Row(
        database="live",
        holder=HOLDER,
        process=this_process(),
        taken_at=taken_at,
        expires_at=NOW + HOUR,
        worker=worker(),
    )


def test_a_server_has_no_more_leases_than_it_is_to_have(server: MemoryServer) -> None:
    others = (row("one", ANOTHER), row("two", expires_at=NOW + SECOND), row("lapsed", expires_at=NOW))
    mine = row(holder=ANOTHER, expires_at=NOW)
    for rows in (others, (*others, mine)):
        server.put(*rows)
        with pytest.raises(LeaseHeld) as error:
            leases(server).take(at_most=2)
        assert str(error.value).startswith(
            "2 leases are held on memory, which is to have 2 at the same time: one by another run pull "
            "(lapses at 2026-11-24 04:00:00Z), two by run pull (lapses at 2026-11-24 03:00:01Z). "
        )
        assert server.all_rows() == [*rows]
        leases(server).take(at_most=3)
        assert {each.database for each in server.all_rows()} == {"one", "two", "lapsed", "live"}


def test_two_that_take_the_same_lease_at_the_same_time_do_not_both_have_it(server: MemoryServer) -> None:
    def quicker() -> None:
        server.between = lambda: None
        leases(server, ANOTHER).take(at_most=9)

    server.between = quicker
    with pytest.raises(LeaseHeld, match="is held by another run pull"):
        leases(server).take(at_most=9)
    assert server.row().holder == ANOTHER


def test_another_databases_lease_that_is_taken_at_the_same_time_is_not_lost(server: MemoryServer) -> None:
    def quicker() -> None:
        server.between = lambda: None
        server.put(row("other", ANOTHER))

    server.between = quicker
    leases(server).take(at_most=9)
    assert {each.database for each in server.all_rows()} == {"live", "other"}
    assert server.clock.slept == [0.01]


def test_a_document_that_never_rests_is_given_up(server: MemoryServer) -> None:
    server.between = lambda: server.put()
    with pytest.raises(LeaseHeld, match="on memory changed 200 times while the one on live was"):
        leases(server).take(at_most=9)
    assert server.version == 200


# Giving it back


@pytest.mark.parametrize("attempt", ["1", "2"])
def test_the_groups_lease_is_given_back_whatever_attempt_took_it(server: MemoryServer, attempt: str) -> None:
    other = row("other", ANOTHER)
    server.put(row(holder=evolve(HOLDER, attempt=attempt)), other)
    # What ends a group is not cancelled.
    server.cancelled_at = "replace"
    leases(server).release()
    assert server.all_rows() == [other]
    assert server.cancelled_at == "replace"


@pytest.mark.parametrize("rows", [[], [row(holder=ANOTHER)], [row(holder=evolve(HOLDER, group="push"))]])
def test_what_is_not_held_is_not_given_back(server: MemoryServer, rows: list[Row]) -> None:
    server.put(*rows)
    leases(server).release()
    assert (server.all_rows(), server.version) == (rows, 1)


# At work


def test_a_step_says_beside_its_lease_what_it_does(server: MemoryServer) -> None:
    server.put(row())
    server.clock.sleep(5)
    with leases(server).at_work() as hold:
        begun, at_work = server.row(), server.worker()
        assert at_work == Worker(
            token=hold.token, process=this_process(), step="", until=NOW + dt.timedelta(seconds=25)
        )
        assert (begun.expires_at, begun.process) == (NOW + HOUR + 5 * SECOND, this_process())
        hold.note_step("restore")
        assert server.worker() == evolve(at_work, step="restore")
        assert hold.session.token == hold.token
        assert server.ended_earlier == [("live", hold.token, LOG)]
    assert (server.row().worker, server.row().holder) == (None, HOLDER)


def test_a_step_that_begins_is_at_work_and_not_named_yet(server: MemoryServer) -> None:
    server.put(row())
    seen: list[Worker | None] = []
    server.between = lambda: seen.append(server.row().worker)
    with leases(server).at_work() as hold:
        hold.note_step("restore")
        assert [(each.token, each.step) if each else None for each in seen] == [
            None,
            (hold.token, ""),
            (hold.token, ""),
        ]


def test_a_lease_that_lapses_early_gives_signs_of_life_as_short(server: MemoryServer) -> None:
    short = leases(server, lifetime=8 * SECOND)
    short.take(at_most=1)
    with short.at_work():
        assert (server.row().expires_at, server.worker().until) == (NOW + 8 * SECOND, NOW + 8 * SECOND)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "was given back, or never taken, not by run pull attempt 1. This step"),
        (
            [row(holder=ANOTHER)],
            "it lapses at 2026-11-24 04:00:00Z, not by run pull attempt 1. This step",
        ),
        (
            [row(holder=AGAIN)],
            ", not by run pull attempt 1. That is another attempt of this group. This step",
        ),
    ],
    ids=["nobody", "another", "another attempt"],
)
def test_without_the_lease_no_step_works(server: MemoryServer, rows: list[Row], said: str) -> None:
    server.put(*rows)
    with pytest.raises(LeaseLost) as error, leases(server).at_work():
        pytest.fail("the step went on")
    assert str(error.value).startswith("The lease on live on memory ")
    assert said in str(error.value)
    assert str(error.value).endswith(" run the group again from its start gate if it should not have.")
    assert server.all_rows() == rows


def test_another_process_at_work_is_waited_for(server: MemoryServer) -> None:
    server.put(row(worker=worker()))

    def done_at_last() -> None:
        if len(server.clock.slept) == 3:
            server.put(row())

    server.clock.while_asleep = done_at_last
    with leases(server).at_work() as hold:
        assert server.worker().token == hold.token
    assert server.clock.slept == [0.2, 0.2, 0.2]


def test_another_process_has_a_whole_minute(server: MemoryServer) -> None:
    server.put(row(worker=worker()))

    def done_after_a_minute() -> None:
        if server.clock.seconds > document_lease.WAIT:
            server.put(row())
        server.clock.seconds = document_lease.WAIT

    server.clock.while_asleep = done_after_a_minute
    with leases(server).at_work() as hold:
        assert server.worker().token == hold.token
    assert server.clock.slept == [0.2, 0.2]


def test_who_waits_can_be_cancelled(server: MemoryServer) -> None:
    server.put(row(worker=worker()))
    server.cancelled_at = "statement"
    with pytest.raises(Cancelled), leases(server).at_work():
        pytest.fail("the step went on")
    assert server.row().worker == worker()


@pytest.mark.parametrize(("step", "said"), [("restore", "step restore"), ("", "step unknown")])
def test_another_process_that_stays_at_work_is_named(server: MemoryServer, step: str, said: str) -> None:
    server.put(row(worker=worker(step=step)))
    with pytest.raises(LeaseHeld) as error, leases(server).at_work():
        pytest.fail("the step went on")
    assert str(error.value).startswith(
        f"Another process is at work on live on memory (process 7 on elsewhere, {said}) and was not done "
        "within 60 seconds. "
    )
    assert sum(server.clock.slept) > 60
    assert server.row().worker == worker(step=step)


@pytest.mark.parametrize("ago", [dt.timedelta(), SECOND])
def test_a_process_that_gives_no_sign_of_life_is_not_waited_for(
    server: MemoryServer, ago: dt.timedelta, caplog: pytest.LogCaptureFixture
) -> None:
    server.put(row(worker=worker(until=-ago)))
    with leases(server).at_work():
        assert server.clock.slept == []
    assert caplog.text == ""


def test_a_process_that_is_dead_is_not_waited_for(
    server: MemoryServer, caplog: pytest.LogCaptureFixture
) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    dead = evolve(this_process(), pid=done.pid)
    server.put(row(worker=worker(process=dead)))
    with leases(server).at_work():
        assert server.clock.slept == []
    assert f"{dead} was at work on live on memory and is gone." in caplog.text


def test_a_lease_that_says_nothing_of_a_worker_has_none(server: MemoryServer) -> None:
    server.put(row())
    assert server.rows is not None
    for plain in server.rows:
        del plain["worker"]
    with leases(server).at_work() as hold:
        assert server.worker().token == hold.token


@pytest.mark.parametrize("cancelled_at", ["replace", "end_earlier"])
def test_a_step_that_is_cancelled_as_it_begins_keeps_nobody_waiting(
    server: MemoryServer, cancelled_at: str
) -> None:
    leases(server).take(at_most=1)
    server.cancelled_at = cancelled_at
    with pytest.raises(Cancelled), leases(server).at_work():
        pytest.fail("the step went on")
    assert server.row().worker is None


def test_a_step_whose_place_is_taken_stops(server: MemoryServer) -> None:
    leases(server).take(at_most=1)
    said = "process 7 on elsewhere works on live on memory in this one's place: this one stops"
    at_work = leases(server).at_work()
    hold = at_work.__enter__()
    hold.session.may_write()
    server.put(evolve(server.row(), worker=worker()))
    with pytest.raises(LeaseLost, match=said):
        hold.note_step("promote")
    with pytest.raises(LeaseLost, match=said):
        hold.session.may_write()
    with pytest.raises(LeaseLost, match=said):
        at_work.__exit__(None, None, None)
    # What the other process says of itself is left.
    assert server.row().worker == worker()
    # The session is asked no more once the step is done with it.
    hold.session.may_write()


def test_a_step_that_lost_its_lease_says_so_at_its_end(server: MemoryServer) -> None:
    leases(server).take(at_most=1)
    with pytest.raises(LeaseLost, match="is held by another run pull"), leases(server).at_work():
        server.put(row(holder=ANOTHER))
    assert server.row().holder == ANOTHER


def test_a_step_that_could_not_renew_in_time_writes_no_more(server: MemoryServer) -> None:
    leases(server).take(at_most=1)
    with leases(server).at_work() as hold:
        server.clock.sleep(20)
        hold.may_write()
        server.clock.sleep(0.1)
        with pytest.raises(LeaseLost, match="The lease on live on memory could not be renewed for 0:00:20: "):
            hold.may_write()
        hold.check()
        hold.may_write()


def test_a_hold_that_was_never_renewed_writes_nothing(server: MemoryServer) -> None:
    with server.session() as session, pytest.raises(LeaseLost, match="could not be renewed"):
        Hold(leases(server), session, "mine").may_write()


def test_what_a_renewal_is_good_for_counts_from_when_it_was_asked_for(server: MemoryServer) -> None:
    leases(server).take(at_most=1)
    with leases(server).at_work() as hold:
        server.between = lambda: server.clock.sleep(15)
        hold.check()
        server.between = lambda: None
        server.clock.sleep(5)
        hold.may_write()
        server.clock.sleep(0.1)
        with pytest.raises(LeaseLost, match="could not be renewed"):
            hold.may_write()


@pytest.mark.parametrize(("lifetime", "every"), [(HOUR, 5.0), (8 * SECOND, 2.0)])
def test_signs_of_life_are_given_meanwhile_in_sessions_of_their_own(
    server: MemoryServer, lifetime: dt.timedelta, every: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def renewing(renew: Callable[[], None], seconds: float, log: logging.Logger) -> Iterator[None]:
        assert (seconds, log) == (every, LOG)
        server.clock.sleep(1)
        # What ends the step does not end its renewal.
        server.cancelled_at = "replace"
        renew()
        assert server.cancelled_at == "replace"
        server.cancelled_at = ""
        server.unreachable = True
        with pytest.raises(ServerUnreachable, match=r"^The lease on live on memory: nobody answers$"):
            renew()
        server.unreachable = False
        yield

    monkeypatch.setattr(document_lease, "renewing", renewing)
    mine = leases(server, lifetime=lifetime)
    mine.take(at_most=1)
    with mine.at_work() as hold:
        assert server.row().expires_at == NOW + lifetime + SECOND
        assert [session.token for session in server.sessions[1:]] == [hold.token, "", ""]
        assert hold.session.open


@pytest.mark.parametrize("work", ["take", "release", "at_work"])
def test_a_server_that_does_not_answer_is_said(server: MemoryServer, work: str) -> None:
    leases(server).take(at_most=1)
    server.unreachable = True
    does: dict[str, Callable[[], Any]] = {
        "take": lambda: leases(server).take(at_most=1),
        "release": leases(server).release,
        "at_work": leases(server).at_work().__enter__,
    }
    with pytest.raises(ServerUnreachable, match=r"^The lease on live: nobody answers$"):
        does[work]()


def test_an_end_that_cannot_be_told_is_a_warning(
    server: MemoryServer, caplog: pytest.LogCaptureFixture
) -> None:
    leases(server).take(at_most=1)
    with pytest.raises(ServerUnreachable, match=r"^The lease on live: nobody"), leases(server).at_work():
        server.unreachable = True
    assert (
        "The end of the work on live on memory could not be told (The lease on live: nobody answers); a "
        "rerun waits for it at most 0:00:20."
    ) in caplog.text


def test_an_end_is_told_once_the_step_was_cancelled_as_well(server: MemoryServer) -> None:
    leases(server).take(at_most=1)
    at_work = leases(server).at_work()
    hold = at_work.__enter__()
    server.cancelled_at = "replace"
    with pytest.raises(Cancelled):
        hold.check()
    assert server.row().worker is not None
    with pytest.raises(Cancelled):
        at_work.__exit__(None, None, None)
    assert server.row().worker is None


def test_who_gave_the_lease_back_meanwhile_tells_no_end(server: MemoryServer) -> None:
    leases(server).take(at_most=1)
    with pytest.raises(LeaseLost, match="was given back, or never taken"), leases(server).at_work():
        leases(server).release()
    assert server.all_rows() == []


def test_a_lease_that_another_version_wrote_is_left_alone() -> None:
    server = MemoryServer(rows=[{"database": "other", "held_by": "whatever"}])
    with pytest.raises(LeaseHeld, match=r"another version of Env Sync.*Wait until its runs have ended"):
        leases(server).take(at_most=5)
    with pytest.raises(LeaseHeld, match="another version"):
        leases(server).release()
    assert server.version == 0
