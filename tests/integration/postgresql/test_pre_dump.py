"""A push that transforms: live stays as it is, its copy is closed and goes, the dump is as one of live."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from attrs import evolve

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import (
    Cancelled,
    DumpDamaged,
    NameRefused,
    ProofMissing,
    RestoreFailed,
    TransformationFailed,
)
from env_sync.domain.sync import Action
from env_sync.engines.base.contract import CopyState, DumpFacts, Holder, Stamp
from env_sync.engines.postgresql import in_place
from env_sync.engines.postgresql import outgoing as outgoing_module
from env_sync.engines.postgresql.archive import Archive, read_archive
from env_sync.engines.postgresql.archive_name import name_as_live
from env_sync.engines.postgresql.client_tools import known_client_tools
from env_sync.engines.postgresql.dump import dump_database
from env_sync.engines.postgresql.engine import PostgreSQLEngine
from env_sync.engines.postgresql.metadata import Comment
from env_sync.engines.postgresql.session import Session
from sandbox.postgresql import PostgreSQLServer
from tests.integration.postgresql.stage import (
    DATA_TIME,
    LOG,
    OWNER,
    READER,
    SECRET,
    SOURCE,
    STRANGER,
    Stage,
    pull,
    said,
    working,
)
from tests.integration.postgresql.tools import dump, verify
from tests.sweep import sample

CANCELLED = 6
"""Before how many of its statements a push is cancelled."""
PRIVATE = b"home.example"
COUNT = (
    "SELECT count(*), count(*) FILTER (WHERE email LIKE '%home.example'), "
    "count(*) FILTER (WHERE email LIKE 'user-%') FROM app.people"
)
LIVE = (500, 500, 0)
REDACTED = (500, 0, 500)


@pytest.fixture
def live(stage: Stage) -> Stage:
    return with_live(stage)


def with_live(stage: Stage) -> Stage:
    stage.server.create_database(stage.database, OWNER)
    stage.query(f'SET ROLE {OWNER}; {SOURCE}; GRANT USAGE ON SCHEMA app TO "{READER}"; ANALYZE')
    return stage


def pushing(stage: Stage, *, in_place: bool = False, **wanted: object) -> PostgreSQLEngine:
    engine = stage.engine(group="push_app", action=Action.PUSH, **wanted)  # type: ignore[arg-type]
    sync = evolve(
        engine.work.sync,
        pre_dump_transformation=stage.folder / "redact.sql",
        pre_dump_in_place=in_place,
        excluded_tables=("app.added_later",),
    )
    return PostgreSQLEngine(evolve(engine.work, sync=sync))


def push(stage: Stage, *files: Path, in_place: bool = False, **wanted: object) -> DumpFacts:
    engine = pushing(stage, in_place=in_place, **wanted)
    try:
        with working(engine):
            chosen = files or [stage.transformation()]
            return engine.dump_transformed(to(stage), chosen, in_place=in_place)
    finally:
        engine.work.cancellation.reset()
        engine.release_lease()


def to(stage: Stage) -> Path:
    return stage.folder / "dump"


def content(file: Path) -> bytes:
    """All that an archive restores, as SQL."""
    tools = known_client_tools()[-1]
    return subprocess.run(
        [tools.pg_restore, "--file=-", "--create", file], check=True, capture_output=True
    ).stdout


def untouched(stage: Stage) -> None:
    """Live is as it was, and of the push nothing is left."""
    assert stage.query(COUNT) == [LIVE]
    assert stage.server.databases() == {stage.database, "env_sync"}
    assert not to(stage).exists()
    assert not list(stage.folder.glob("*.archive*"))


def test_the_dump_is_transformed_and_live_is_not(any_stage: Stage) -> None:
    stage = with_live(any_stage)
    file = stage.transformation()
    facts = push(stage, file)
    assert facts.transformations == said(file)
    assert facts.warnings == ()
    assert facts.started < facts.finished
    assert stage.query(COUNT) == [LIVE]
    assert stage.server.databases() == {"app", "env_sync"}
    restored = content(to(stage))
    assert b"user-500@example.com" in restored
    assert PRIVATE not in restored
    # The excluded table was there for the transformation, and is not in the dump.
    assert b"new in production" not in restored
    assert b"autovacuum_enabled" not in restored
    verify(to(stage))


def test_the_transformation_sees_a_table_that_the_dump_leaves_out(live: Stage) -> None:
    text = (
        "INSERT INTO app.people (name) SELECT note FROM app.added_later; UPDATE app.people SET email = NULL"
    )
    push(live, live.transformation(text))
    assert b"new in production" in content(to(live))


@pytest.mark.parametrize(
    "name", ["app", "email-alert-api_production", 'a "quoted" name', "user", "Ünïcode", "x" * 53]
)
def test_the_dump_is_one_of_live_by_its_name(named_stage: Callable[[str], Stage], name: str) -> None:
    stage = with_live(named_stage(name))
    push(stage)
    archive = read_archive(to(stage), cancellation=Cancellation(), log=LOG)
    assert archive.database == name
    quoted = '"' + name.replace('"', '""') + '"'
    script = content(to(stage)).decode()
    assert f"CREATE DATABASE {quoted} WITH" in script
    assert "__outgoing" not in script
    assert archive.server_version.startswith("18.")
    # As large as before: every offset in it is still right.
    size = to(stage).stat().st_size
    with pytest.raises(DumpDamaged, match="not one of a copy"):
        name_as_live(to(stage))
    assert to(stage).stat().st_size == size


def test_a_pull_takes_the_dump_as_any_other(stage: Stage) -> None:
    live = with_live(stage.with_dump())
    push(live)
    assert live.dump
    stage = evolve(live, dump=evolve(live.dump, file=to(live)))
    # It does nothing, so that what live holds then is what the push made of it.
    pull(stage, stage.engine(), stage.transformation("SELECT 1"))
    assert stage.query(COUNT) == [REDACTED]
    assert stage.query("SELECT tableowner FROM pg_tables WHERE tablename = 'people'") == [(OWNER,)]


def test_it_can_be_made_anew_from_the_archive(live: Stage) -> None:
    """As a developer does it: with --create, on a server without our roles."""
    push(live)
    live.server.drop_database("app")
    target = f"--dbname={live.server.uri('postgres')}"
    program = known_client_tools()[-1].pg_restore
    subprocess.run([program, "--create", "--exit-on-error", "--no-owner", target, to(live)], check=True)
    assert live.query(COUNT) == [REDACTED]


FAILING = {
    "first": "SELECT 1/0;\nUPDATE app.people SET email = NULL;",
    "middle": "UPDATE app.people SET email = 'user-' || id;\nSELECT no_such FROM app.people;\nSELECT 1;",
    "last": "UPDATE app.people SET email = 'user-' || id;\nSELECT no_such_function();",
    "unique": "UPDATE app.people SET email = 'the same';",
    "commit": "UPDATE app.people SET email = 'user-' || id; COMMIT; SELECT 1/0;",
    "deferred": "ALTER TABLE app.people ADD CONSTRAINT late UNIQUE (name) DEFERRABLE INITIALLY DEFERRED;\n"
    "UPDATE app.people SET name = 'the same'",
    "open to all": "GRANT CONNECT ON DATABASE app__outgoing TO PUBLIC;",
}


@pytest.mark.parametrize("way", FAILING)
def test_a_statement_that_fails_leaves_no_dump(live: Stage, way: str) -> None:
    file = live.transformation(FAILING[way])
    with pytest.raises(TransformationFailed) as failed:
        push(live, file)
    assert "home.example" not in str(failed.value)
    assert "Incoming" not in str(failed.value)
    untouched(live)
    push(live)
    assert PRIVATE not in content(to(live))


@pytest.mark.parametrize("way", [way for way in FAILING if way != "open to all"])
def test_a_statement_that_fails_in_place_changes_nothing(live: Stage, way: str) -> None:
    file = live.transformation(FAILING[way])
    with pytest.raises(TransformationFailed, match=r"redact\.sql|transaction of the transformations"):
        push(live, file, in_place=True)
    untouched(live)


def test_in_place_live_itself_is_transformed(live: Stage) -> None:
    file = live.transformation()
    facts = push(live, file, in_place=True)
    assert facts.transformations == said(file)
    assert live.query(COUNT) == [REDACTED]
    assert live.server.databases() == {"app", "env_sync"}
    assert PRIVATE not in content(to(live))
    # It is still open, and said nothing of itself that was not so.
    assert live.query(f"SELECT has_database_privilege('{STRANGER}', 'app', 'CONNECT')") == [(True,)]
    assert live.engine().live_stamp() is None


@pytest.mark.parametrize(
    "end",
    ["COMMIT", "/* - */ end;", "-- why\nABORT", "ROLLBACK", "PREPARE TRANSACTION 'x'", "commit and chain"],
)
def test_in_place_nothing_may_end_the_transaction(live: Stage, end: str) -> None:
    file = live.transformation(f"UPDATE app.people SET email = NULL;\n{end};\nSELECT 1/0;")
    with pytest.raises(TransformationFailed, match=r"line [23]: \w+ would end the transaction"):
        push(live, file, in_place=True)
    untouched(live)


def test_in_place_a_savepoint_is_no_end(live: Stage) -> None:
    text = "SAVEPOINT a; DELETE FROM app.people; ROLLBACK TO a; UPDATE app.people SET email = 'user-' || id;"
    push(live, live.transformation(text), in_place=True)
    assert live.query(COUNT) == [REDACTED]


def test_in_place_no_statement_waits_long_for_the_application(
    live: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would hold what it has locked of live itself until the step's time is over."""
    limited = "DO $$ BEGIN ASSERT current_setting('lock_timeout') = '10min'; END $$;"
    push(live, live.transformation(limited, "1.sql"), live.transformation(limited, "2.sql"), in_place=True)
    to(live).unlink()
    monkeypatch.setattr(in_place, "SETTINGS", ("SET lock_timeout = '50ms'",))
    with live.live() as application:
        # So the push ends, and this test with it, whatever its own limit is.
        application.execute("SET idle_in_transaction_session_timeout = '10s'")
        application.execute("BEGIN; LOCK app.added_later")
        text = "DELETE FROM app.people;\nDELETE FROM app.added_later;"
        with pytest.raises(TransformationFailed, match="line 2: lock_not_available"):
            push(live, live.transformation(text), in_place=True)
    untouched(live)


