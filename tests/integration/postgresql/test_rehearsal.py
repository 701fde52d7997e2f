"""Transformations are tried on live and run nothing: what they name is looked up, and that is all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import pq

from env_sync.domain.finding import Finding, Level
from env_sync.engines.postgresql.read_only import reading
from env_sync.engines.postgresql.rehearsal import rehearse
from env_sync.engines.postgresql.transformation import read_script
from sandbox.postgresql import PostgreSQLServer
from tests.integration.postgresql.stage import OWNER, REDACT, SECRET, SOURCE, Stage

TRANSFORMATIONS = Path(__file__).resolve().parents[3] / "include" / "transformation_sql"
SCHEMAS = Path(__file__).resolve().parents[3] / "sandbox" / "demo" / "schemas"
PATH = "SET search_path = app;\n"
ROW = "person7@home.example"
HARM = """
CREATE FUNCTION app.harm() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('harm', 'done'); PERFORM nextval('app.people_id_seq'); DELETE FROM app.people; RETURN 1;
END $$;
"""


@pytest.fixture
def live(any_stage: Stage) -> Stage:
    any_stage.server.create_database(any_stage.database, OWNER)
    any_stage.query(f"SET ROLE {OWNER}; {SOURCE} {HARM}")
    return any_stage


@pytest.fixture(scope="module")
def live18(server_folder: Path) -> Iterator[Stage]:
    """One for all tests: nothing is written to it."""
    with PostgreSQLServer(server_folder / "rehearsal", "pypi18") as server:
        server.create_role(OWNER)
        server.create_sync_role(SECRET, member_of=[OWNER])
        stage = Stage(server=server, database="app", folder=server_folder, login="env_sync", password=SECRET)
        server.create_database("app", OWNER)
        stage.query(f"SET ROLE {OWNER}; {SOURCE} {HARM}")
        yield stage


def tried(stage: Stage, *texts: str, database: str = "") -> tuple[Finding, ...]:
    scripts = [read_script(Path(f"redact{n}.sql"), text.encode()) for n, text in enumerate(texts)]
    database = database or stage.database
    with reading(stage.engine()._server, database) as session:
        return rehearse(session, database, scripts)


def problems(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.what for finding in findings if finding.level is Level.PROBLEM]


def notes(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.what for finding in findings if finding.level is Level.NOTE]


@pytest.mark.parametrize(
    "text",
    [
        PATH + REDACT,
        REDACT.replace("people", "app.people"),
        "SET LOCAL search_path TO app, public; " + REDACT,
        "SET SESSION search_path = app; " + REDACT,
        "SET SCHEMA 'app'; " + REDACT,
        PATH
        + "TRUNCATE added_later; TRUNCATE TABLE ONLY people, app . added_later RESTART IDENTITY CASCADE;",
        PATH
        + "INSERT INTO people (name) SELECT note FROM added_later; DELETE FROM people USING added_later;",
        PATH + "LOCK TABLE people, added_later IN EXCLUSIVE MODE; ANALYZE people; SAVEPOINT s; RELEASE s;",
        "SELECT app.count_people(), 'ill'::app.mood, 5::app.percent;",
        'UPDATE "app"."people" SET "name" = $x$;$x$; /* ; */ -- done;',
        "WITH gone AS (DELETE FROM app.people RETURNING id) SELECT count(*) FROM gone;",
        "VALUES (1); TABLE app.people; (SELECT 1) UNION (SELECT 2);",
        "SELECT app.harm(); SELECT setval('app.people_id_seq', 9);",
    ],
)
def test_what_is_there_is_found(live18: Stage, text: str) -> None:
    assert tried(live18, text) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("UPDATE peopel SET name = 'x'", "line 2: live has no table peopel (undefined_table (42P01)"),
        ("UPDATE people SET\n nam = 'x'", "line 3: live has no column nam (undefined_column (42703)"),
        ("UPDATE people p SET name = p.nam", "line 2: live has no column p.nam "),
        ("UPDATE people SET name = redacted(name)", "line 2: live has no function redacted "),
        ("SELECT 'x'::app.feeling", "line 2: live has no type or other object app.feeling "),
        ("UPDATE elsewhere.people SET name = 'x'", "line 2: live has no table elsewhere.people "),
        ("SELECT elsewhere.f()", "line 2: live has no schema elsewhere.f "),
        ("TRUNCATE people,\n  peopel, added_later", "line 3: live has no table peopel "),
        ("TRUNCATE TABLE ONLY elsewhere.people CASCADE", "line 2: live has no table elsewhere.people "),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY busiest", "line 2: live has no table busiest "),
        ("ALTER TABLE ONLY peopel DROP COLUMN name", "line 2: live has no table peopel "),
        ("DROP TABLE added_later, earlier", "line 2: live has no table earlier "),
        ("LOCK peopel", "line 2: live has no table peopel "),
        ("CREATE TEMPORARY TABLE limited AS SELECT i FROM people", "line 2: live has no column i "),
        ("UPDATE people SET id = 'x' || u.id", "line 2: live does not fit: undefined_table (42P01)"),
        ("UPDATE people SET id = true", "line 2: live does not fit: datatype_mismatch (42804)"),
        ("SELECT 'happy'::app.mood", "line 2: live does not fit: "),
        ("INSERT INTO people (name) VALUES (1, 2)", "line 2: syntax_error (42601)"),
        ("UPDATE people SET", "line 2: syntax_error (42601)"),
        ("CREATE TABEL x ()", "line 2: syntax_error (42601)"),
        ("SET search_path people", "line 2: syntax_error (42601)"),
        (") SELECT 1", "line 2: syntax_error (42601)"),
        ("COMMIT", "line 2: COMMIT ends the transaction"),
        ("ROLLBACK AND CHAIN", "line 2: ROLLBACK ends the transaction"),
        ("VACUUM people", "line 2: VACUUM cannot run inside a transaction"),
        ("CREATE INDEX CONCURRENTLY ON people (name)", "line 2: CREATE ... CONCURRENTLY cannot run inside"),
        ("COPY people TO STDOUT", "line 2: COPY to or from the client"),
        ("COPY (SELECT 1) TO stdout", "line 2: COPY to or from the client"),
    ],
)
def test_what_is_not_there_or_cannot_run_is_a_problem_with_its_line(
    live18: Stage, text: str, said: str
) -> None:
    found = tried(live18, PATH + text)
    assert len(problems(found)) == 1, found
    assert problems(found)[0].startswith(f"Transformation redact0.sql, {said}")
    assert found[0].fix


def test_all_of_them_are_told_and_not_the_first_alone(live: Stage) -> None:
    text = PATH + "UPDATE peopel SET name = 'x';\n" + REDACT + "TRUNCATE a, people, b;\nSELECT nothing;\n"
    found = problems(tried(live, text, "SELECT FROM app.c;"))
    assert [what.partition(" (")[0] for what in found] == [
        "Transformation redact0.sql, line 2: live has no table peopel",
        "Transformation redact0.sql, line 4: live has no table a",
        "Transformation redact0.sql, line 4: live has no table b",
        "Transformation redact0.sql, line 5: live has no column nothing",
        "Transformation redact1.sql, line 1: live has no table app.c",
    ]


def test_each_transformation_begins_with_the_ordinary_path(live18: Stage) -> None:
    assert len(problems(tried(live18, PATH + "SELECT FROM people", "SELECT FROM people"))) == 1


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("CREATE TABLE app.made (a int)", "INSERT INTO app.made VALUES (1)"),
        ("CREATE TEMPORARY TABLE made AS SELECT id FROM app.people", "DELETE FROM app.people USING made"),
        ("CREATE TEMP TABLE made ON COMMIT DROP AS TABLE app.people", "SELECT FROM pg_temp.made"),
        ("SELECT id INTO TEMP TABLE made FROM app.people", "SELECT id FROM made"),
        ("WITH a AS (SELECT 1) SELECT * INTO made FROM a", "SELECT FROM made"),
        ("ALTER TABLE app.people ADD COLUMN made text", "UPDATE app.people SET made = name"),
        ("ALTER TABLE app.people ALTER id TYPE text USING id::text", "UPDATE app.people SET id = true"),
        ("CREATE FUNCTION made(text) RETURNS text LANGUAGE sql AS 'SELECT $1'", "SELECT made('x')"),
        ("CREATE SCHEMA made CREATE TABLE t ()", "SELECT FROM made.t"),
        ("CREATE TYPE \"Made\" AS ENUM ('x')", "SELECT 'x'::\"Made\""),
        ("DO $$BEGIN EXECUTE 'CREATE TABLE made ()'; END$$", "SELECT FROM MADE"),
        ("ALTER TABLE app.people RENAME TO made", "UPDATE app.made SET name = 'x'"),
    ],
)
def test_what_an_earlier_statement_makes_is_no_problem(live18: Stage, first: str, then: str) -> None:
    found = tried(live18, f"{first};\n{then};")
    assert problems(found) == []
    assert "the statements on lines 2 could not be tried" in notes(found)[-1]
    # Nor in the next file.
    assert problems(tried(live18, first, then)) == []


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("CREATE TABLE app.made (a int)", "INSERT INTO app.mad VALUES (1)"),
        ("CREATE TEMPORARY TABLE made AS SELECT id FROM app.people", "DELETE FROM app.people USING mad"),
        ("ALTER TABLE app.people ADD COLUMN made text", "UPDATE app.people SET mad = name"),
        ("CREATE SCHEMA made", "SELECT FROM made.t"),
        (
            "WITH a AS (SELECT 1) INSERT INTO app.people (id) SELECT * FROM a",
            "UPDATE app.people SET id = true",
        ),
        ("TRUNCATE app.people", "UPDATE app.people SET id = true"),
        ("SET ROLE app_owner; RESET ROLE", "UPDATE app.role SET id = true"),
    ],
)
def test_what_no_statement_makes_is_a_problem_also_after_one_that_makes_something(
    live18: Stage, first: str, then: str
) -> None:
    assert len(problems(tried(live18, f"{first};\n{then};"))) == 1


def test_a_path_that_is_set_in_another_way_leaves_what_is_not_found_open(live18: Stage) -> None:
    assert (
        problems(tried(live18, "SELECT set_config('search_path', 'app', true); UPDATE people SET name = 'x'"))
        == []
    )


def test_if_exists_is_taken_at_its_word(live18: Stage) -> None:
    text = "DROP TABLE IF EXISTS gone; ALTER TABLE IF EXISTS gone DROP COLUMN x; DROP VIEW IF EXISTS gone;"
    assert problems(tried(live18, text)) == []


def test_a_transformation_without_a_statement_is_a_problem(live18: Stage) -> None:
    file = live18.transformation("-- to be written\n", "unwritten.sql")
    [said] = problems(live18.engine().preflight([file], None).findings)
    assert said.startswith("Transformation unwritten.sql holds no statement")


def test_no_value_of_the_transformation_or_of_a_row_is_told(live18: Stage) -> None:
    found = tried(live18, f"SELECT '{ROW}'::int; UPDATE app.people SET id = '{ROW}' WHERE email = '{ROW}'")
    assert len(problems(found)) == 2
    assert ROW not in str(found)


HARMFUL = (
    "SELECT app.harm();",
    "DELETE FROM app.people; SELECT app.harm() FROM app.people;",
    "TRUNCATE app.people; DROP TABLE app.people; DROP SCHEMA app CASCADE;",
    "DO $$ BEGIN PERFORM app.harm(); END $$;",
    "CALL app.harm();",
    "CREATE TABLE app.copied AS SELECT app.harm();",
    "SET search_path = app; SET search_path = 'x; DELETE FROM app.people';",
    # What this side takes for one statement and the server for two is refused whole.
    "SET search_path = E'x\\'; DELETE FROM app.people; --';",
    "NOTIFY harm; PREPARE p AS SELECT app.harm(); EXECUTE p;",
    "COPY app.people TO PROGRAM 'touch /tmp/env_sync_was_here'; EXPLAIN ANALYZE SELECT app.harm();",
    "DECLARE c CURSOR WITH HOLD FOR SELECT app.harm(); FETCH c; COMMIT; SELECT app.harm();",
)


def test_nothing_is_run(live: Stage) -> None:
    before = state(live)
    for text in HARMFUL:
        tried(live, text, PATH + REDACT)
    assert state(live) == before
    assert not Path("/tmp/env_sync_was_here").exists()


def test_a_statement_that_sets_the_path_can_hold_no_other(live18: Stage) -> None:
    """Were it cut wrongly, the server would refuse it: it is sent as one statement."""
    with reading(live18.engine()._server, "app") as session:
        result = session.single("SET search_path = app; SELECT app.harm()")
        assert b"cannot insert multiple commands" in bytes(result.error_message)
        assert session.execute("SELECT current_schemas(false)") == [([],)]


def state(stage: Stage) -> object:
    """All rows, and the versions of all catalogs' rows: whatever was written would have another one."""
    rows = [
        stage.query(f"SELECT xmin::text, ctid::text, t.* FROM app.{t} t ORDER BY 2")
        for t in ("people", "added_later")
    ]
    catalogs = [
        stage.query(f"SELECT xmin::text, ctid::text FROM pg_catalog.{name} ORDER BY ctid")
        for name in (
            "pg_class",
            "pg_attribute",
            "pg_proc",
            "pg_type",
            "pg_namespace",
            "pg_database",
            "pg_authid",
        )
    ]
    return rows, catalogs, stage.query("SELECT last_value, is_called FROM app.people_id_seq")


