from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import (
    Cancelled,
    EnvSyncError,
    ProofMissing,
    RestoreFailed,
    ServerUnreachable,
    TransformationFailed,
)
from env_sync.domain.settings import IndexesAfterTransformation
from env_sync.engines.base.contract import CopyState
from env_sync.engines.postgresql.deferred_statements import SCHEMA
from env_sync.engines.postgresql.engine import PostgreSQLEngine
from env_sync.engines.postgresql.session import Session
from sandbox.process import wait_for
from tests.integration.postgresql.kept_incoming import keep_incoming
from tests.integration.postgresql.stage import OWNER, SECRET, SOURCE, Stage, said, working
from tests.sweep import strides

FORK = multiprocessing.get_context("fork")
STRIDE = 6
"""From one statement at which this process is killed to the next, at most."""
RICH = (
    SOURCE
    + """
CREATE INDEX people_lower ON app.people (lower(email));
CREATE INDEX "people ""odd"" name" ON app.people (name DESC NULLS LAST) INCLUDE (email)
    WITH (fillfactor = 70);
CREATE INDEX people_few ON app.people (email) WHERE id % 10 = 3 AND name <> 'it''s;';
CREATE INDEX people_hash ON app.people USING hash (name);
ALTER INDEX app.people_lower ALTER COLUMN 1 SET STATISTICS 500;
COMMENT ON INDEX app.people_lower IS 'for the login page; slow without';
CREATE INDEX people_clustered ON app.people (id, name);
ALTER TABLE app.people CLUSTER ON people_clustered;
CREATE INDEX added_later_note ON app.added_later (note);
CREATE TABLE app.letters (
    id int PRIMARY KEY, person int NOT NULL REFERENCES app.people ON DELETE CASCADE, text text
);
INSERT INTO app.letters SELECT n, n, 'to person' || n || '@home.example' FROM generate_series(1, 500) n;
CREATE INDEX letters_person ON app.letters (person);
CREATE INDEX letters_text ON app.letters (text);
CREATE TABLE app.visits (id int, email text, at int NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE app.visits_1 PARTITION OF app.visits FOR VALUES FROM (0) TO (10) PARTITION BY LIST (at);
CREATE TABLE app.visits_1_all PARTITION OF app.visits_1 DEFAULT;
CREATE TABLE app.visits_2 PARTITION OF app.visits FOR VALUES FROM (10) TO (20);
INSERT INTO app.visits SELECT n, 'person' || n || '@home.example', n % 20 FROM generate_series(1, 500) n;
CREATE INDEX visits_email ON app.visits (email);
CREATE UNIQUE INDEX visits_id ON app.visits (id, at);
CREATE TABLE app.colours (id int PRIMARY KEY, name text);
CREATE INDEX colours_name ON app.colours (name);
"""
)
CHANGES = """
SET search_path = app;
UPDATE people SET email = 'user-' || id || '@example.com', name = 'user ' || id
WHERE name IS DISTINCT FROM '';
UPDATE letters SET text = 'removed';
UPDATE visits SET email = 'visitor-' || id || '@example.com';
"""
INDEXES = (
    "SELECT pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisclustered, obj_description(i.indexrelid), "
    "(SELECT array_agg(attstattarget ORDER BY attnum) FROM pg_attribute WHERE attrelid = i.indexrelid), "
    "(SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = i.indexrelid) "
    "FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
    "WHERE c.relnamespace = 'app'::regnamespace ORDER BY 1"
)
NAMES = (
    "SELECT c.relname::text FROM pg_class c WHERE c.relkind IN ('i', 'I') "
    "AND c.relnamespace = 'app'::regnamespace ORDER BY 1"
)
OURS = f"SELECT count(*) FROM pg_namespace WHERE nspname = '{SCHEMA}'"


def names(stage: Stage) -> set[str]:
    return {name for (name,) in stage.query(NAMES, stage.incoming)}


WAITING = {
    "people_lower",
    'people "odd" name',
    "people_few",
    "people_hash",
    "letters_text",
    "visits_email",
    "visits_1_email_idx",
    "visits_1_all_email_idx",
    "visits_2_email_idx",
    # Of tables that the transformation does not name.
    "added_later_note",
    "colours_name",
}


