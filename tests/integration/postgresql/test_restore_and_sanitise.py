from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from attrs import evolve

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import (
    Cancelled,
    NameRefused,
    PromoteFailed,
    ProofMissing,
    RestoreFailed,
    TransformationFailed,
)
from env_sync.engines.base.contract import CopyState, Stamp
from env_sync.engines.postgresql.metadata import write_stamp
from env_sync.engines.postgresql.session import Session
from sandbox.postgresql import PostgreSQLServer
from sandbox.process import wait_for
from tests.integration.postgresql.stage import (
    DATA_TIME,
    OWNER,
    REDACT,
    SECRET,
    SOURCE,
    STRANGER,
    Stage,
    pull,
    said,
    set_up,
    working,
)


@pytest.fixture
def restored(stage: Stage) -> Stage:
    stage = stage.with_dump()
    assert stage.dump
    with working(stage.engine()) as engine:
        engine.restore(stage.dump)
    return stage


# Restore


def test_incoming_says_what_it_is(restored: Stage) -> None:
    stamp = restored.engine().incoming_stamp()
    assert stamp
    assert restored.dump
    assert stamp.state is CopyState.RAW
    assert stamp.holder == restored.engine().work.holder
    assert (stamp.environment, stamp.source_environment, stamp.born_in) == (
        "integration",
        "staging",
        "production",
    )
    assert (stamp.dump_key, stamp.dump_sha256) == (restored.dump.key, restored.dump.sha256)
    assert stamp.data_time == DATA_TIME
    assert restored.engine().live_stamp() is None


@pytest.mark.probe("reading the copies during a sync")
def test_nobody_else_can_connect_to_incoming_at_any_moment(any_stage: Stage) -> None:
    stage = any_stage.with_dump()
    stage.server.create_database("app", OWNER)
    server, let_in, tries, stop = stage.server, list[str](), list[str](), threading.Event()

    def stranger(role: str) -> None:
        while not stop.is_set():
            try:
                server.connect("app__incoming", role, SECRET).close()
            except psycopg.OperationalError as refused:
                tries.append(str(refused))
            else:
                let_in.append(role)

    strangers = [threading.Thread(target=stranger, args=(role,)) for role in (STRANGER, OWNER)]
    for one in strangers:
        one.start()
    try:
        with working(stage.engine()) as engine:
            assert stage.dump
            engine.restore(stage.dump)
            file = stage.transformation()
            engine.sanitise([file])
            # Right until it is live.
            engine.promote(said(file), lambda: let_in.append("checked"))
    finally:
        stop.set()
        for one in strangers:
            one.join()
    assert let_in == ["checked", "checked"]
    assert any("permission denied" in one for one in tries)


@pytest.mark.probe("a right that reaches the copies")
def test_a_role_that_could_connect_stops_the_restore(stage: Stage) -> None:
    stage = stage.with_dump()
    assert stage.dump
    stage.server.grant("env_sync", "stranger")
    with (
        working(stage.engine()) as engine,
        pytest.raises(RestoreFailed, match=r"stranger \(it is a member of env_sync\).*REVOKE env_sync FROM"),
    ):
        engine.restore(stage.dump)
    assert stage.server.databases() == {"env_sync"}


@pytest.mark.probe("a right that reaches the copies", "a right that is given during a pull")
def test_a_member_that_could_only_become_the_role_stops_each_step(any_stage: Stage) -> None:
    stage = any_stage.with_dump()
    server, ours = stage.server, stage.login
    assert stage.dump
    # Before 16 it is the role, since then the membership, that says whether it inherits.
    server.execute(f"ALTER ROLE {STRANGER} NOINHERIT")
    become = f"GRANT {ours} TO {STRANGER}"
    refused = rf"stranger \(it is a member of {ours}\)"
    with working(stage.engine()) as engine:
        server.execute(become)
        with pytest.raises(RestoreFailed, match=refused):
            engine.restore(stage.dump)
        server.execute(f"REVOKE {ours} FROM {STRANGER}")
        engine.restore(stage.dump)
        engine.sanitise([stage.transformation()])
        server.execute(become)
        with pytest.raises(PromoteFailed, match=refused):
            engine.promote(said(stage.transformation()), lambda: None)


