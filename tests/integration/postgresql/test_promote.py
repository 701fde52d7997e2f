from __future__ import annotations

import contextlib
import datetime as dt
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from attrs import evolve

from env_sync.core.errors import (
    AccessRefused,
    NameRefused,
    PauseActive,
    PromoteFailed,
    ProofMissing,
    WrongEnvironment,
)
from env_sync.domain.finding import Level
from env_sync.engines.base.contract import CopyState, Promotion
from env_sync.engines.postgresql.lease import LeaseManager
from env_sync.engines.postgresql.metadata import Comment
from env_sync.engines.postgresql.session import Session
from env_sync.engines.postgresql.swap import blockers
from tests.integration.postgresql.kept_incoming import keep_incoming
from tests.integration.postgresql.stage import (
    OWNER,
    READER,
    SECRET,
    STRANGER,
    Stage,
    clients,
    pull,
    said,
    say_it_was_live,
    working,
)
from tests.sweep import strides

FORK = multiprocessing.get_context("fork")
STRIDE = 5
"""From one statement at which this process is killed to the next, at most."""


@pytest.fixture
def sanitised(stage: Stage) -> Stage:
    """A live database with one old row, a sanitised incoming beside it, and an earlier previous."""
    stage = stage.with_dump()
    stage.server.create_database("app__previous", OWNER)
    say_it_was_live(stage, "app__previous")
    stage.server.create_database("app", OWNER)
    stage.query("SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.people AS SELECT 'old' AS name")
    make_incoming(stage)
    return stage


def oid_of(stage: Stage, database: str) -> int | None:
    found = stage.query(f"SELECT oid FROM pg_database WHERE datname = '{database}'", "postgres")
    return found[0][0] if found else None


def make_incoming(stage: Stage) -> None:
    assert stage.dump
    with working(stage.engine()) as engine:
        engine.restore(stage.dump)
        engine.sanitise([stage.transformation()])


def promote(stage: Stage, **options: Any) -> Promotion:
    file = stage.folder / "redact.sql"
    with working(stage.engine(**options)) as engine:
        return engine.promote(said(file), lambda: None)


def rows(stage: Stage) -> int:
    [(count,)] = stage.query("SELECT count(*) FROM app.people")
    return int(count)


def is_open(stage: Stage) -> bool:
    [(allowed,)] = stage.query("SELECT datallowconn FROM pg_database WHERE datname = 'app'", "postgres")
    return bool(allowed)


def test_clients_see_the_old_data_and_then_the_new(sanitised: Stage) -> None:
    with clients(sanitised) as until:
        promotion = promote(sanitised)
        seen = until(500)
    assert seen == sorted(seen)
    assert set(seen) <= {1, 500}
    assert not promotion.first
    assert promotion.unavailable > 0


def test_a_rerun_after_the_swap_tells_the_same(sanitised: Stage) -> None:
    first = promote(sanitised)
    again = promote(sanitised)
    assert again.unavailable == pytest.approx(first.unavailable, abs=0.5)
    assert (again.first, again.previous_kept) == (False, True)
    assert rows(sanitised) == 500
    dropped = promote(sanitised, keep_previous=False)
    assert not dropped.previous_kept
    assert sanitised.server.databases() == {"app", "env_sync"}


# Killed at any instant


class Killer:
    """Counts statements, from when live is closed if so asked, and kills this process before one of them."""

    def __init__(self, number: int, *, from_closing: bool) -> None:
        self._left = number
        self._armed = not from_closing
        self._execute = Session.execute
        self._close_live = LeaseManager.close_live

    def install(self) -> None:
        killer, execute = self, self._execute

        def counted(session: Session, *arguments: Any) -> Any:
            killer._left -= killer._armed
            if killer._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return execute(session, *arguments)

        def close_live(leases: LeaseManager, session: Session) -> dt.datetime:
            killer._armed = True
            return killer._close_live(leases, session)

        setattr(Session, "execute", counted)  # noqa: B010
        setattr(LeaseManager, "close_live", close_live)  # noqa: B010