def test_no_lock_outlives_a_statement(live18: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live's own migrations must not wait for somebody who only looks."""
    text = PATH + "UPDATE people SET name = 'x'; SELECT FROM added_later; TRUNCATE people; SELECT nothing;"
    held = []
    with reading(live18.engine()._server, "app") as session:
        original = session.parse

        def parse(text: str) -> pq.abc.PGresult:
            held.append(
                session.value(
                    "SELECT count(*) FROM pg_catalog.pg_locks WHERE pid = pg_catalog.pg_backend_pid() "
                    "AND relation >= 16384"
                )
            )
            return original(text)

        monkeypatch.setattr(session, "parse", parse)
        rehearse(session, "app", [read_script(Path("x.sql"), text.encode())])
    assert held == [0] * 5


def test_a_table_that_is_locked_is_left_out_soon(live18: Stage) -> None:
    with live18.live() as other:
        other.execute("BEGIN; LOCK app.people IN ACCESS EXCLUSIVE MODE")
        found = tried(live18, PATH + REDACT + "TRUNCATE nothing;")
    assert len(problems(found)) == 1
    assert "lines 2 could not be tried" in notes(found)[0]


@pytest.mark.parametrize(
    "database", ["signon_production", "email-alert-api_production", "publishing_api_production"]
)
def test_the_shipped_transformations_fit_the_shipped_schemas(stage: Stage, database: str) -> None:
    stage.server.create_database(database, OWNER)
    stage.query(f"SET ROLE {OWNER};" + (SCHEMAS / f"{database}.sql").read_text(), database)
    name = f"sanitise_{database.replace('-', '_')}.sql"
    text = (TRANSFORMATIONS / name).read_text()
    found = tried(stage, text, database=database)
    assert problems(found) == []
    # And a table that is no longer there is missed.
    table = {"signon_production": "users", "email-alert-api_production": "emails"}.get(database, "links")
    stage.query(f'ALTER TABLE "{table}" RENAME TO renamed', database)
    assert f"live has no table {table} " in " ".join(problems(tried(stage, text, database=database)))