def test_a_leftover_is_replaced_with_the_sessions_in_it(restored: Stage) -> None:
    assert restored.dump
    with restored.live("app__incoming") as connection:
        connection.execute("CREATE TABLE leftover ()")
    stray = restored.server.connect("app__incoming", "env_sync", SECRET)
    with working(restored.engine(attempt="2")) as engine:
        engine.restore(restored.dump)
    with pytest.raises(psycopg.OperationalError):
        stray.execute("SELECT 1")
    assert restored.query("SELECT to_regclass('leftover')", "app__incoming") == [(None,)]


def test_a_failing_restore_leaves_no_incoming(stage: Stage) -> None:
    stage = stage.with_dump()
    assert stage.dump
    stage.server.create_database("app", OWNER)
    content = stage.dump.file.read_bytes()
    broken = stage.folder / "broken.dump"
    broken.write_bytes(content[: len(content) // 2])
    with working(stage.engine()) as engine, pytest.raises(Exception, match=r"broken\.dump|could not be"):
        engine.restore(evolve(stage.dump, file=broken))
    assert stage.server.databases() == {"app", "env_sync"}


def test_incoming_is_made_like_live(any_stage: Stage) -> None:
    stage = any_stage.with_dump("SELECT 1")
    assert stage.dump
    stage.server.execute(
        "CREATE DATABASE app TEMPLATE template0 OWNER app_owner ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    with working(stage.engine()) as engine:
        engine.restore(stage.dump)
    columns = "SELECT encoding, datcollate, datctype, datlocprovider, dattablespace FROM pg_database"
    assert stage.server.execute(f"{columns} WHERE datname = 'app__incoming'") == stage.server.execute(
        f"{columns} WHERE datname = 'app'"
    )


def test_an_icu_live_makes_an_icu_incoming(any_stage: Stage) -> None:
    stage = any_stage.with_dump("SELECT 1")
    assert stage.dump
    try:
        stage.server.execute(
            "CREATE DATABASE app TEMPLATE template0 OWNER app_owner LOCALE_PROVIDER icu ICU_LOCALE 'en-GB'"
        )
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this server was built without ICU")
    with working(stage.engine()) as engine:
        engine.restore(stage.dump)
    column = "datlocale" if stage.server.version >= 17 else "daticulocale"
    assert stage.server.execute(
        f"SELECT datlocprovider::text, {column} FROM pg_database WHERE datname = 'app__incoming'"
    ) == [("i", "en-GB")]


@pytest.mark.parametrize(
    "name",
    [
        "my-app_production",
        "MyApp",
        "a.b.c",
        'say "hi"',
        "it's",
        "two words",
        "emoji 🗄 né",
        "host=elsewhere dbname=x",
        "postgresql://else",
        "back\\slash %s %(x)s {0}",
        "x" * 53,
        "é" * 26,
    ],
)
@pytest.mark.probe("names with quotes, percent signs and line breaks")
def test_any_name_that_fits_works(named_stage: Callable[[str], Stage], name: str) -> None:
    stage = named_stage(name).with_dump()
    assert pull(stage, stage.engine(attempt="1"), stage.transformation()).first
    assert pull(stage, stage.engine(attempt="2"), stage.transformation()).previous_kept
    assert stage.server.databases() == {name, f"{name}__previous", "env_sync"}
    assert stage.query("SELECT count(*) FROM app.people WHERE email ~ '^user-'") == [(500,)]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 54, "54 bytes long"),
        ("é" * 27, "54 bytes long"),
        ("app__incoming", "name of a copy"),
        ("app__previous", "name of a copy"),
        ("postgres", "never replaced"),
        ("template1", "never replaced"),
        ("env_sync", "never replaced"),
        ("new\nline", "can be printed"),
    ],
)
@pytest.mark.probe("names with quotes, percent signs and line breaks")
def test_other_names_are_refused(named_stage: Callable[[str], Stage], name: str, reason: str) -> None:
    stage = named_stage("app").with_dump()
    stage = evolve(stage, database=name)
    assert stage.dump
    with working(stage.engine()) as engine:
        with pytest.raises(NameRefused, match=reason):
            engine.restore(stage.dump)
        assert not engine.clean_up().incoming_dropped


# Sanitise


def test_the_proof_names_what_ran(restored: Stage) -> None:
    files = [restored.transformation(), restored.transformation("\ufeffSELECT 1;", "b.sql")]
    with working(restored.engine()) as engine:
        stamp = engine.sanitise(files)
        assert engine.incoming_stamp() == stamp
    assert stamp.state is CopyState.SANITISED
    assert stamp.transformations == said(*files)