def promote_and_die(stage: Stage, number: int, *, from_closing: bool = False) -> bool:
    """Promote in a process of its own that is killed at a statement; whether it came so far."""

    def work() -> None:
        engine = stage.engine()
        with engine.at_work():
            Killer(number, from_closing=from_closing).install()
            engine.promote(said(stage.folder / "redact.sql"), lambda: None)
            os._exit(0)

    child = FORK.Process(target=work)
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def check_whole(stage: Stage) -> None:
    """Live is there, once, either old or new; previous and incoming are closed to others."""
    names = stage.server.databases()
    assert "app" in names
    for role in (OWNER, READER, STRANGER):
        if stage.incoming in names:
            [(allowed,)] = stage.query(
                f"SELECT has_database_privilege('{role}', '{stage.incoming}', 'CONNECT')", "postgres"
            )
            assert not allowed
    if is_open(stage):
        assert rows(stage) == (1 if stage.incoming in names else 500)


def test_promote_is_finished_by_a_rerun_after_a_kill_at_any_statement(sanitised: Stage) -> None:
    closed = 0
    sanitised.engine().take_lease(at_most=9)
    for number in strides("promote and a rerun", STRIDE):
        killed = promote_and_die(sanitised, number)
        check_whole(sanitised)
        closed += not is_open(sanitised)
        if not killed or rows_if_open(sanitised) == 500:
            break
    assert number > 20
    assert closed >= 3
    assert promote(sanitised).previous_kept
    assert rows(sanitised) == 500
    assert sanitised.server.databases() == {"app", "app__previous", "env_sync"}


def rows_if_open(stage: Stage) -> int:
    return rows(stage) if is_open(stage) else 0


def test_clean_up_reopens_live_after_a_kill_at_any_statement(sanitised: Stage) -> None:
    server = sanitised.server
    kept = keep_incoming(sanitised)
    reopened = 0
    for number in strides("promote and a clean-up", STRIDE):
        sanitised.engine().take_lease(at_most=9)
        killed = promote_and_die(sanitised, number, from_closing=True)
        was_closed = not is_open(sanitised)
        engine = sanitised.engine()
        with engine.at_work():
            done = engine.clean_up()
        engine.release_lease()
        assert is_open(sanitised)
        assert done.live_reopened == was_closed
        reopened += was_closed
        assert {sanitised.incoming, "app__replaced"}.isdisjoint(server.databases())
        assert "app__previous" in server.databases()
        if not killed or rows(sanitised) == 500:
            break
        assert rows(sanitised) == 1
        assert done.incoming_dropped
        kept.put_back()
    assert reopened >= 3


def test_whoever_takes_the_lease_next_reopens_live(sanitised: Stage) -> None:
    lifetime = dt.timedelta(seconds=1)
    sanitised.engine(lease_lifetime=lifetime).take_lease(at_most=9)
    number = 0
    while True:
        # Each try renews the lease for its short life.
        with working(sanitised.engine(lease_lifetime=lifetime)):
            pass
        assert promote_and_die(sanitised, number, from_closing=True)
        if not is_open(sanitised):
            break
        number += 1
    sanitised.server.execute("UPDATE lease SET expires_at = now()", None, "env_sync")
    sanitised.engine(run="another/run", group="other").take_lease(at_most=9)
    assert is_open(sanitised)
    assert sanitised.server.execute("SELECT run, live_closed_at FROM lease", None, "env_sync") == [
        ("another/run", None)
    ]


def test_a_live_that_somebody_else_closed_is_left_closed(sanitised: Stage) -> None:
    sanitised.server.execute("ALTER DATABASE app ALLOW_CONNECTIONS false")
    with pytest.raises(PromoteFailed, match="Env Sync did not close it"):
        promote(sanitised)
    with working(sanitised.engine()) as engine:
        assert not engine.clean_up().live_reopened
    assert not is_open(sanitised)


# What stops it


def test_last_look_stops_it(sanitised: Stage) -> None:
    def paused() -> None:
        raise PauseActive

    with working(sanitised.engine()) as engine, pytest.raises(PauseActive):
        engine.promote(said(sanitised.folder / "redact.sql"), paused)
    assert is_open(sanitised)
    assert rows(sanitised) == 1


def test_a_session_that_may_not_be_ended_is_named_and_live_never_closed(sanitised: Stage) -> None:
    previous = oid_of(sanitised, "app__previous")
    with sanitised.live() as connection:
        pid = connection.info.backend_pid
        with pytest.raises(PromoteFailed, match=rf"server process {pid} of postgres in app"):
            promote(sanitised, promote_wait=dt.timedelta(seconds=0.5))
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert is_open(sanitised)
    assert rows(sanitised) == 1
    assert oid_of(sanitised, "app__previous") == previous


