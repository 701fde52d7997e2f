"""The preflight of the PostgreSQL engine on real servers: what is lacking is named, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from attrs import evolve

from env_sync.core.errors import AccessRefused, ServerUnreachable
from env_sync.domain.finding import Finding, Level
from env_sync.domain.sync import Action
from env_sync.engines.base.contract import DumpHead, Preflight
from env_sync.engines.postgresql import client_tools
from env_sync.engines.postgresql.client_tools import FOLDERS
from env_sync.engines.postgresql.engine import PostgreSQLEngine
from env_sync.engines.postgresql.read_only import reading
from sandbox.process import wait_for
from tests.integration.postgresql.stage import (
    OWNER,
    READER,
    SECRET,
    SOURCE,
    STRANGER,
    VERSIONS,
    Stage,
    pull,
    say_it_was_live,
    working,
)

OF_EACH_VERSION = pytest.mark.parametrize(
    "any_stage",
    [(name, False) for name in VERSIONS],
    indirect=True,
    ids=VERSIONS,
)
"""The RDS-like role on a server of each version: a superuser lacks nothing."""
NO_LONGER_ALL = "REVOKE pg_read_all_data FROM pusher; GRANT USAGE ON SCHEMA app TO pusher; GRANT SELECT"
HEAD = DumpHead(key="postgresql-backend/2026-11-22T220500Z-app.gz", first=b"PGDMP\x01\x0e" + bytes(57))


def with_live(stage: Stage, text: str = SOURCE) -> Stage:
    """Live with everything in it owned by its owner."""
    stage.server.create_database(stage.database, OWNER)
    stage.query(f"SET ROLE {OWNER}; {text}")
    # The server ends a session a moment after its client closed it; until then a superuser is in live.
    there = f"SELECT pid FROM pg_stat_activity WHERE datname = '{stage.database}' AND usesysid > 0"
    wait_for(lambda: not stage.query(there, "postgres"), "the session in live to end")
    return stage


def on_server(stage: Stage, action: Action = Action.PULL) -> tuple[Finding, ...]:
    return stage.engine(action=action).preflight_server()


def of_pull(stage: Stage, *files: Path, head: DumpHead | None = HEAD, **options: object) -> Preflight:
    return stage.engine(**options).preflight(files, head)  # type: ignore[arg-type]


def push_engine(stage: Stage, *excluded: str) -> PostgreSQLEngine:
    engine = stage.engine(action=Action.PUSH)
    engine.work = evolve(engine.work, sync=evolve(engine.work.sync, excluded_tables=excluded))
    return engine


def of_push(stage: Stage, *excluded: str) -> Preflight:
    return push_engine(stage, *excluded).preflight((), None)


def only(findings: tuple[Finding, ...], level: Level = Level.PROBLEM) -> Finding:
    assert [finding.level for finding in findings] == [level], findings
    return findings[0]


@contextlib.contextmanager
def connected(stage: Stage, user: str = "postgres", password: str | None = None) -> Iterator[None]:
    """Somebody is in live."""
    with contextlib.closing(stage.server.connect(stage.database, user, password)):
        yield


def but_superuser(found: Sequence[Finding]) -> list[Finding]:
    """What was found, without the note on a superuser that is accepted."""
    return [one for one in found if "accept_superuser of connection" not in one.what]


def test_nothing_is_found_where_nothing_is_wrong(any_stage: Stage) -> None:
    stage = with_live(any_stage)
    assert but_superuser(on_server(stage)) == []
    looked = of_pull(stage, stage.transformation())
    assert looked.findings == ()
    assert looked.live_size is not None
    assert looked.live_size > 1_000_000
    assert on_server(stage, Action.PUSH) == ()
    pushed = of_push(stage)
    assert pushed.findings == ()
    assert abs((pushed.live_size or 0) - looked.live_size) < 1_000_000


def test_nothing_is_found_after_a_pull_either(any_stage: Stage) -> None:
    """Then there is a lease database, and a previous that is kept on purpose."""
    stage = with_live(any_stage.with_dump())
    file = stage.transformation()
    pull(stage, stage.engine(), file)
    assert but_superuser(on_server(stage)) == []
    assert of_pull(stage, file).findings == ()
    assert on_server(stage, Action.PUSH) == ()
    assert of_push(stage).findings == ()


# The role


@OF_EACH_VERSION
@pytest.mark.parametrize(
    ("taken", "named"),
    [
        ("ALTER ROLE env_sync NOCREATEDB", "ALTER ROLE env_sync CREATEDB;"),
        ("REVOKE pg_signal_backend FROM env_sync", "GRANT pg_signal_backend TO env_sync;"),
    ],
)
def test_a_right_on_the_server_that_is_lacking_is_named(any_stage: Stage, taken: str, named: str) -> None:
    stage = with_live(any_stage)
    stage.server.execute(taken)
    assert named in only(on_server(stage)).fix
    assert of_pull(stage).findings == ()


@OF_EACH_VERSION
def test_an_owner_as_which_the_role_may_not_act_is_named(any_stage: Stage) -> None:
    stage = with_live(any_stage)
    stage.server.execute(f"REVOKE {OWNER} FROM env_sync")
    assert on_server(stage) == ()
    findings = of_pull(stage, stage.transformation()).findings
    assert f"GRANT {OWNER} TO env_sync" in findings[0].what
    assert findings[0].level is Level.PROBLEM
    # What follows from it, on the way to the same grant: nothing but notes.
    assert {finding.level for finding in findings[1:]} <= {Level.NOTE}
    assert all(OWNER in finding.what or "could not be tried" in finding.what for finding in findings[1:])


def test_an_owner_of_objects_alone_is_a_note(stage: Stage) -> None:
    with_live(stage)
    stage.query(f'CREATE TABLE app.of_reader (); ALTER TABLE app.of_reader OWNER TO "{READER}"')
    found = only(of_pull(stage).findings, Level.NOTE)
    assert f"belong to {READER}" in found.what
    stage.server.grant(READER, "env_sync")
    assert of_pull(stage).findings == ()


@OF_EACH_VERSION
@pytest.mark.parametrize("between", [False, True], ids=["directly", "through a group"])
def test_a_member_of_the_role_is_named(any_stage: Stage, between: bool) -> None:
    stage = with_live(any_stage)
    if between:
        stage.server.create_role("group", member_of=["env_sync"])
        stage.server.grant("group", STRANGER)
    else:
        stage.server.grant("env_sync", STRANGER)
    found = only(on_server(stage))
    assert f"Role {STRANGER} is a member of env_sync" in found.what
    assert f"REVOKE env_sync FROM {STRANGER};" in found.fix
    assert on_server(stage, Action.PUSH) == ()


def test_a_member_that_could_only_become_the_role_is_named(stage: Stage) -> None:
    stage.server.execute(f"GRANT env_sync TO {STRANGER} WITH INHERIT FALSE, SET TRUE")
    assert STRANGER in only(on_server(stage)).what


def test_an_administrator_of_the_role_who_is_no_member_in_effect_is_a_note(stage: Stage) -> None:
    """As whoever made it is, from PostgreSQL 16 on."""
    stage.server.execute(f"GRANT env_sync TO {STRANGER} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
    found = only(on_server(stage), Level.NOTE)
    assert f"{STRANGER} (by ADMIN OPTION on env_sync)" in found.what


# The server


def test_a_server_that_does_not_answer(stage: Stage) -> None:
    engine = stage.engine()
    engine._server = evolve(engine._server, connection=evolve(stage.connection(), port=1))
    with pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1:1"):
        engine.preflight_server()


def test_a_password_that_is_wrong(stage: Stage) -> None:
    with pytest.raises(AccessRefused, match="password authentication failed") as refused:
        on_server(evolve(stage, password="not that one"))
    assert "not that one" not in str(refused.value)


def test_tls_is_tried_as_the_connection_asks_for_it(stage: Stage) -> None:
    with pytest.raises(ServerUnreachable, match="SSL"):
        on_server(evolve(stage, extra={"sslmode": "require"}))
    assert on_server(evolve(stage, extra={"sslmode": "prefer"})) == ()


@pytest.fixture
def no_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine with the programs of PostgreSQL 15 alone."""
    monkeypatch.setattr(client_tools, "_folders", lambda: iter([Path("/usr/lib/postgresql/15/bin")]))
    monkeypatch.delenv(FOLDERS, raising=False)
    client_tools._found_in.cache_clear()
    yield
    client_tools._found_in.cache_clear()


