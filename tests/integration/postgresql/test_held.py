"""What code of a dump, or an earlier file, would lead statements of a transformation elsewhere."""

from __future__ import annotations

import pytest

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import RestoreFailed, TransformationFailed
from env_sync.domain.changed_rows import ChangedRows
from env_sync.domain.finding import Level
from env_sync.engines.postgresql.materialized_views import refresh_materialized_views
from env_sync.engines.postgresql.metadata import Comment, write_comment
from env_sync.engines.postgresql.sanitise import read_transformations, run_transformations
from env_sync.engines.postgresql.session import Server
from tests.integration.postgresql.stage import SOURCE, VERSIONS, Stage, working
from tests.integration.postgresql.undone import holding, refused, run

PROBE = pytest.mark.probe("a table in the place of another")
OF_EACH_VERSION = pytest.mark.parametrize(
    "any_stage", [(name, False) for name in VERSIONS], indirect=True, ids=VERSIONS
)
SETTING = f"""
{SOURCE} CREATE SCHEMA decoy; CREATE TABLE decoy.people (LIKE app.people);
CREATE FUNCTION app.set() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
PERFORM set_config(current_setting('app.name'), current_setting('app.value'), true); RETURN NEW; END $$;
CREATE TRIGGER sets BEFORE UPDATE ON app.people FOR EACH ROW EXECUTE FUNCTION app.set();
"""


@PROBE
@OF_EACH_VERSION
def test_what_a_trigger_sets_stops_the_transformation(any_stage: Stage) -> None:
    """The next statement would change `decoy.people`, or work as somebody else."""
    stage = holding(any_stage, SETTING)
    for name, value, why in (
        ("search_path", "decoy, app", "line 3: it ran a function or trigger that set search_path"),
        ("role", "app_owner", "line 3: it ran a function or trigger that set role"),
        ("row_security", "on", "line 3: it turned row_security on"),
        ("standard_conforming_strings", "off", "line 3: it turned standard_conforming_strings off"),
        ("client_encoding", "LATIN1", "line 3: it set another client_encoding"),
    ):
        settings = f"SET app.name = '{name}'; SET app.value = '{value}'; SET search_path = app;"
        text = f"{settings}\n\nUPDATE people SET email = 'x' WHERE id = 1;\nUPDATE people SET name = 'x';"
        assert why in refused(stage, text)
    # What the transformation sets itself it may set.
    text = (
        "SET search_path = app; SELECT set_config('search_path', 'app', true); RESET search_path; "
        "SAVEPOINT a; SET search_path = app; ROLLBACK TO SAVEPOINT a; SET SCHEMA 'app'; SET ROLE app_owner; "
        "RESET ROLE; DO $$ BEGIN SET search_path = decoy; END $$; SELECT count(*) FROM people;"
    )
    assert run(stage, text, query="SELECT count(*) FROM app.people") == ([], [(500,)])


@PROBE
@OF_EACH_VERSION
def test_a_temporary_table_stands_in_for_no_other(any_stage: Stage) -> None:
    """Neither in the file that makes it, whatever it has for a path, nor in the next."""
    stage = holding(any_stage, f"CREATE TABLE people AS SELECT 1 AS id, 'a@home' AS email; {SOURCE}")
    make = "CREATE TEMP TABLE people AS SELECT 2 AS id, 'b@home' AS email;"
    change = "UPDATE people SET email = NULL;"
    for path, table in (("", "public.people"), ("SET search_path = app;", "app.people")):
        for texts in ([path + make + change], [make, path + change]):
            assert run(stage, *texts, query=f"SELECT DISTINCT email FROM {table}")[1] == [(None,)]
    # What is made without a schema is not made temporary by that.
    for path in ("RESET search_path;", "SET search_path = '';", "SET search_path = nowhere;"):
        assert "invalid_schema_name" in refused(stage, f"{path} CREATE TABLE made (id int);")
    # Nor are cursors, prepared statements and tables of one file there in the next.
    left = (
        f"{make} CREATE TEMP TABLE mine (id int); DECLARE mine CURSOR FOR SELECT 1; PREPARE mine AS SELECT 1;"
    )
    for use in ("SELECT * FROM mine", "FETCH mine", "EXECUTE mine"):
        assert run(stage, f"{left} {use};")[0] == []
        assert "file1.sql, line 1" in refused(stage, left, use)
    # One that is empty, and has the name of another, hides nothing that was not changed.
    [warning], _ = run(stage, f"{make} DELETE FROM people WHERE id = 2;")
    assert warning.startswith("file0.sql:1 DELETE people changed no row")