def test_a_session_of_a_role_that_was_dropped_is_named_and_ended(sanitised: Stage) -> None:
    with contextlib.closing(sanitised.server.connect("app", STRANGER, SECRET)) as theirs:
        sanitised.server.execute("DROP ROLE stranger")
        with working(sanitised.engine()) as engine, engine._server.session("postgres") as session:
            assert blockers(session, ["app"], only_staying=True) == []
            [named] = blockers(session, ["app"], only_staying=False)
        assert re.match(r"server process \d+ of a role that was dropped in app ", named)
        assert not promote(sanitised).first
        with pytest.raises(psycopg.OperationalError):
            theirs.execute("SELECT 1")


def test_live_is_reopened_when_it_cannot_be_swapped(
    sanitised: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("env_sync.engines.postgresql.promotion.wait_for_those_that_stay", lambda _work: None)
    with sanitised.live() as connection:
        with pytest.raises(PromoteFailed, match=r"held by server process .* Live was reopened"):
            promote(sanitised, promote_wait=dt.timedelta(seconds=0.5))
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert is_open(sanitised)
    assert rows(sanitised) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, PauseActive])
def test_live_is_reopened_whatever_is_raised(
    sanitised: Stage, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("env_sync.engines.postgresql.promotion.give_place", fail)
    previous = oid_of(sanitised, "app__previous")
    with pytest.raises(error):
        promote(sanitised)
    assert is_open(sanitised)
    assert rows(sanitised) == 1
    assert oid_of(sanitised, "app__previous") == previous
    assert sanitised.incoming in sanitised.server.databases()


def test_live_is_reopened_when_the_session_is_lost(sanitised: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(session: Session, *_: object) -> None:
        sanitised.server.execute(f"SELECT pg_terminate_backend({session.pid}, 5000)")

    monkeypatch.setattr("env_sync.engines.postgresql.promotion.give_place", lose)
    with pytest.raises(Exception, match=r"terminat|closed|lost|is gone"):
        promote(sanitised)
    assert is_open(sanitised)
    assert rows(sanitised) == 1


def test_a_crash_of_the_server_leaves_live_whole(sanitised: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with working(sanitised.engine()):
        pass

    def crash(*_: object) -> None:
        sanitised.server.kill()

    monkeypatch.setattr("env_sync.engines.postgresql.promotion.give_place", crash)
    with pytest.raises(Exception, match=r"closed|lost|unreachable|could not|is gone|terminat"):
        promote(sanitised)
    monkeypatch.undo()
    sanitised.server.start()
    check_whole(sanitised)
    assert promote(sanitised).previous_kept
    assert rows(sanitised) == 500


def test_what_stands_against_the_swap_is_named(sanitised: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if somebody had made it since it was looked for.
    monkeypatch.setattr("env_sync.engines.postgresql.promotion._previous", lambda *_: None)
    with pytest.raises(PromoteFailed, match=r'database "app__previous" already exists'):
        promote(sanitised)
    assert (is_open(sanitised), rows(sanitised)) == (True, 1)


@pytest.mark.parametrize("copy", ["app__previous", "app__replaced"])
@pytest.mark.probe("a previous that somebody else made")
def test_a_database_of_somebody_else_is_not_dropped_for_previous(sanitised: Stage, copy: str) -> None:
    server, dump = sanitised.server, sanitised.dump
    assert dump
    if copy in server.databases():
        server.drop_database(copy)
    server.create_database(copy, OWNER)
    sanitised.query("CREATE TABLE precious AS SELECT 1", copy)
    refused = pytest.raises(NameRefused, match=f"There is a database {copy} on .* Rename it")
    with refused:
        promote(sanitised)
    with working(sanitised.engine(attempt="2")) as engine, refused:
        engine.restore(dump)
    [found] = [one for one in sanitised.engine().preflight([], None).findings if copy in one.what]
    assert (found.level, "somebody else's" in found.what) == (Level.PROBLEM, True)
    assert sanitised.query("SELECT count(*) FROM precious", copy) == [(1,)]
    assert (is_open(sanitised), rows(sanitised)) == (True, 1)


def test_a_role_that_may_not_rename_live_is_told_before_anything_is_done(stage: Stage) -> None:
    stage = stage.with_dump()
    stage.server.create_database("app", STRANGER)
    assert stage.dump
    with working(stage.engine()) as engine, pytest.raises(AccessRefused, match="GRANT stranger TO env_sync"):
        engine.restore(stage.dump)
    assert stage.server.databases() == {"app", "env_sync"}


# The proof


def forge(stage: Stage, change: Callable[[Comment], Comment | str]) -> None:
    stage.put_comment(stage.incoming, change(stage.comment(stage.incoming)))


def stamped(**changes: Any) -> Callable[[Comment], Comment]:
    def change(comment: Comment) -> Comment:
        assert comment.stamp
        return evolve(comment, stamp=evolve(comment.stamp, **changes))

    return change


FORGED: Iterator[Any] = iter(
    [
        pytest.param(stamped(state=CopyState.RAW), "is raw, not sanitised", id="raw"),
        pytest.param(stamped(state=CopyState.SANITISING), "is sanitising", id="sanitising"),
        pytest.param(stamped(environment="production"), "its environment is production", id="environment"),
        pytest.param(stamped(transformations=()), "its transformations are none", id="no transformations"),
        pytest.param(lambda _: "", "no stamp", id="nothing"),
        pytest.param(lambda _: "env_sync: {not json", "no stamp", id="broken"),
        pytest.param(lambda _: "env_sync: []", "no stamp", id="list"),
        pytest.param(lambda c: stamped(holder=evolve(c.stamp.holder, run="x"))(c), "its run is x", id="run"),
        pytest.param(
            lambda c: stamped(holder=evolve(c.stamp.holder, group="x"))(c), "its group is x", id="group"
        ),
        pytest.param(
            lambda c: stamped(holder=evolve(c.stamp.holder, attempt="0"))(c), "its attempt is 0", id="attempt"
        ),
    ]
)


@pytest.mark.parametrize(("change", "message"), list(FORGED))
@pytest.mark.probe("a forged proof")
def test_a_proof_that_does_not_fit_is_refused(
    sanitised: Stage, change: Callable[[Comment], Comment | str], message: str
) -> None:
    forge(sanitised, change)
    with pytest.raises(ProofMissing, match=message):
        promote(sanitised)
    assert is_open(sanitised)
    assert rows(sanitised) == 1


@pytest.mark.probe("a forged proof")
def test_other_transformations_than_those_that_ran_are_refused(sanitised: Stage, tmp_path: Path) -> None:
    (sanitised.folder / "redact.sql").write_text("SELECT 'changed since'")
    with pytest.raises(ProofMissing, match=r"its transformations are redact\.sql"):
        promote(sanitised)


@pytest.mark.probe("a right that is given during a pull")
def test_an_incoming_that_somebody_was_let_into_is_refused(sanitised: Stage) -> None:
    sanitised.server.execute("GRANT CONNECT ON DATABASE app__incoming TO stranger")
    with pytest.raises(PromoteFailed, match="stranger"):
        promote(sanitised)
    assert rows(sanitised) == 1


def test_no_incoming_is_no_proof(stage: Stage) -> None:
    stage.transformation()
    with pytest.raises(ProofMissing, match="There is no database"):
        promote(stage)


@pytest.mark.probe("a connection of another environment")
def test_a_connection_of_another_environment_is_refused(stage: Stage) -> None:
    stage = stage.with_dump()
    dump = stage.dump
    assert dump
    engine = stage.engine()
    engine.work = evolve(engine.work, connection=evolve(engine.work.connection, environment="production"))
    with working(engine):
        for step in (
            lambda: engine.restore(dump),
            lambda: engine.sanitise([]),
            lambda: engine.promote((), lambda: None),
        ):
            with pytest.raises(WrongEnvironment, match="belongs to production"):
                step()
    assert stage.server.databases() == {"env_sync"}


def test_what_a_role_may_not_act_as_is_told(stage: Stage) -> None:
    stage = stage.with_dump()
    stage.server.create_database("app", OWNER)
    stage.query(
        "CREATE SCHEMA app AUTHORIZATION stranger; CREATE TABLE app.people (id int); "
        "ALTER TABLE app.people OWNER TO stranger; ALTER ROLE stranger IN DATABASE app SET work_mem = '3MB'; "
        "ALTER DEFAULT PRIVILEGES FOR ROLE stranger GRANT SELECT ON TABLES TO app_owner"
    )
    promotion = pull(stage, stage.engine(), stage.transformation())
    told = "\n".join(promotion.warnings)
    assert "2 objects belong in live to stranger" in told
    assert "ALTER ROLE stranger IN DATABASE ... SET work_mem" in told
    assert "default privileges of role stranger" in told
    assert stage.query(
        "SELECT tableowner, has_table_privilege('stranger', 'app.people', 'INSERT') FROM pg_tables "
        "WHERE tablename = 'people'"
    ) == [(OWNER, True)]
