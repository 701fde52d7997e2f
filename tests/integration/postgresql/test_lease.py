from __future__ import annotations

import contextlib
import datetime as dt
import multiprocessing
import os
import re
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import psycopg
import pytest
from attrs import evolve

from env_sync.core.errors import AccessRefused, LeaseHeld, LeaseLost
from env_sync.domain.sync import Action
from env_sync.engines.base import session_lease
from env_sync.engines.postgresql import lease
from sandbox.process import wait_for
from tests.integration.postgresql.stage import SECRET, STRANGER, Stage, working

FORK = multiprocessing.get_context("fork")
OTHER: dict[str, Any] = {"run": "env_sync_integration/by hand", "group": "pull_app"}


class Other:
    """Work in a process of its own; it tells through a pipe what came of it."""

    def __init__(self, work: Callable[[Connection], None]) -> None:
        self._ours, theirs = FORK.Pipe()

        def run() -> None:
            try:
                work(theirs)
            except Exception as problem:  # noqa: BLE001 - told to the test
                theirs.send(problem)
            os._exit(0)

        self.process = FORK.Process(target=run)
        self.process.start()
        theirs.close()

    def says(self) -> Any:
        assert self._ours.poll(60)
        return self._ours.recv()

    def go_on(self) -> None:
        self._ours.send("go on")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


@pytest.fixture
def others() -> Iterator[Callable[[Callable[[Connection], None]], Other]]:
    started: list[Other] = []

    def start(work: Callable[[Connection], None]) -> Other:
        started.append(Other(work))
        return started[-1]

    yield start
    for other in started:
        other.kill()


def at_work(stage: Stage, **options: Any) -> Callable[[Connection], None]:
    """Take the lease, tell, and be at work until told to go on."""

    def work(pipe: Connection) -> None:
        with working(stage.engine(**options)):
            pipe.send("at work")
            pipe.recv()
        pipe.send("done")

    return work


def rows(stage: Stage, columns: str = "run, attempt") -> list[tuple[Any, ...]]:
    return stage.server.execute(f"SELECT {columns} FROM lease", None, "env_sync")


def test_processes_that_race_on_a_new_server_all_get_an_answer_and_one_the_lease(
    stage: Stage, others: Callable[[Callable[[Connection], None]], Other]
) -> None:
    def take(number: int) -> Callable[[Connection], None]:
        def work(pipe: Connection) -> None:
            pipe.recv()
            try:
                stage.engine(run=f"run {number}").take_lease(at_most=9)
            except LeaseHeld as held:
                pipe.send(str(held))
            else:
                pipe.send("taken")

        return work

    racers = [others(take(number)) for number in range(6)]
    for racer in racers:
        racer.go_on()
    answers = [racer.says() for racer in racers]
    assert answers.count("taken") == 1
    [(winner,)] = rows(stage, "run")
    for answer in answers:
        assert answer == "taken" or f"is held by {winner} pull_app" in str(answer), repr(answer)
    [(acl,)] = stage.server.execute("SELECT datacl::text FROM pg_database WHERE datname = 'env_sync'")
    assert acl == "{env_sync=CTc/env_sync}"


def test_at_most_so_many_are_held_however_many_race(
    stage: Stage, others: Callable[[Callable[[Connection], None]], Other]
) -> None:
    stage.engine().take_lease(at_most=1)
    stage.engine().release_lease()

    def take(number: int) -> Callable[[Connection], None]:
        def work(pipe: Connection) -> None:
            pipe.recv()
            try:
                evolve(stage, database=f"db{number}").engine().take_lease(at_most=2)
            except LeaseHeld as held:
                pipe.send(str(held))
            else:
                pipe.send("taken")

        return work

    racers = [others(take(number)) for number in range(6)]
    for racer in racers:
        racer.go_on()
    answers = [racer.says() for racer in racers]
    assert answers.count("taken") == 2
    assert sum("2 leases are held" in answer for answer in answers) == 4
    assert len(rows(stage)) == 2


def test_it_is_refused_to_others_renewed_for_the_holder_and_given_back(stage: Stage) -> None:
    stage.engine().take_lease(at_most=1)
    with pytest.raises(LeaseHeld, match=re.escape("held by env_sync_integration/tonight pull_app (process")):
        stage.engine(**OTHER).take_lease(at_most=1)
    stage.engine(attempt="2").take_lease(at_most=1)
    assert rows(stage) == [("env_sync_integration/tonight", "2")]
    with pytest.raises(LeaseLost, match="newer attempt"), stage.engine(attempt="1").at_work():
        pass
    stage.engine(**OTHER).release_lease()
    assert len(rows(stage)) == 1
    stage.engine(attempt="2").release_lease()
    assert rows(stage) == []
    stage.engine(attempt="2").release_lease()
    with pytest.raises(LeaseLost, match="was given back"), stage.engine(attempt="2").at_work():
        pass