def restored(stage: Stage, text: str = CHANGES, **options: Any) -> Stage:
    """The stage with a raw incoming that was restored for this transformation."""
    stage = stage.with_dump(RICH)
    assert stage.dump
    with working(stage.engine(transformation=stage.transformation(text), **options)) as engine:
        engine.restore(stage.dump)
    return stage


def sanitise(stage: Stage, **options: Any) -> None:
    file = stage.folder / "redact.sql"
    with working(stage.engine(transformation=file, **options)) as engine:
        engine.sanitise([file])


def made(stage: Stage) -> tuple[list[tuple[Any, ...]], set[str]]:
    """The indexes of the database that was dumped: all about them, and their names."""
    with stage.server.temporary_database(prefix="like") as source:
        stage.server.execute(RICH, None, source)
        return stage.query(INDEXES, source), {name for (name,) in stage.query(NAMES, source)}


def test_the_indexes_of_what_is_rewritten_wait_and_are_all_there_after_it(any_stage: Stage) -> None:
    wanted, everything = made(any_stage)
    stage = restored(any_stage)
    assert everything - names(stage) == WAITING
    file = stage.folder / "redact.sql"
    with working(stage.engine(transformation=file)) as engine:
        stamp = engine.sanitise([file])
        assert stamp.state is CopyState.SANITISED
        assert engine.incoming_stamp() == stamp
    assert stage.query(INDEXES, stage.incoming) == wanted
    assert stage.query(OURS, stage.incoming) == [(0,)]
    assert stage.query("SELECT count(*) FROM app.letters WHERE text = 'removed'", stage.incoming) == [(500,)]
    # Statistics of an expression come with the index.
    assert stage.query("SELECT count(*) FROM pg_stats WHERE tablename = 'people_lower'", stage.incoming) == [
        (1,)
    ]
    with working(stage.engine()) as engine:
        assert engine.promote(said(file), lambda: None).first
    assert stage.query(INDEXES) == wanted


BROUGHT = f"""
CREATE SCHEMA {SCHEMA}; CREATE TABLE {SCHEMA}.statement (number int, schema text, index text, indexed text,
    sql text);
INSERT INTO {SCHEMA}.statement VALUES (1, '', '', '', 'UPDATE app.people SET email = ''ada@home''');
"""
# The database that is dumped has none: it is made while a row is restored.
MADE = f"""
CREATE FUNCTION app.make() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
IF pg_catalog.current_database() LIKE '%incoming' THEN {BROUGHT} END IF; RETURN true; END $$;
CREATE TABLE app.makes (id int CHECK (app.make())); INSERT INTO app.makes VALUES (1);
"""


@pytest.mark.probe("code of a dump that reaches out of the copy")
@pytest.mark.parametrize("brings", [BROUGHT, MADE], ids=["in the dump", "by code of it"])
def test_nothing_that_a_dump_brings_waits_to_be_run(stage: Stage, brings: str) -> None:
    """Else it would be run after all looks, by itself, as the role that acts as the owners of all lives."""
    stage = stage.with_dump(SOURCE + brings)
    assert stage.dump
    # Whether or not something of ours waits.
    for text in (CHANGES, "SELECT app.count_people();"):
        with (
            working(stage.engine(transformation=stage.transformation(text))) as engine,
            pytest.raises(RestoreFailed, match=f"brings a schema {SCHEMA}"),
        ):
            engine.restore(stage.dump)


@pytest.mark.parametrize("wanted", IndexesAfterTransformation)
def test_what_leans_on_a_constraint_or_a_cascade_works_as_ever(
    stage: Stage, wanted: IndexesAfterTransformation
) -> None:
    everything = made(stage)[0]
    text = """
    SET search_path = app;
    INSERT INTO people (id, name, email) VALUES (7000, 'user', 'person7@home.example')
        ON CONFLICT (email) DO UPDATE SET email = 'seven@example.com';
    INSERT INTO people (id, name, email) VALUES (8, 'user', 'eight@example.com') ON CONFLICT DO NOTHING;
    DELETE FROM people WHERE id > 490;
    UPDATE people SET email = 'user-' || id || '@example.com' WHERE id <> 7;
    """
    stage = restored(stage, text, indexes_after_transformation=wanted)
    assert ("people_lower" in names(stage)) == (wanted is IndexesAfterTransformation.NEVER)
    sanitise(stage, indexes_after_transformation=wanted)
    found = "SELECT count(*), max(id), (SELECT count(*) FROM app.letters), min(email) FROM app.people"
    assert stage.query(found, stage.incoming) == [(490, 490, 490, "seven@example.com")]
    assert stage.query(INDEXES, stage.incoming) == everything