def test_no_transformation_is_a_proof_of_none(restored: Stage) -> None:
    with working(restored.engine()) as engine:
        assert engine.sanitise([]).transformations == ()
        assert engine.promote((), lambda: None).first


def test_search_path_is_as_the_transformations_expect(stage: Stage) -> None:
    stage = stage.with_dump("CREATE TABLE people (id int, email text, name text)")
    assert stage.dump
    with working(stage.engine()) as engine:
        engine.restore(stage.dump)
        # Each file begins with its own, whatever the one before it set.
        engine.sanitise(
            [
                stage.transformation("SET search_path = pg_catalog; SET ROLE pg_signal_backend", "a.sql"),
                stage.transformation(
                    "INSERT INTO people VALUES (1, current_setting('search_path'), current_user);" + REDACT,
                    "b.sql",
                ),
            ]
        )
    assert stage.query("SELECT count(*) FROM public.people", "app__incoming") == [(1,)]


@pytest.mark.parametrize("text", ["", "\ufeff\n", "-- UPDATE people SET email = NULL;\n", "/* ; */ ;\n;"])
def test_a_transformation_without_a_statement_sanitises_nothing(restored: Stage, text: str) -> None:
    files = [restored.transformation(), restored.transformation(text, "empty.sql")]
    with working(restored.engine()) as engine:
        with pytest.raises(TransformationFailed, match=r"empty\.sql holds no statement"):
            engine.sanitise(files)
        assert engine.incoming_stamp() is None
    assert "app__incoming" not in restored.server.databases()


def test_a_transformation_may_end_as_another_role(restored: Stage) -> None:
    ends = restored.transformation("RESET ROLE; SET ROLE app_owner;", "ends.sql")
    with working(restored.engine()) as engine:
        assert engine.sanitise([restored.transformation(), ends]).state is CopyState.SANITISED


RICH = """-- A comment; with a semicolon
SET search_path = app;
DO $body$
BEGIN
    UPDATE people SET name = 'x; y' WHERE id = 1;  /* nested /* ; */ \\i not a command */
END
$body$;
CREATE FUNCTION f(text) RETURNS text LANGUAGE sql BEGIN ATOMIC
    SELECT CASE WHEN $1 = 'a;b' THEN 'c' ELSE E'd\\';' END;
END;
UPDATE people SET name = f('100 % of %s') WHERE id = 2;
SAVEPOINT one; UPDATE people SET name = 'gone' WHERE id = 3; ROLLBACK TO SAVEPOINT one;
CREATE TEMPORARY TABLE t AS SELECT 1;
"""


def test_a_transformation_may_be_any_sql(restored: Stage) -> None:
    with working(restored.engine()) as engine:
        engine.sanitise([restored.transformation(RICH)])
    assert restored.query("SELECT name FROM app.people WHERE id < 4 ORDER BY id", "app__incoming") == [
        ("x; y",),
        ("d';",),
        ("Person 3",),
    ]