@pytest.mark.probe("code of a dump that reaches out of the copy")
@OF_EACH_VERSION
@pytest.mark.parametrize(
    ("does", "what"),
    [
        ("ALTER DATABASE another CONNECTION LIMIT 0", "a database"),
        ("ALTER DATABASE another SET role = stranger", "a setting of a database or role"),
        ("ALTER ROLE env_sync PASSWORD 'known'", "a role"),
        ("COMMENT ON DATABASE another IS 'x'", "a comment on a database or role"),
        ("CREATE DATABASE more", ""),
    ],
)
def test_code_that_changes_what_is_outside_of_the_copy_is_stopped_and_undone(
    any_stage: Stage, does: str, what: str
) -> None:
    """A trigger of the dump runs as the sync's role while a transformation runs."""
    any_stage.server.create_database("another", any_stage.login)
    source = f"""
    {SOURCE} CREATE FUNCTION app.reach() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    EXECUTE '{does.replace("'", "''")}'; RETURN NEW; END $$;
    CREATE TRIGGER reach BEFORE UPDATE ON app.people FOR EACH ROW EXECUTE FUNCTION app.reach();
    """
    stage = holding(any_stage, source)
    change = "\nUPDATE app.people SET email = 'x' WHERE id = 1;"
    said = refused(stage, change)
    assert (f"line 2: it ran code that changed {what} of the server" if what else "active_sql") in said
    # What a trigger puts off to the end of the transaction is done before the proof as well.
    late = f"""
    SET ROLE {stage.login}; DROP TRIGGER reach ON app.people; CREATE CONSTRAINT TRIGGER late AFTER UPDATE
    ON app.people DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.reach();
    """
    stage.query(late, stage.incoming)
    said = refused(stage, change)
    assert "The transaction of the transformations" in said
    assert (f"ran code that changed {what} of" if what else "active_sql") in said
    limit = "SELECT datconnlimit, datname FROM pg_database WHERE datname IN ('another', 'more')"
    assert any_stage.query(limit, "postgres") == [(-1, "another")]
    # Nor has the role another password.
    any_stage.server.connect("postgres", any_stage.login, any_stage.password).close()


@pytest.mark.probe("code of a dump that reaches out of the copy")
@OF_EACH_VERSION
def test_nothing_is_sanitised_where_the_server_does_not_count(any_stage: Stage) -> None:
    """All that is seen of what triggers do is seen by its counters."""
    stage = any_stage.with_dump()
    stage.server.execute(f"ALTER ROLE {stage.login} SET track_counts = off")
    file = stage.transformation()
    assert stage.dump
    with (
        working(stage.engine(transformation=file)) as engine,
        pytest.raises(RestoreFailed, match=r"track_counts is off.*nothing was restored"),
    ):
        engine.restore(stage.dump)
    assert stage.incoming not in stage.server.databases()
    [found] = [one for one in stage.engine().preflight([file], None).findings if "track_counts" in one.what]
    assert found.level is Level.PROBLEM
    # What sanitises nothing needs no counters; nor is it believed that they are as they were then.
    with working(stage.engine()) as engine:
        engine.restore(stage.dump)
        with pytest.raises(TransformationFailed, match=r"track_counts is off.*nothing of them was run"):
            engine.sanitise([file])


@pytest.mark.probe("code of a dump that reaches out of the copy")
@OF_EACH_VERSION
def test_of_comments_on_databases_only_the_stamp_is_written(any_stage: Stage) -> None:
    """Those of others are their stamps, and say whether they were live; code of views runs with the proof."""
    any_stage.server.create_database("another", any_stage.login)
    stage = holding(
        any_stage,
        f"""{SOURCE} CREATE FUNCTION app.reach() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('app.reach', true) = 'on' THEN COMMENT ON DATABASE another IS 'x'; END IF;
        RETURN 1; END $$;
        CREATE MATERIALIZED VIEW app.ones AS SELECT app.reach() AS one;""",
    )
    at = Server(connection=stage.connection(), group="test", cancellation=Cancellation())
    read = read_transformations([stage.transformation()])

    def sanitise(*, reach: str) -> None:
        def finish() -> None:
            inside.execute(f"SET app.reach = {reach}")
            refresh_materialized_views(inside)
            write_comment(inside, stage.incoming, Comment(person="ours", stamp=None))

        with at.session(stage.incoming) as inside:
            run_transformations(inside, read, finish, ChangedRows(), comments=1)

    with pytest.raises(TransformationFailed, match="changed a comment on a database or role"):
        sanitise(reach="on")
    comments = "SELECT count(*) FROM pg_shdescription WHERE objoid IN (SELECT oid FROM pg_database WHERE "
    assert stage.query(f"{comments} datname IN ('another', '{stage.incoming}'))", "postgres") == [(0,)]
    sanitise(reach="off")
    assert stage.comment(stage.incoming).person == "ours"