def test_the_setting_of_the_restore_holds_also_where_it_is_changed_since(stage: Stage) -> None:
    stage = restored(stage)
    sanitise(stage, indexes_after_transformation=IndexesAfterTransformation.NEVER)
    assert names(stage) == made(stage)[1]


def test_an_index_that_cannot_be_built_drops_incoming(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    long = "(SELECT string_agg(md5(n::text || id), '') FROM generate_series(1, 900) n)"
    stage.server.create_database("app", OWNER)
    stage = restored(
        stage,
        f"UPDATE app.letters SET text = {long};",
        indexes_after_transformation=IndexesAfterTransformation.ALWAYS,
    )
    assert "letters_text" not in names(stage)
    file = stage.folder / "redact.sql"
    with working(stage.engine(transformation=file)) as engine:
        with pytest.raises(
            TransformationFailed, match=r"Index app\.letters_text waited .* `never`"
        ) as failed:
            engine.sanitise([file])
        assert stage.server.databases() == {"app", "env_sync"}
        with pytest.raises(ProofMissing):
            engine.promote(said(file), lambda: None)
    assert "home.example" not in f"{failed.value}{caplog.text}"


@contextlib.contextmanager
def held_up(stage: Stage) -> Iterator[None]:
    """Holds a transformation up that was made by `waits`."""
    with contextlib.closing(stage.server.connect(stage.incoming)) as session:
        session.execute("SELECT pg_advisory_lock(4711)")
        yield


def waits(text: str) -> str:
    """A transformation that waits where it is held up."""
    return f"UPDATE app.people SET name = name WHERE id = 1 AND pg_advisory_xact_lock(4711) IS NULL; {text}"


def transformation_waits(stage: Stage) -> bool:
    return bool(
        stage.server.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event = 'advisory'", [stage.incoming]
        )
    )


def test_indexes_of_other_tables_are_built_while_the_transformation_runs(stage: Stage) -> None:
    wanted, everything = made(stage)
    stage = restored(stage, waits(CHANGES))
    with held_up(stage):
        at_work = threading.Thread(target=lambda: sanitise(stage, jobs=2))
        at_work.start()
        wait_for(lambda: "colours_name" in names(stage) and transformation_waits(stage), "an index beside it")
        assert "people_lower" not in names(stage)
    at_work.join()
    assert names(stage) == everything
    assert stage.query(INDEXES, stage.incoming) == wanted


def test_one_session_builds_them_after_it(stage: Stage) -> None:
    stage = restored(stage, waits(CHANGES))
    with held_up(stage):
        at_work = threading.Thread(target=lambda: sanitise(stage, jobs=1))
        at_work.start()
        wait_for(lambda: transformation_waits(stage), "the transformation")
        assert "colours_name" not in names(stage)
    at_work.join()
    assert names(stage) == made(stage)[1]


def test_a_kill_meanwhile_leaves_what_is_not_promoted(stage: Stage) -> None:
    wanted, _ = made(stage)
    stage = restored(stage, waits(CHANGES))
    file = stage.folder / "redact.sql"
    with held_up(stage):
        child = FORK.Process(target=lambda: sanitise(stage, jobs=2))
        child.start()
        wait_for(lambda: "colours_name" in names(stage) and transformation_waits(stage), "an index beside it")
        child.kill()
        child.join()
    with working(stage.engine(transformation=file)) as engine:
        left = engine.incoming_stamp()
        assert left
        assert left.state is CopyState.SANITISING
        with pytest.raises(ProofMissing):
            engine.promote(said(file), lambda: None)
        assert stage.dump
        engine.restore(stage.dump)
        assert engine.sanitise([file]).state is CopyState.SANITISED
    assert stage.query(INDEXES, stage.incoming) == wanted