@pytest.mark.usefixtures("no_tools")
def test_programs_that_do_not_fit_are_named(stage: Stage) -> None:
    with_live(stage)
    assert "Install version 18" in only(on_server(stage, Action.PUSH)).what
    # An old pg_restore restores into a new server, what it can read.
    assert on_server(stage) == ()
    assert of_pull(stage).findings == ()
    newer = evolve(HEAD, first=b"PGDMP\x01\x10" + bytes(57))
    assert "Install version 18" in only(of_pull(stage, head=newer).findings).what


@pytest.mark.parametrize("first", [b"", b"\x1f\x8b gzip, as of another engine", b"PGDMP"])
def test_a_dump_that_is_no_archive(stage: Stage, first: bytes) -> None:
    with_live(stage)
    assert HEAD.key in only(of_pull(stage, head=evolve(HEAD, first=first)).findings).what


def test_a_lease_database_without_its_table(stage: Stage) -> None:
    stage.server.create_database("env_sync", "env_sync")
    stage.server.execute("REVOKE ALL ON DATABASE env_sync FROM PUBLIC")
    assert on_server(stage) == ()
    # What was promised is so.
    with working(stage.engine()):
        pass


def test_a_lease_database_that_was_not_made_to_its_end(stage: Stage) -> None:
    stage.server.create_database("env_sync", "env_sync")
    stage.server.execute("ALTER DATABASE env_sync ALLOW_CONNECTIONS false")
    assert on_server(stage) == ()
    # Since then it lost the right to make databases.
    stage.server.execute("ALTER ROLE env_sync NOCREATEDB")
    assert "was not made to its end" in only(on_server(stage, Action.PUSH)).what


