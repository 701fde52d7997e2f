"""Undo on real servers: previous is live again, whole, whatever is killed; and what is never made live."""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from attrs import evolve

from env_sync.core.errors import (
    AccessRefused,
    Cancelled,
    EnvSyncError,
    LeaseHeld,
    LeaseLost,
    NoPrevious,
    NoSuchDatabase,
    PauseActive,
    PreviousRefused,
    PromoteFailed,
    WrongEnvironment,
)
from env_sync.engines.base.contract import CopyState, Promotion, Stamp
from env_sync.engines.postgresql.lease import LeaseManager
from env_sync.engines.postgresql.metadata import Comment, WasLive
from env_sync.engines.postgresql.promotion import Promoting
from env_sync.engines.postgresql.session import Session
from tests.integration.postgresql.stage import OWNER, READER, SECRET, STRANGER, Stage, clients, pull, working
from tests.integration.postgresql.test_promote import FORK, STRIDE, Killer, is_open, rows, rows_if_open
from tests.integration.postgresql.test_pull import LIVE, WHO_MAY
from tests.sweep import strides

UNDO = "env_sync_integration/undo"


@pytest.fixture
def pulled(stage: Stage) -> Stage:
    """Live with 500 new rows, and what it was before, with one old row, as previous."""
    return make_pulled(stage)


def make_pulled(stage: Stage) -> Stage:
    stage = stage.with_dump()
    stage.server.create_database("app", OWNER)
    stage.query("SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.people AS SELECT 'old' AS name")
    pull(stage, stage.engine(), stage.transformation())
    assert rows(stage) == 500
    return stage


def undo(stage: Stage, run: str = UNDO, attempt: str = "1", **options: Any) -> Promotion:
    """An undo as its steps do it."""
    engine = stage.engine(run, attempt=attempt, **options)
    engine.take_lease(at_most=9)
    with engine.at_work():
        promotion = engine.restore_previous(lambda _: None)
    with engine.at_work():
        assert not engine.clean_up().live_reopened
        made_by = engine.made_live_by()
    engine.release_lease()
    assert made_by == engine.work.holder
    return promotion


def is_as_before(stage: Stage) -> None:
    """Live is the pulled data, open; previous is there, and nothing else."""
    assert is_open(stage)
    assert rows(stage) == 500
    assert stage.server.databases() >= {"app", "env_sync"}
    assert stage.server.databases() <= {"app", "app__previous", "env_sync"}


# There and back


def everything(stage: Stage) -> tuple[Any, ...]:
    """What a client can see of live: who owns it and may do what, its settings, its content, its comment."""
    comment = stage.comment("app")
    return (
        stage.query(WHO_MAY),
        stage.query("SELECT * FROM app.people ORDER BY id"),
        stage.query("SELECT to_regclass('app.added_later') IS NOT NULL"),
        comment.person,
        comment.stamp,
        comment.promoted,
    )


def test_there_and_back_with_all_that_each_has(any_stage: Stage) -> None:
    stage = any_stage.with_dump()
    stage.server.create_database("app", OWNER)
    stage.query(LIVE)
    before = everything(stage)
    pull(stage, stage.engine(), stage.transformation())
    # What was changed since is each copy's own.
    stage.query("ALTER DATABASE app SET work_mem = '9MB'; GRANT CONNECT ON DATABASE app TO stranger")
    stage.query(
        "COMMENT ON TABLE app.people IS 'of the new one'; UPDATE app.people SET name = 'x' WHERE id = 7"
    )
    after = everything(stage)
    assert before[:3] != after[:3]
    promotion = undo(stage)
    assert promotion.unavailable > 0
    assert (promotion.first, promotion.previous_kept) == (False, True)
    assert everything(stage) == before
    assert stage.comment("app__previous").stamp == after[4]
    undo(stage, "env_sync_integration/redo")
    assert everything(stage) == after
    assert stage.server.databases() == {"app", "app__previous", "env_sync"}
    [(allowed,)] = stage.query(
        "SELECT datallowconn FROM pg_database WHERE datname = 'app__previous'", "postgres"
    )
    assert not allowed


def test_the_next_pull_goes_on_as_ever(pulled: Stage) -> None:
    undo(pulled)
    promotion = pull(pulled, pulled.engine("env_sync_integration/next"), pulled.transformation())
    assert promotion.previous_kept
    assert rows(pulled) == 500
    # And its previous, which was live again by undo, is good for another.
    undo(pulled, "env_sync_integration/once_more")
    assert rows(pulled) == 1