OK = "UPDATE app.people SET name = 'done' WHERE id = 1;\n"
AT_COMMIT = """
ALTER TABLE app.people ADD UNIQUE (name) DEFERRABLE INITIALLY DEFERRED;
UPDATE app.people SET name = 'a';
"""
LET_IN = "DO $$ BEGIN EXECUTE 'GRA' || 'NT CONNECT ON DATABASE app__incoming TO {}'; END $$"
FAILING = [
    pytest.param(
        ["SELECT 1;\nSELECT nothing FROM app.people;", OK], r"t0\.sql, line 2: .*column", id="first"
    ),
    pytest.param(
        [OK, "SELECT 1;\n\n-- why\nUPDATE app.people SET id = 1;\nSELECT 2;", OK],
        r"t1\.sql, line 4: .*unique",
        id="middle, found out at run time",
    ),
    pytest.param([OK, "SELECT 1/0"], r"t1\.sql, line 1: division_by_zero", id="last, without a semicolon"),
    pytest.param([OK + "COMMIT;"], "ended the transaction", id="commit"),
    pytest.param([OK + "ROLLBACK;"], "ended the transaction", id="rollback"),
    pytest.param([OK + "COMMIT; BEGIN;"], "ended the transaction", id="commit and begin"),
    pytest.param(
        [AT_COMMIT],
        "transaction of the transformations failed: unique_violation",
        id="at commit",
    ),
    pytest.param(["SELECT 1;\n\\i other.sql"], "line 2: commands of psql", id="psql"),
    pytest.param([OK, "COPY app.people FROM stdin;\n1\ta\n\\."], "line 1: COPY", id="copy from stdin"),
    pytest.param(["TABLE app.names;\nCOPY app.people TO stdout"], "line 2: COPY", id="copy to stdout"),
    pytest.param(
        [LET_IN.format("stranger")],
        "line 1: it ran code that changed a database of the server",
        id="lets others in",
    ),
    pytest.param(
        [LET_IN.format("PUBLIC")],
        "line 1: it ran code that changed a database of the server",
        id="lets everybody in",
    ),
    pytest.param(
        [OK, "GRANT CONNECT ON DATABASE app__incoming TO stranger"],
        "t1.sql, line 1: GRANT CONNECT ON .* reaches out",
        id="says that it lets others in",
    ),
    pytest.param(["ALTER DATABASE app SET role = stranger"], "ALTER DATABASE APP", id="alters live"),
    pytest.param(
        ["SELECT set_config('row_security', 'on', false)"], "turned row_security on", id="row security"
    ),
    pytest.param(
        ["SELECT 1;\nSET standard_conforming_strings = off;"],
        "line 2: it turned standard_conforming_strings off",
        id="literals that end elsewhere",
    ),
    pytest.param(["SET client_encoding = 'LATIN1'"], "another client_encoding", id="another encoding"),
    pytest.param(
        [OK, "RESET ALL;\nUPDATE app.people SET name = 'x' WHERE id = 2;", "SET ROLE app_owner; SELECT 1/0"],
        r"t2\.sql, line 1: division_by_zero",
        id="last, after one that resets all",
    ),
    pytest.param(["VACUUM app.people"], "line 1: active_sql_transaction", id="not in a transaction"),
]