def refused(stage: Stage, role: str) -> bool:
    try:
        stage.server.connect(stage.outgoing, role, SECRET).close()
    except psycopg.OperationalError as error:
        return "permission denied for database" in str(error)
    return False


def watching(monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None]) -> None:
    """Have `before` called before each statement of the engine."""
    execute = Session.execute

    def watched(session: Session, statement: object, *rest: object) -> object:
        before(str(statement))
        return execute(session, statement, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "execute", watched)


def test_nobody_else_can_read_the_copy_at_any_moment(live: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    def look(_: str) -> None:
        if live.outgoing in live.server.databases():
            assert all(refused(live, role) or not connectable(live) for role in (OWNER, READER, STRANGER))
            looked.append(connectable(live))

    watching(monkeypatch, look)
    push(live)
    assert {True, False} <= set(looked)


def connectable(stage: Stage) -> bool:
    rows = stage.query(f"SELECT datallowconn FROM pg_database WHERE datname = '{stage.outgoing}'", "postgres")
    return rows == [(True,)]


def test_it_is_cancelled_at_each_statement(live: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first one makes the lease database as well.
    push(live)
    statements: list[str] = []
    with monkeypatch.context() as patched:
        watching(patched, statements.append)
        push(live)
    # What follows the last of these is the lease's; the dump is whole then.
    drops = [number for number, text in enumerate(statements) if "DROP DATABASE" in text]
    to(live).unlink()
    for number in sample("cancel before a dump", range(drops[-1] + 1), CANCELLED):
        cancellation = Cancellation()
        # Some statements come as often as there is time for: the last one may have another number.
        left, drops_left = iter(range(number)), iter(drops[:-1])

        def at(
            text: str,
            left: Iterator[int] = left,
            drops_left: Iterator[int] = drops_left,
            cancellation: Cancellation = cancellation,
        ) -> None:
            is_last = "DROP DATABASE" in text and next(drops_left, None) is None
            if next(left, None) is None or is_last:
                cancellation.cancel()

        with monkeypatch.context() as patched:
            watching(patched, at)
            with pytest.raises(Cancelled):
                push(live, cancellation=cancellation)
        with working(pushing(live)) as engine:
            engine.clean_up()
        untouched(live)


def test_clean_up_drops_what_a_killed_step_left(live: Stage) -> None:
    leave_a_copy(live)
    with working(pushing(live)) as engine:
        cleaned = engine.clean_up()
    assert cleaned.notes == (f"dropped {live.outgoing}, which was restoring",)
    untouched(live)


@pytest.mark.parametrize("action", [Action.PUSH, Action.PULL])
def test_a_later_run_drops_it_too(stage: Stage, action: Action) -> None:
    live = with_live(stage.with_dump())
    leave_a_copy(live, run="env_sync_integration/last night")
    if action is Action.PUSH:
        push(live)
    else:
        pull(live, live.engine(), live.transformation())
    assert live.outgoing not in live.server.databases()


def test_a_database_of_somebody_else_is_left_alone(stage: Stage) -> None:
    live = with_live(stage.with_dump())
    live.server.create_database(live.outgoing, STRANGER)
    with pytest.raises(NameRefused, match="that Env Sync did not make"):
        push(live)
    pusher = pushing(live)
    with working(pusher):
        assert pusher.clean_up().notes == ()
    pusher.release_lease()
    pull(live, live.engine(), live.transformation())
    assert live.outgoing in live.server.databases()


def test_a_copy_that_was_only_just_made_is_ours(live: Stage) -> None:
    live.server.create_database(live.outgoing, "env_sync")
    live.query(f"ALTER DATABASE {live.outgoing} ALLOW_CONNECTIONS false", "postgres")
    with working(pushing(live)) as engine:
        assert engine.clean_up().notes == (f"dropped {live.outgoing}, which was without a stamp",)
    untouched(live)


def test_clean_up_leaves_the_copy_of_another_run_alone(live: Stage) -> None:
    leave_a_copy(live, run="env_sync_integration/another")
    with working(pushing(live)) as engine:
        assert "was left alone" in engine.clean_up().notes[0]
    assert live.outgoing in live.server.databases()


def leave_a_copy(stage: Stage, run: str = "env_sync_integration/tonight") -> None:
    """As a process leaves it that is killed while it restores."""
    stage.server.create_database(stage.outgoing, "env_sync")
    stamp_the_copy(stage, run)


def stamp_the_copy(stage: Stage, run: str) -> None:
    """As a process of this run stamps it when it has made it."""
    stamp = Stamp(
        state=CopyState.RESTORING,
        holder=Holder(run=run, group="push_app", attempt="0"),
        sync="push_app",
        environment="integration",
        source_environment="integration",
        dump_key="",
        dump_sha256="",
        data_time=DATA_TIME,
        born_in="integration",
        parents=(),
        transformations=(),
        changed=DATA_TIME,
    )
    stage.put_comment(stage.outgoing, Comment(person="", stamp=stamp))


def test_a_copy_that_was_replaced_is_not_pushed(live: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease was lost, say, while it dumped."""

    def replacing(connection: object, database: str, file: Path, **options: object) -> DumpFacts:
        facts = dump_database(connection, database, file, **options)  # type: ignore[arg-type]
        if database == live.outgoing:
            stamp_the_copy(live, "another run")
        return facts

    monkeypatch.setattr(outgoing_module, "dump_database", replacing)
    with pytest.raises(ProofMissing, match="nothing was uploaded"):
        push(live)
    untouched(live)


def test_a_copy_that_cannot_be_made_leaves_no_raw_archive(
    live: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def failing(archive: Archive, *_: object, **__: object) -> None:
        seen.append(archive.file)
        assert archive.file.exists()
        raise RestoreFailed

    monkeypatch.setattr(outgoing_module, "restore_archive", failing)
    with pytest.raises(RestoreFailed):
        push(live)
    [raw] = seen
    assert not raw.exists()
    untouched(live)


def test_a_name_that_is_too_long(named_stage: Callable[[str], Stage]) -> None:
    stage = with_live(named_stage("x" * 54))
    with pytest.raises(NameRefused, match="63"):
        push(stage)
    # In place there is no copy.
    push(stage, in_place=True)
    assert stage.query(COUNT) == [REDACTED]


@pytest.fixture(params=["postgresql15", "postgresql16", "postgresql18"])
def any_server(request: pytest.FixtureRequest) -> Iterator[PostgreSQLServer]:
    server: PostgreSQLServer = request.getfixturevalue(request.param)
    yield server
    server.clear()


def test_an_archive_that_is_cut_off_is_not_renamed(any_server: PostgreSQLServer, tmp_path: Path) -> None:
    any_server.create_database("app__outgoing")
    any_server.execute("CREATE TABLE t (id int)", None, "app__outgoing")
    file = tmp_path / "dump"
    dump(any_server, "app__outgoing", file)
    whole = file.read_bytes()
    for length in (0, 5, 9, 60, 200, 900):
        file.write_bytes(whole[:length])
        with pytest.raises(DumpDamaged):
            name_as_live(file)
        assert file.read_bytes() == whole[:length]
    file.write_bytes(whole[:5] + b"\1\x63" + whole[7:])
    with pytest.raises(DumpDamaged, match=r"version 1\.99"):
        name_as_live(file)
    file.write_bytes(whole)
    name_as_live(file)
    assert read_archive(file, cancellation=Cancellation(), log=LOG).database == "app"


def preflight(stage: Stage, *files: Path, in_place: bool = False) -> tuple[str, ...]:
    """What a look before the night says."""
    found = pushing(stage, in_place=in_place).preflight(files, None)
    return tuple(f"{one.level}: {one.what}" for one in found.findings)


def test_before_the_night_it_is_tried(live: Stage) -> None:
    [room] = preflight(live, live.transformation())
    assert room.startswith("note: The push makes app__outgoing")
    wrong = preflight(live, live.transformation("UPDATE app.poeple SET email = NULL;"))
    assert any("problem" in said and "poeple" in said for said in wrong)
    ending = preflight(live, live.transformation("COMMIT;"), in_place=True)
    assert any("would end the transaction" in said for said in ending)
    assert preflight(live, live.transformation(), in_place=True) == ()
    live.server.execute("ALTER ROLE env_sync NOCREATEDB")
    told = preflight(live, live.transformation())
    assert any("problem: Role env_sync may not make databases" in said for said in told)
    untouched_by_looking(live)


def untouched_by_looking(stage: Stage) -> None:
    assert stage.query(COUNT) == [LIVE]
    assert stage.server.databases() == {stage.database}