def test_clients_see_the_new_data_and_then_the_old(pulled: Stage) -> None:
    with clients(pulled) as until:
        undo(pulled)
        seen = until(1)
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {1, 500}


def test_who_looks_into_previous_is_ended(pulled: Stage) -> None:
    pulled.server.execute("ALTER DATABASE app__previous ALLOW_CONNECTIONS true")
    with pulled.server.connect("app__previous", OWNER, SECRET) as connection:
        undo(pulled)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert rows(pulled) == 1


# Once for each run


def test_a_run_does_it_once_in_whatever_attempt(pulled: Stage) -> None:
    first = undo(pulled)
    for attempt in ("1", "2"):
        again = undo(pulled, attempt=attempt)
        assert again.unavailable == pytest.approx(first.unavailable, abs=0.5)
        assert again.previous_kept
        assert rows(pulled) == 1
    # Another run changes them back.
    undo(pulled, "env_sync_integration/another")
    assert rows(pulled) == 500


def test_two_at_once_change_them_once(pulled: Stage) -> None:
    """Two processes of one run, as where Airflow took the first for dead."""
    engines = [pulled.engine(run=UNDO) for _ in range(2)]
    engines[0].take_lease(at_most=9)
    barrier, raised = threading.Barrier(2), list[BaseException]()

    def work(number: int) -> None:
        barrier.wait()
        try:
            with engines[number].at_work():
                engines[number].restore_previous(lambda _: None)
        except BaseException as error:  # noqa: BLE001 - looked at below
            raised.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert raised == []
    assert is_open(pulled)
    assert rows(pulled) == 1


def test_another_run_waits_for_the_lease(pulled: Stage) -> None:
    with working(pulled.engine("env_sync_integration/first")) as engine:
        with pytest.raises(LeaseHeld, match="env_sync_integration/first"):
            pulled.engine("env_sync_integration/second").take_lease(at_most=9)
        with pytest.raises(LeaseLost), pulled.engine("env_sync_integration/second").at_work():
            pytest.fail("it went to work without the lease")
        engine.restore_previous(lambda _: None)
    assert rows(pulled) == 1


def test_the_lease_no_longer_says_that_live_is_closed(pulled: Stage) -> None:
    """Else whoever comes next would reopen a live that somebody else closed since."""
    with working(pulled.engine(run=UNDO)) as engine:
        engine.restore_previous(lambda _: None)
        assert pulled.query("SELECT live_closed_at FROM lease", "env_sync") == [(None,)]


def test_a_lease_that_was_taken_meanwhile_stops_it(pulled: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    close_live = LeaseManager.close_live

    def close_and_lose(leases: LeaseManager, session: Session) -> dt.datetime:
        closed = close_live(leases, session)
        pulled.server.execute("UPDATE lease SET attempt = 'of another'", None, "env_sync")
        return closed

    monkeypatch.setattr(LeaseManager, "close_live", close_and_lose)
    with pytest.raises(LeaseLost), working(pulled.engine(run=UNDO)) as engine:
        engine.restore_previous(lambda _: None)
    is_as_before(pulled)


# Killed at any instant


def undo_and_die(stage: Stage, number: int, *, from_closing: bool = False) -> bool:
    """Undo in a process of its own that is killed at a statement; whether it came so far."""

    def work() -> None:
        engine = stage.engine(run=UNDO)
        with engine.at_work():
            Killer(number, from_closing=from_closing).install()
            engine.restore_previous(lambda _: None)
            os._exit(0)

    child = FORK.Process(target=work)
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def test_a_rerun_finishes_it_after_a_kill_at_any_statement(pulled: Stage) -> None:
    closed = 0
    pulled.engine(run=UNDO).take_lease(at_most=9)
    for number in strides("undo and a rerun", STRIDE):
        killed = undo_and_die(pulled, number)
        assert pulled.server.databases() == {"app", "app__previous", "env_sync"}
        if is_open(pulled):
            assert rows(pulled) in (1, 500)
        else:
            closed += 1
        if not killed or rows_if_open(pulled) == 1:
            break
    assert number > 15
    assert closed >= 3
    assert undo(pulled).previous_kept
    assert rows(pulled) == 1


def test_clean_up_reopens_live_after_a_kill_at_any_statement(pulled: Stage) -> None:
    reopened = 0
    for number in strides("undo and a clean-up", STRIDE):
        pulled.engine(run=UNDO).take_lease(at_most=9)
        killed = undo_and_die(pulled, number, from_closing=True)
        was_closed = not is_open(pulled)
        engine = pulled.engine(run=UNDO)
        with engine.at_work():
            done = engine.clean_up()
        engine.release_lease()
        assert is_open(pulled)
        assert done.live_reopened == was_closed
        reopened += was_closed
        assert pulled.server.databases() == {"app", "app__previous", "env_sync"}
        if not killed or rows(pulled) == 1:
            break
        assert rows(pulled) == 500
    assert reopened >= 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, PauseActive, Cancelled])