# A pull


def test_a_first_pull_is_a_note(any_stage: Stage) -> None:
    looked = of_pull(any_stage, any_stage.transformation())
    assert [finding.level for finding in looked.findings] == [Level.NOTE, Level.NOTE]
    assert "the first pull makes it" in looked.findings[0].what
    assert "could not be tried" in looked.findings[1].what
    assert looked.live_size is None


def test_the_owner_of_a_first_pull_must_be_one_as_which_the_role_may_act(stage: Stage) -> None:
    named = evolve(stage, extra={"owner": OWNER})
    assert only(of_pull(named).findings, Level.NOTE).fix == ""
    for owner in (STRANGER, "nobody"):
        note, problem = of_pull(evolve(stage, extra={"owner": owner})).findings
        assert note.level is Level.NOTE
        assert problem.level is Level.PROBLEM
        assert f"GRANT {owner} TO env_sync" in problem.fix


@pytest.mark.parametrize("name", ["postgres", "app__incoming", "x" * 60])
def test_a_name_that_cannot_be_used(named_stage: Callable[[str], Stage], name: str) -> None:
    assert name in only(of_pull(named_stage(name)).findings).what


def test_a_live_that_somebody_closed(stage: Stage) -> None:
    with_live(stage)
    stage.server.execute("ALTER DATABASE app ALLOW_CONNECTIONS false")
    found = only(of_pull(stage).findings)
    assert "Env Sync did not close it" in found.what
    assert "refuses connections" in only(of_push(stage).findings).what


def test_a_live_that_a_killed_promote_left_closed_is_a_note(stage: Stage) -> None:
    engine = with_live(stage).engine()
    with working(engine):
        engine._leases.close_live(engine._held.session)
        found = only(of_pull(stage).findings, Level.NOTE)
        assert "the next sync of it reopens it" in found.what


def test_a_tablespace_of_live_in_which_the_role_may_make_nothing(stage: Stage) -> None:
    with contextlib.closing(stage.server.connect()) as session:
        session.execute("SET allow_in_place_tablespaces = on")
        session.execute("CREATE TABLESPACE large LOCATION ''")
    try:
        stage.server.execute(f"CREATE DATABASE app OWNER {OWNER} TEMPLATE template0 TABLESPACE large")
        assert "GRANT CREATE ON TABLESPACE large TO env_sync" in only(of_pull(stage).findings).fix
        stage.server.execute("GRANT CREATE ON TABLESPACE large TO env_sync")
        assert of_pull(stage).findings == ()
    finally:
        stage.server.drop_database("app")
        stage.server.execute("DROP TABLESPACE large")


def test_a_session_that_may_not_be_ended_is_a_note(stage: Stage) -> None:
    with_live(stage)
    with connected(stage, READER, SECRET):
        assert of_pull(stage).findings == ()
    with connected(stage):
        found = only(of_pull(stage).findings, Level.NOTE)
    assert "of postgres in app" in found.what
    assert "promote waits 10 seconds" in found.fix


def test_what_an_earlier_pull_left_is_a_note_with_age_and_size(stage: Stage) -> None:
    stage = with_live(stage.with_dump())
    with working(stage.engine()) as engine:
        assert stage.dump
        engine.restore(stage.dump)
    found = only(of_pull(stage).findings, Level.NOTE)
    assert found.what.startswith("app__incoming is there on ")
    assert "MB, 0.0 hours old, raw." in found.what
    stage.server.drop_database(stage.incoming)
    stage.server.create_database(stage.incoming, "env_sync")
    stage.server.execute(f"ALTER DATABASE {stage.incoming} ALLOW_CONNECTIONS false")
    assert "of unknown age, without a stamp" in only(of_pull(stage).findings, Level.NOTE).what
    stage.server.drop_database(stage.incoming)
    stage.server.create_database(stage.previous, OWNER)
    say_it_was_live(stage, stage.previous)
    assert of_pull(stage).findings == ()
    assert "app__previous" in only(of_pull(stage, keep_previous=False).findings, Level.NOTE).what


# A push


def test_a_database_that_is_not_there_cannot_be_pushed(any_stage: Stage) -> None:
    assert "There is no database app" in only(of_push(any_stage).findings).what