def test_a_transformation_that_fails_ends_what_is_built_meanwhile(stage: Stage) -> None:
    stage = restored(stage, waits("UPDATE app.people SET no_such_column = 1;"))
    failed: list[Exception] = []

    def work() -> None:
        try:
            sanitise(stage, jobs=2)
        except TransformationFailed as problem:
            failed.append(problem)

    at_work = threading.Thread(target=work)
    with contextlib.closing(stage.server.connect(stage.incoming, "env_sync", SECRET)) as blocker:
        blocker.execute("BEGIN; LOCK TABLE app.colours IN ACCESS EXCLUSIVE MODE")
        with held_up(stage):
            at_work.start()
            wait_for(lambda: transformation_waits(stage), "the transformation")
        # The index of colours still waits for its lock.
        at_work.join(60)
        assert not at_work.is_alive()
    assert "no_such_column" in str(failed[0])
    assert stage.server.databases() == {"env_sync"}


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("raised", [Cancelled, ServerUnreachable])
def test_a_cancel_or_a_lost_session_while_indexes_are_built_drops_incoming(
    stage: Stage, raised: type[EnvSyncError], jobs: int
) -> None:
    stage = restored(stage)
    cancellation = Cancellation()
    # Holds the build up until the cancel has come.
    with contextlib.closing(stage.server.connect(stage.incoming, "env_sync", SECRET)) as blocker:
        blocker.execute("BEGIN; LOCK TABLE app.colours IN ACCESS EXCLUSIVE MODE")
        stage.query(
            f"INSERT INTO {SCHEMA}.statement "
            "VALUES (99, 'app', 'late', 'colours', 'CREATE INDEX late ON app.colours (id)')",
            stage.incoming,
        )

        def cancel_when_it_waits() -> None:
            [(pid,)] = wait_for(
                lambda: stage.server.execute(
                    "SELECT pid FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%colours%' "
                    "AND wait_event_type = 'Lock'"
                ),
                "an index to be built",
            )
            if raised is Cancelled:
                cancellation.cancel()
            else:
                stage.server.execute("SELECT pg_terminate_backend(%s)", [pid])

        canceller = threading.Thread(target=cancel_when_it_waits)
        canceller.start()
        with pytest.raises(raised):
            sanitise(stage, cancellation=cancellation, jobs=jobs)
        canceller.join()
    assert stage.server.databases() == {"env_sync"}


def die_at(stage: Stage, number: int) -> bool:
    """Sanitise in a process of its own that is killed before a statement; whether it came so far."""

    def work() -> None:
        file = stage.folder / "redact.sql"
        # With one session the statements have an order.
        engine = stage.engine(transformation=file, jobs=1)
        left, execute = [number], Session.execute

        def counted(session: Session, *arguments: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return execute(session, *arguments)

        with engine.at_work():
            setattr(Session, "execute", counted)  # noqa: B010
            engine.sanitise([file])
            os._exit(0)

    child = FORK.Process(target=work)
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


@pytest.mark.slow
def test_after_a_kill_at_any_statement_a_proof_means_all_indexes_and_a_rerun_is_whole(stage: Stage) -> None:
    wanted, everything = made(stage)
    stage = restored(stage)
    file = stage.folder / "redact.sql"
    kept = keep_incoming(stage)
    states: list[CopyState] = []
    for number in strides("sanitise with waiting indexes", STRIDE):
        if not die_at(stage, number):
            break
        engine: PostgreSQLEngine = stage.engine(transformation=file)
        with working(engine):
            left = engine.incoming_stamp()
            assert left
            states.append(left.state)
            raw = stage.query("SELECT count(*) FROM app.people WHERE email ~ 'home'", stage.incoming) != [
                (0,)
            ]
            assert raw == (left.state in (CopyState.RAW, CopyState.SANITISING))
            if left.state is CopyState.SANITISED:
                assert names(stage) == everything
            else:
                with pytest.raises(ProofMissing):
                    engine.promote(said(file), lambda: None)
            if left.state is CopyState.TRANSFORMED and states.count(left.state) == 1:
                with pytest.raises(ProofMissing):
                    engine.sanitise([file])
                assert stage.dump
                engine.restore(stage.dump)
                assert engine.sanitise([file]).state is CopyState.SANITISED
                assert stage.query(INDEXES, stage.incoming) == wanted
        kept.put_back()
    assert set(states) == set(CopyState) - {CopyState.RESTORING}
    assert states == sorted(states, key=list(CopyState).index)
    assert names(stage) == everything