def test_live_is_reopened_whatever_is_raised(
    pulled: Stage, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("env_sync.engines.postgresql.undo.no_longer_live", fail)
    with working(pulled.engine(run=UNDO)) as engine, pytest.raises(error):
        engine.restore_previous(lambda _: None)
    is_as_before(pulled)


def test_live_is_reopened_when_the_session_is_lost(pulled: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(work: Promoting, comment: Comment, *_: object) -> Comment:
        pulled.server.execute(f"SELECT pg_terminate_backend({work.hold.session.pid}, 5000)")
        return comment

    monkeypatch.setattr("env_sync.engines.postgresql.undo.no_longer_live", lose)
    with pytest.raises(EnvSyncError), working(pulled.engine(run=UNDO)) as engine:
        engine.restore_previous(lambda _: None)
    is_as_before(pulled)


def test_a_crash_of_the_server_leaves_live_whole(pulled: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: Promoting, comment: Comment, *__: object) -> Comment:
        pulled.server.kill()
        return comment

    monkeypatch.setattr("env_sync.engines.postgresql.undo.no_longer_live", crash)
    with pytest.raises(EnvSyncError), working(pulled.engine(run=UNDO)) as engine:
        engine.restore_previous(lambda _: None)
    monkeypatch.undo()
    pulled.server.start()
    if is_open(pulled):
        assert rows(pulled) == 500
    with working(pulled.engine(run=UNDO)) as engine:
        assert engine.restore_previous(lambda _: None).previous_kept
    assert rows(pulled) == 1


# What is refused


def test_without_a_previous(stage: Stage) -> None:
    stage.server.create_database("app", OWNER)
    with pytest.raises(NoPrevious, match="no pull has replaced live yet, or somebody dropped it"):
        undo(stage)
    assert is_open(stage)


def test_where_none_is_kept_that_is_said(stage: Stage) -> None:
    stage = stage.with_dump()
    stage.server.create_database("app", OWNER)
    pull(stage, stage.engine(keep_previous=False), stage.transformation())
    with pytest.raises(NoPrevious, match="keep_previous is false for this sync"):
        undo(stage, keep_previous=False)
    is_as_before(stage)


def test_the_rest_of_a_drop_is_no_previous(pulled: Stage) -> None:
    pulled.server.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'app__previous'")
    with pytest.raises(NoPrevious, match="DROP DATABASE that did not end"):
        undo(pulled)
    is_as_before(pulled)
    pulled.server.execute("UPDATE pg_database SET datconnlimit = -1 WHERE datname = 'app__previous'")


Change = Callable[[Comment], Comment | str]


def was_live(**changes: Any) -> Change:
    def change(comment: Comment) -> Comment:
        assert comment.was_live
        return evolve(comment, was_live=evolve(comment.was_live, **changes))

    return change


def stamped(**changes: Any) -> Change:
    """As if what was live had been pulled, to be in this state and for this environment."""

    def change(comment: Comment) -> Comment:
        assert comment.was_live
        return evolve(comment, stamp=evolve(PULLED[0], **changes))

    return change


PULLED: list[Stamp] = []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda _: "", "does not say that it was ever live", id="nothing"),
        pytest.param(lambda _: "env_sync: {not json", "does not say that it was ever live", id="broken"),
        pytest.param(lambda c: evolve(c, was_live=None).text(), "does not say", id="no mark"),
        pytest.param(was_live(oid=1), "another database than the one that was live", id="oid"),
        pytest.param(
            was_live(environment="production"), "it was live as app in production", id="environment"
        ),
        pytest.param(was_live(database="other"), "it was live as other in integration", id="database"),
        pytest.param(stamped(state=CopyState.RAW), "is raw", id="raw"),
        pytest.param(stamped(state=CopyState.SANITISING), "is sanitising", id="sanitising"),
        pytest.param(stamped(environment="production"), "it was pulled for production", id="for another"),
    ],
)
@pytest.mark.probe("a previous that somebody else made")
def test_what_does_not_prove_that_it_was_live_here_is_refused(
    pulled: Stage, change: Change, message: str
) -> None:
    stamp = pulled.comment("app").stamp
    assert stamp
    PULLED[:] = [stamp]
    changed = change(pulled.comment("app__previous"))
    pulled.put_comment("app__previous", changed)
    with pytest.raises(PreviousRefused, match=message):
        undo(pulled)
    is_as_before(pulled)


