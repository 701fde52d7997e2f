"""Sessions are those of the connection's role with our settings, whatever a database or role is set to."""

from __future__ import annotations

import pytest
from attrs import evolve

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import AccessRefused, ContentRefused
from env_sync.domain.sync import Action
from env_sync.engines.postgresql import client
from env_sync.engines.postgresql.engine import PostgreSQLEngine
from env_sync.engines.postgresql.session import Server
from tests.integration.postgresql.stage import OWNER, Stage, pull, working

SET = (
    f"ALTER DATABASE app SET role = {OWNER}",
    "ALTER DATABASE app SET search_path = evil",
    "ALTER DATABASE app SET row_security = on",
    "ALTER DATABASE app SET default_transaction_read_only = on",
    "ALTER DATABASE app SET statement_timeout = '1ms'",
    "ALTER DATABASE app SET client_encoding = latin1",
    "ALTER ROLE env_sync SET search_path = evil",
    f"ALTER ROLE env_sync IN DATABASE app SET role = {OWNER}",
)
PROBE = pytest.mark.probe("settings that a transformation, live or a role changes")


# Operators that come before the server's own, and write down who runs them.
EVIL = """
CREATE SCHEMA evil;
CREATE TABLE evil.ran (who text);
CREATE TABLE evil.sessions (id int);
CREATE VIEW evil.seen AS SELECT id FROM evil.sessions;
CREATE FUNCTION evil.same(oid, oid) RETURNS boolean LANGUAGE plpgsql
AS $$ BEGIN INSERT INTO evil.ran VALUES (current_user); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE FUNCTION evil.same("char", "char") RETURNS boolean LANGUAGE plpgsql
AS $$ BEGIN INSERT INTO evil.ran VALUES (current_user); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE FUNCTION evil.same(name, text) RETURNS boolean LANGUAGE plpgsql
AS $$ BEGIN INSERT INTO evil.ran VALUES (current_user); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.same);
CREATE OPERATOR evil.= (LEFTARG = "char", RIGHTARG = "char", FUNCTION = evil.same);
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = text, FUNCTION = evil.same);
GRANT ALL ON SCHEMA evil TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA evil TO PUBLIC;
ALTER DATABASE app SET search_path = evil, pg_catalog;
"""


def began_without(more: str = "", **_: bool) -> str:
    """What a pooler passes on."""
    return more


def server_of(stage: Stage) -> Server:
    return Server(connection=stage.connection(), group="pull_app", cancellation=Cancellation())


def set_otherwise(stage: Stage, *statements: str) -> None:
    """Make live, and have somebody else set it, and the sync's role, to what is theirs."""
    stage.server.create_database("app", OWNER)
    for statement in statements:
        stage.server.execute(statement)


@PROBE
def test_nothing_that_it_is_set_to_counts(stage: Stage) -> None:
    set_otherwise(stage, *SET)
    with server_of(stage).session("app") as session:
        for _ in range(2):
            assert session.execute(
                "SELECT current_user, current_setting('search_path'), current_setting('row_security'), "
                "current_setting('default_transaction_read_only'), current_setting('statement_timeout'), "
                "current_setting('client_encoding')"
            ) == [("env_sync", '""', "off", "off", "0", "UTF8")]
            # Nor where it is all reset.
            session.execute("RESET ROLE")
            session.execute("RESET row_security")
            session.execute("RESET statement_timeout")
            session.execute("RESET client_encoding")


@PROBE
def test_programs_work_as_the_connections_role(stage: Stage) -> None:
    stage = stage.with_dump()
    set_otherwise(stage, *SET)
    with working(stage.engine()) as engine:
        facts = engine.dump(stage.folder / "live.dump")
    assert facts.started <= facts.finished
    pull(stage, stage.engine(), stage.transformation())
    stage.server.execute("ALTER DATABASE app RESET ALL")
    assert stage.query("SELECT count(*) FROM app.people WHERE email LIKE '%@example.com'") == [(500,)]


@PROBE
@pytest.mark.parametrize(
    ("statement", "said"),
    [(SET[0], f"is that of role {OWNER}, not of env_sync"), (SET[-1], f"is that of role {OWNER}")],
)
def test_a_pooler_that_drops_settings_stops_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, statement: str, said: str
) -> None:
    set_otherwise(stage, statement)
    monkeypatch.setattr(client, "startup_options", began_without)
    with pytest.raises(AccessRefused, match=said):
        server_of(stage).open("app")


@PROBE
def test_a_pooler_that_drops_settings_stops_it_where_nothing_is_set(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "startup_options", began_without)
    with pytest.raises(AccessRefused, match=r"does not have our settings: .*a pooler.*in connection env_"):
        server_of(stage).open("postgres")


def push_engine(stage: Stage, *excluded: str) -> PostgreSQLEngine:
    engine = stage.engine(action=Action.PUSH)
    engine.work = evolve(engine.work, sync=evolve(engine.work.sync, excluded_tables=excluded))
    return engine


@PROBE
def test_excluded_tables_are_looked_up_without_its_operators(stage: Stage) -> None:
    set_otherwise(stage)
    stage.query(EVIL)
    with working(push_engine(stage, "ran", "sessions", "seen")) as engine:
        assert engine.dump(stage.folder / "live.dump").warnings == ()
        assert not engine.preflight([], None).findings
    with working(push_engine(stage, "sessions")) as engine:
        with pytest.raises(ContentRefused, match=r"view seen \(needs sessions\)"):
            engine.dump(stage.folder / "live.dump")
        [needed] = engine.preflight([], None).findings
        assert "view seen (needs sessions)" in needed.what
    assert stage.query("SELECT who FROM evil.ran") == []