def test_no_lease_database_is_no_lease(stage: Stage) -> None:
    with pytest.raises(LeaseLost, match="no lease"), stage.engine().at_work():
        pass
    stage.engine().release_lease()
    assert stage.server.databases() == set()


def test_a_holder_that_is_killed_lets_go_at_once_and_its_lease_lapses(
    stage: Stage, others: Callable[[Callable[[Connection], None]], Other]
) -> None:
    holder = others(at_work(stage, lease_lifetime=dt.timedelta(seconds=2)))
    assert holder.says() == "at work"
    holder.kill()
    with pytest.raises(LeaseHeld, match="unless it is renewed it lapses at"):
        stage.engine(**OTHER).take_lease(at_most=1)

    def lapsed() -> bool:
        try:
            stage.engine(**OTHER).take_lease(at_most=1)
        except LeaseHeld:
            return False
        return True

    wait_for(lapsed, "the lease to lapse", 30)
    with stage.engine(**OTHER).at_work():
        pass


def test_a_holder_at_work_keeps_its_lease_for_longer_than_its_life(
    stage: Stage, others: Callable[[Callable[[Connection], None]], Other]
) -> None:
    holder = others(at_work(stage, lease_lifetime=dt.timedelta(seconds=0.8)))
    assert holder.says() == "at work"
    [(first,)] = rows(stage, "renewed_at")
    # Renewed twice, it is older than its first life.
    wait_for(
        lambda: rows(stage, "renewed_at > taken_at + interval '0.8 s'") == [(True,)],
        "the lease to be renewed",
        30,
    )
    assert rows(stage, "renewed_at")[0][0] > first
    with pytest.raises(LeaseHeld):
        stage.engine(**OTHER).take_lease(at_most=1)
    holder.go_on()
    assert holder.says() == "done"


def test_a_lapsed_lease_is_not_taken_from_a_process_that_is_at_work(
    stage: Stage, others: Callable[[Callable[[Connection], None]], Other]
) -> None:
    holder = others(at_work(stage))
    assert holder.says() == "at work"
    stage.server.execute("UPDATE lease SET expires_at = now() - interval '1 hour'", None, "env_sync")
    with pytest.raises(LeaseHeld, match="It has lapsed, but its process is still at work"):
        stage.engine(**OTHER).take_lease(at_most=1)
    holder.go_on()
    assert holder.says() == "done"


def test_a_lapsed_lease_that_nobody_took_goes_on(stage: Stage) -> None:
    engine = stage.engine()
    engine.take_lease(at_most=1)
    stage.server.execute("UPDATE lease SET expires_at = now() - interval '1 hour'", None, "env_sync")
    with engine.at_work():
        assert rows(stage, "expires_at > now()") == [(True,)]


def test_a_lease_that_was_taken_by_another_is_lost(stage: Stage) -> None:
    engine = stage.engine()
    engine.take_lease(at_most=1)
    stage.server.execute("UPDATE lease SET expires_at = now() - interval '1 hour'", None, "env_sync")
    stage.engine(**OTHER).take_lease(at_most=1)
    with pytest.raises(LeaseLost, match="by hand"), engine.at_work():
        pass


def test_a_second_process_waits_for_the_first(
    stage: Stage,
    others: Callable[[Callable[[Connection], None]], Other],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_lease, "WAIT", 2.0)
    holder = others(at_work(stage))
    assert holder.says() == "at work"
    with (
        pytest.raises(LeaseHeld, match=r"at work on app .*server process \d+ of env_sync"),
        stage.engine().at_work(),
    ):
        pass
    threading.Timer(0.5, holder.go_on).start()
    with stage.engine().at_work():
        assert holder.says() == "done"


def test_an_earlier_attempt_that_does_not_end_is_ended(
    stage: Stage,
    others: Callable[[Callable[[Connection], None]], Other],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_lease, "GIVE_WAY", 0.5)
    holder = others(at_work(stage))
    assert holder.says() == "at work"
    newer = stage.engine(attempt="2")
    newer.take_lease(at_most=1)
    with newer.at_work():
        holder.go_on()
        lost = holder.says()
    assert isinstance(lost, LeaseLost)


def test_losing_the_session_is_losing_the_lease(stage: Stage) -> None:
    engine = stage.engine()
    engine.take_lease(at_most=1)
    with pytest.raises(LeaseLost, match="session that held the lease"), engine.at_work():
        stage.server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'env_sync pull_app'"
        )