@pytest.mark.parametrize(("texts", "message"), FAILING)
def test_a_failing_transformation_drops_incoming_and_says_where(
    restored: Stage, texts: list[str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    restored.server.create_database("app", OWNER)
    files = [restored.transformation(text, f"t{number}.sql") for number, text in enumerate(texts)]
    with working(restored.engine()) as engine:
        with pytest.raises(TransformationFailed, match=message) as failed:
            engine.sanitise(files)
        assert restored.server.databases() == {"app", "env_sync"}
        with pytest.raises(ProofMissing):
            engine.promote(said(*files), lambda: None)
    assert "@home.example" not in f"{failed.value}{caplog.text}"


@pytest.mark.probe("personal values in errors")
def test_no_value_of_a_row_is_told(restored: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    text = "UPDATE app.people SET email = 'person7@home.example' WHERE id IN (7, 8);"
    with working(restored.engine()) as engine, pytest.raises(TransformationFailed, match="unique") as failed:
        engine.sanitise([restored.transformation(text)])
    told = f"{failed.value!r} {failed.value.__cause__!r} {caplog.text}"
    assert "people_email_key" in told
    assert "person7" not in told


@pytest.mark.probe("personal values in errors")
@pytest.mark.parametrize(
    "statements",
    [
        "ALTER TABLE app.people ADD CONSTRAINT %1$I CHECK (id > 7)",
        "CREATE TABLE app.%1$I (a int CONSTRAINT %1$I CHECK (a > 1)); INSERT INTO app.%1$I VALUES (0)",
        "CREATE SCHEMA %1$I; CREATE TABLE %1$I.a (id int PRIMARY KEY); INSERT INTO %1$I.a VALUES (1), (1)",
        "SELECT %1$I()",
        "CREATE ROLE %1$I; CREATE ROLE %1$I",
        "SELECT %1$I FROM app.people",
    ],
)
@pytest.mark.parametrize("value", ["email", "'p' || translate(email, '0123456789@.', 'abcdefghij')"])
def test_no_value_that_stands_as_a_name_is_told(
    restored: Stage, caplog: pytest.LogCaptureFixture, statements: str, value: str
) -> None:
    """Neither at once nor by a later statement, to which the name is that of an object like any other."""
    caplog.set_level(logging.DEBUG)
    made = f"SELECT {value} INTO r FROM app.people WHERE id = 7; EXECUTE format('{statements}', r);"
    later = "ALTER TABLE app.people ADD CONSTRAINT %1$I CHECK (id < 1000)"
    first = f"SELECT {value} INTO r FROM app.people WHERE id = 7; EXECUTE format('{later}', r);"
    violated = "UPDATE app.people SET id = 5000 WHERE id = 7;"
    for text in (
        f"DO $$ DECLARE r text; BEGIN {made} END $$;",
        f"DO $$ DECLARE r text; BEGIN {first} END $$;\n{violated}",
    ):
        with working(restored.engine()) as engine:
            assert restored.dump
            engine.restore(restored.dump)
            with pytest.raises(TransformationFailed) as failed:
                engine.sanitise([restored.transformation(text)])
        told = f"{failed.value!r} {caplog.text}"
        assert "person7" not in told
        assert "personh" not in told


@pytest.mark.probe("settings that a transformation, live or a role changes")
@pytest.mark.parametrize(
    "before", ["", "RESET ALL; SET search_path = app;", "SET SESSION AUTHORIZATION DEFAULT;"]
)
def test_rows_that_a_policy_would_hide_stop_it(stage: Stage, before: str) -> None:
    stage = stage.with_dump(
        SOURCE
        + "ALTER TABLE app.people ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; "
        + "CREATE POLICY few ON app.people USING (id < 10);"
    )
    assert stage.dump
    with working(stage.engine()) as engine:
        engine.restore(stage.dump)
        with pytest.raises(TransformationFailed, match=r"line \d: insufficient_privilege"):
            engine.sanitise([stage.transformation("SET search_path = app;\n" + before + REDACT)])


@pytest.mark.probe("settings that a transformation, live or a role changes")
def test_the_next_file_inherits_no_setting(restored: Stage) -> None:
    # What looks after each statement at what code of the dump did has the time that the file sets.
    first = restored.transformation(
        "SET statement_timeout = '1min'; SET lock_timeout = '1ms'; "
        "SET search_path = app; SET datestyle = german; SET ROLE app_owner;",
        "first.sql",
    )
    second = restored.transformation(
        "CREATE TABLE public.seen AS SELECT current_user::text AS who, "
        "current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock, "
        "current_setting('search_path') AS path, current_setting('datestyle') AS style, "
        "current_setting('row_security') AS rows, current_setting('client_encoding') AS encoding, "
        "current_setting('standard_conforming_strings') AS strings",
        "second.sql",
    )
    with working(restored.engine()) as engine:
        engine.sanitise([first, second])
    assert restored.query("SELECT * FROM public.seen", "app__incoming") == [
        (restored.login, "0", "0", "public, pg_temp", "ISO, MDY", "off", "UTF8", "on")
    ]


@pytest.mark.parametrize("state", ["sanitised", "another attempt's", "none"])
def test_only_a_raw_copy_of_this_attempt_is_sanitised(restored: Stage, state: str) -> None:
    attempt = "1"
    if state == "sanitised":
        with working(restored.engine()) as engine:
            engine.sanitise([])
    elif state == "none":
        restored.server.drop_database("app__incoming")
    else:
        attempt = "2"
    with working(restored.engine(attempt=attempt)) as engine, pytest.raises(ProofMissing):
        engine.sanitise([])
    assert ("app__incoming" in restored.server.databases()) == (state != "none")


def test_a_cancel_stops_a_statement_and_drops_incoming(restored: Stage) -> None:
    cancellation = Cancellation()
    file = restored.transformation("SELECT pg_sleep(600)")

    def cancel_when_it_sleeps() -> None:
        wait_for(
            lambda: restored.server.execute(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = 'app__incoming'"
            ),
            "the transformation to run",
        )
        cancellation.cancel()

    canceller = threading.Thread(target=cancel_when_it_sleeps)
    canceller.start()
    with pytest.raises(Cancelled), working(restored.engine(cancellation=cancellation)) as engine:
        engine.sanitise([file])
    canceller.join()
    assert restored.server.databases() == {"env_sync"}


def test_a_cancel_that_finds_nothing_running_is_sent_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancellation = Cancellation()
    execute: Any = psycopg.Connection.execute

    def late(connection: object, *arguments: object) -> object:
        if "pg_sleep" in str(arguments[0]):
            cancellation.cancel()
            threading.Event().wait(0.3)
        return execute(connection, *arguments)

    monkeypatch.setattr(psycopg.Connection, "execute", late)
    session = stage.engine(cancellation=cancellation)._server.open("postgres")
    with contextlib.closing(session), pytest.raises(Cancelled):
        session.execute("SELECT pg_sleep(600)")


# Clean-up


def test_clean_up_drops_what_is_its_own_and_nothing_of_others(restored: Stage) -> None:
    restored.server.execute("DELETE FROM lease", None, "env_sync")
    with working(restored.engine(run="another", group="other")) as engine:
        done = engine.clean_up()
        assert not done.incoming_dropped
        assert "belongs to env_sync_integration/tonight pull_app and was left alone" in done.notes[0]
    restored.server.execute("DELETE FROM lease", None, "env_sync")
    with working(restored.engine(attempt="7")) as engine:
        assert engine.clean_up().incoming_dropped
        assert not engine.clean_up().incoming_dropped
    assert restored.server.databases() == {"env_sync"}


def test_clean_up_ends_what_an_earlier_process_runs(stage: Stage) -> None:
    stage.server.create_database("app", OWNER)
    name = stage.engine()._server.application_name
    stray = psycopg.connect(
        stage.server.uri("app", "env_sync", SECRET), application_name=name, autocommit=True
    )
    with stage.live() as client, working(stage.engine()) as engine:
        done = engine.clean_up()
        assert client.execute("SELECT 1").fetchone() == (1,)
    assert f"ended server process {stray.info.backend_pid} of an earlier step in app" in done.notes
    with pytest.raises(psycopg.OperationalError):
        stray.execute("SELECT 1")


def test_two_thousand_tables_take_few_round_trips(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    server = stage.server
    server.create_database("app__incoming", "env_sync")
    one = "EXECUTE format('CREATE TABLE t%s (id serial)', n)"
    make = f"DO $$ BEGIN FOR n IN 1..2000 LOOP {one}; END LOOP; END $$"
    with server.connect("app__incoming", "env_sync", SECRET) as connection:
        connection.execute(make.encode())
    server.execute("REVOKE ALL ON DATABASE app__incoming FROM PUBLIC")
    server.execute("CREATE DATABASE app TEMPLATE app__incoming OWNER app_owner")
    stage.query(
        "DO $$ DECLARE t text; BEGIN FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
        "LOOP "
        "EXECUTE format('ALTER TABLE %s OWNER TO app_owner; GRANT SELECT ON %s TO \"app reader\"', t, t); "
        "END LOOP; END $$"
    )
    prove_by_hand(stage)
    statements = 0
    execute: Any = Session.execute

    def counted(session: Session, *arguments: object) -> object:
        nonlocal statements
        statements += 1
        return execute(session, *arguments)

    with working(stage.engine()) as engine:
        monkeypatch.setattr(Session, "execute", counted)
        engine.promote((), lambda: None)
    assert statements < 70
    assert stage.query(
        "SELECT count(*) FROM pg_class WHERE relowner = 'app_owner'::regrole AND relkind = 'r' "
        "AND has_table_privilege('app reader', oid, 'SELECT')"
    ) == [(2000,)]


def prove_by_hand(stage: Stage) -> None:
    """A proof by hand, for an incoming that was."""
    stamp = Stamp(
        state=CopyState.SANITISED,
        holder=stage.engine().work.holder,
        sync="pull_app",
        environment="integration",
        source_environment="staging",
        dump_key="key",
        dump_sha256="0" * 64,
        data_time=DATA_TIME,
        born_in="production",
        parents=(),
        transformations=(),
        changed=dt.datetime.now(dt.UTC),
    )
    with stage.engine()._server.session("postgres") as session:
        write_stamp(session, "app__incoming", stamp)


def test_a_dump_of_a_newer_server_is_refused(
    postgresql15: PostgreSQLServer, stage: Stage, tmp_path: Path
) -> None:
    newer = stage.with_dump()
    older = set_up(postgresql15, tmp_path, superuser=False)
    older = evolve(older, dump=newer.dump)
    older.server.create_database("app", OWNER)
    assert older.dump
    try:
        with (
            working(older.engine()) as engine,
            pytest.raises(RestoreFailed, match="is PostgreSQL 15"),
        ):
            engine.restore(older.dump)
        assert older.server.databases() == {"app", "env_sync"}
    finally:
        older.server.clear()