@pytest.fixture
def reader(any_stage: Stage) -> Stage:
    """A role that may read what it is granted, as in production."""
    with_live(any_stage)
    any_stage.server.create_role("pusher", SECRET)
    any_stage.server.grant("pg_read_all_data", "pusher")
    return evolve(any_stage, login="pusher")


def pushed(stage: Stage, folder: Path, *excluded: str) -> None:
    """A real dump by the same role."""
    with working(push_engine(stage, *excluded)) as engine:
        engine.dump(folder / "dump")


@OF_EACH_VERSION
def test_reading_everything_is_enough_to_push(reader: Stage, tmp_path: Path) -> None:
    assert on_server(reader, Action.PUSH) == ()
    assert of_push(reader).findings == ()
    pushed(reader, tmp_path)


@OF_EACH_VERSION
@pytest.mark.parametrize(
    ("change", "said", "fix"),
    [
        (
            "REVOKE pg_read_all_data FROM pusher",
            "1 schemas (app); 2 tables (app.added_later, app.people); 1 sequences (app.people_id_seq).",
            "GRANT pg_read_all_data TO pusher",
        ),
        (
            f"{NO_LONGER_ALL} ON ALL SEQUENCES IN SCHEMA app TO pusher; GRANT SELECT ON app.people TO pusher",
            "may not read all of app on 127.0.0.1:{port}: 1 tables (app.added_later).",
            "GRANT pg_read_all_data TO pusher",
        ),
        (
            f"{NO_LONGER_ALL} ON ALL TABLES IN SCHEMA app TO pusher",
            ": 1 sequences (app.people_id_seq).",
            "GRANT pg_read_all_data TO pusher",
        ),
        ("ALTER TABLE app.people ENABLE ROW LEVEL SECURITY", "Row security would hide", "BYPASSRLS"),
        ("SELECT lo_from_bytea(0, 'x')", "may not read 1 large objects of", "GRANT SELECT ON LARGE OBJECT"),
    ],
    ids=["schema", "table", "sequence", "row security", "large object"],
)
def test_what_could_not_be_read_is_named_as_pg_dump_finds_it(
    reader: Stage, tmp_path: Path, change: str, said: str, fix: str
) -> None:
    reader.query(change)
    found = only(of_push(reader).findings)
    assert said.format(port=reader.server.port) in found.what
    assert fix in found.fix
    with pytest.raises(AccessRefused):
        pushed(reader, tmp_path)


@OF_EACH_VERSION
def test_a_table_that_is_excluded_need_not_be_read(reader: Stage, tmp_path: Path) -> None:
    reader.query("ALTER TABLE app.people ENABLE ROW LEVEL SECURITY")
    assert of_push(reader, "app.people", "app.names").findings == ()
    assert of_push(reader, "app.p*", "app.n*").findings == ()
    # As for pg_dump, a name without a schema is one that is on the path.
    findings = of_push(reader, "people").findings
    assert [finding.level for finding in findings] == [Level.PROBLEM, Level.NOTE]
    pushed(reader, tmp_path, "app.people", "app.names")
    with pytest.raises(AccessRefused):
        pushed(reader, tmp_path, "people")


def test_excluded_tables_that_exclude_nothing_are_a_note(stage: Stage) -> None:
    with_live(stage)
    stage.query("CREATE TABLE public.sessions ()")
    stage.query("GRANT SELECT ON public.sessions TO env_sync")
    assert of_push(stage, "sessions", "Sess*", "app.add?d_later").findings == ()
    for pattern in ("session", "app.sessions", '"Sessions"', "elsewhere.*"):
        assert (
            f"excluded_tables has {pattern}, and nothing of app on"
            in only(of_push(stage, pattern).findings, Level.NOTE).what
        )


def test_excluded_tables_that_the_rest_needs_are_a_problem(stage: Stage) -> None:
    with_live(stage)
    found = only(of_push(stage, "app.people").findings)
    assert "view app.names (needs app.people)." in found.what
    assert of_push(stage, "app.people", "app.names").findings == ()
    # A partition of an excluded table need not be read.
    stage.query(
        "CREATE TABLE public.events (id int) PARTITION BY RANGE (id); "
        "CREATE TABLE public.events_1 PARTITION OF events FOR VALUES FROM (1) TO (2)"
    )
    assert of_push(stage, "events").findings == ()
    assert of_push(stage).findings != ()


def test_a_session_that_only_looks_cannot_write(stage: Stage) -> None:
    with_live(stage)
    for statement in ("CREATE TABLE app.t ()", "DELETE FROM app.people", "COMMENT ON DATABASE app IS 'x'"):
        with (
            reading(stage.engine()._server, "app") as session,
            pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
        ):
            session.execute(statement)