def test_whoever_is_killed_while_making_the_lease_database_holds_nobody_up(stage: Stage) -> None:
    with stage.server.connect("postgres", "env_sync", SECRET) as connection:
        connection.execute("CREATE DATABASE env_sync TEMPLATE template0 ALLOW_CONNECTIONS false")
    with working(stage.engine()):
        pass
    [(acl,)] = stage.server.execute("SELECT datacl::text FROM pg_database WHERE datname = 'env_sync'")
    assert acl == "{env_sync=CTc/env_sync}"


def test_a_lease_database_that_is_made_to_its_end_meanwhile_is_used(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage.server.connect("postgres", "env_sync", SECRET) as connection:
        connection.execute("CREATE DATABASE env_sync TEMPLATE template0 ALLOW_CONNECTIONS false")
    half_made = lease.LeaseManager._half_made

    def made_meanwhile(leases: lease.LeaseManager) -> bool:
        stage.server.execute("REVOKE ALL ON DATABASE env_sync FROM PUBLIC")
        stage.server.execute("ALTER DATABASE env_sync ALLOW_CONNECTIONS true")
        return half_made(leases)

    monkeypatch.setattr(lease.LeaseManager, "_half_made", made_meanwhile)
    stage.engine().take_lease(at_most=1)
    assert len(rows(stage)) == 1


def test_a_role_that_only_dumps_needs_no_lease_database(
    stage: Stage,
    others: Callable[[Callable[[Connection], None]], Other],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage.server.create_role("pusher", SECRET)
    stage = evolve(stage, login="pusher")
    with pytest.raises(AccessRefused, match="CREATEDB"):
        stage.engine().take_lease(at_most=1)
    pushing: dict[str, Any] = {"action": Action.PUSH, "group": "push_app"}
    holder = others(at_work(stage, **pushing))
    assert holder.says() == "at work"
    with pytest.raises(LeaseHeld, match="server process"):
        stage.engine(run="another", **pushing).take_lease(at_most=1)
    holder.go_on()
    assert holder.says() == "done"
    with working(stage.engine(run="another", **pushing)):
        pass
    assert stage.server.databases() == set()


@pytest.fixture
def strange_lock(stage: Stage) -> Iterator[Callable[[int, str], None]]:
    """Has another role, which may only connect, take a lock of ours, and keep it."""
    opened: list[psycopg.Connection[Any]] = []

    def take(key: int, function: str) -> None:
        opened.append(stage.server.connect("postgres", STRANGER, SECRET))
        opened[-1].execute(f"SELECT {function}({key})".encode())

    yield take
    for connection in opened:
        connection.close()


@pytest.mark.probe("a lock that anybody can take")
@pytest.mark.parametrize("function", ["pg_advisory_lock", "pg_advisory_lock_shared"])
def test_a_lock_that_anybody_may_take_stops_no_push(
    stage: Stage, strange_lock: Callable[[int, str], None], function: str
) -> None:
    stage.server.create_database("app")
    stage.server.create_role("pusher", SECRET)
    stage.server.grant("pg_read_all_data", "pusher")
    stage = evolve(stage, login="pusher")
    engine = stage.engine(action=Action.PUSH, group="push_app")
    for key in (engine._leases.key, engine._leases._group_key):
        strange_lock(key, function)
    with working(engine):
        [*warnings] = engine.dump(stage.folder / "dump").warnings
    assert len(warnings) == 2
    for warning in warnings:
        assert re.search(r"is held by server process \d+ of stranger, not by role pusher", warning)
    if function == "pg_advisory_lock_shared":
        # Beside it, one of our own role still counts.
        with contextlib.closing(stage.server.connect("postgres", "pusher", SECRET)) as ours:
            ours.execute(f"SELECT pg_advisory_lock_shared({engine._leases.key})".encode())
            with pytest.raises(LeaseHeld, match="server process"):
                stage.engine(action=Action.PUSH, group="push_app", run="another").take_lease(at_most=9)


@pytest.mark.probe("a lock that anybody can take")
def test_a_lock_that_anybody_may_take_stops_no_making_of_the_leases(
    stage: Stage, strange_lock: Callable[[int, str], None]
) -> None:
    strange_lock(lease.MAKING, "pg_advisory_lock")
    with working(stage.engine()):
        assert stage.server.databases() == {"env_sync"}


def test_the_lease_database_can_have_another_name(stage: Stage) -> None:
    stage = evolve(stage, extra={"lease_database": 'Env "Sync" leases'})
    with working(stage.engine()):
        assert stage.server.databases() == {'Env "Sync" leases'}


def test_strangers_see_nothing_of_it(stage: Stage) -> None:
    stage.engine().take_lease(at_most=1)
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        stage.server.connect("env_sync", "stranger", SECRET)