@pytest.mark.probe("a previous that somebody else made")
def test_a_copy_of_what_was_live_with_its_comment_is_refused(pulled: Stage) -> None:
    comment = pulled.comment("app__previous")
    pulled.server.execute("DROP DATABASE app__previous")
    pulled.server.create_database("app__previous", OWNER)
    pulled.put_comment("app__previous", comment)
    with pytest.raises(PreviousRefused, match="another database than the one that was live"):
        undo(pulled)
    is_as_before(pulled)


def test_one_that_is_replaced_while_live_is_closed_is_refused_and_live_reopened(
    pulled: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    comment = pulled.comment("app__previous")

    def replace(_: Stamp | None) -> None:
        pulled.server.execute("DROP DATABASE app__previous")
        pulled.server.create_database("app__previous", OWNER)
        pulled.put_comment("app__previous", comment)

    with working(pulled.engine(run=UNDO)) as engine, pytest.raises(PreviousRefused):
        engine.restore_previous(replace)
    is_as_before(pulled)


def test_last_look_stops_it(pulled: Stage) -> None:
    def paused(_: Stamp | None) -> None:
        raise PauseActive

    with working(pulled.engine(run=UNDO)) as engine, pytest.raises(PauseActive):
        engine.restore_previous(paused)
    is_as_before(pulled)


def test_a_connection_of_another_environment_is_refused(pulled: Stage) -> None:
    engine = pulled.engine(run=UNDO)
    engine.work = evolve(engine.work, connection=evolve(engine.work.connection, environment="production"))
    with working(engine), pytest.raises(WrongEnvironment, match="belongs to production"):
        engine.restore_previous(lambda _: None)
    is_as_before(pulled)


def test_a_role_that_may_not_rename_previous_is_told(pulled: Stage) -> None:
    pulled.server.execute("ALTER DATABASE app__previous OWNER TO stranger")
    with pytest.raises(AccessRefused, match=r"app__previous.*GRANT stranger TO env_sync"):
        undo(pulled)
    is_as_before(pulled)


def test_a_session_that_may_not_be_ended_is_named_and_live_never_closed(pulled: Stage) -> None:
    with pulled.live() as connection:
        pid = connection.info.backend_pid
        with pytest.raises(PromoteFailed, match=rf"server process {pid} of postgres in app"):
            undo(pulled, promote_wait=dt.timedelta(seconds=0.5))
        assert connection.execute("SELECT 1").fetchone() == (1,)
    is_as_before(pulled)


def test_a_live_that_somebody_else_closed_is_left_closed(pulled: Stage) -> None:
    pulled.server.execute("ALTER DATABASE app ALLOW_CONNECTIONS false")
    with pytest.raises(PromoteFailed, match="Env Sync did not close it"):
        undo(pulled)
    assert not is_open(pulled)


def test_without_a_live_it_says_what_to_do_by_hand(pulled: Stage) -> None:
    pulled.server.execute("DROP DATABASE app WITH (FORCE)")
    with pytest.raises(NoSuchDatabase, match='RENAME TO "app"'):
        undo(pulled)
    assert pulled.server.databases() == {"app__previous", "env_sync"}


def test_nobody_else_can_connect_to_previous_at_any_time(pulled: Stage) -> None:
    undo(pulled)
    for role in (OWNER, READER, STRANGER):
        with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
            pulled.server.connect("app__previous", role, SECRET)


def test_what_is_written_when_live_becomes_previous(pulled: Stage) -> None:
    [(oid,)] = pulled.query("SELECT oid::bigint FROM pg_database WHERE datname = 'app__previous'", "postgres")
    comment = pulled.comment("app__previous")
    assert comment.was_live
    assert comment.was_live == WasLive(
        database="app", oid=oid, environment="integration", until=comment.was_live.until
    )
    promoted = pulled.comment("app").promoted
    assert promoted
    assert comment.was_live.until <= promoted.at
    assert comment.stamp is None
