"""A sync's role that is an administrator of the server stops every pull, unless that is accepted."""

from __future__ import annotations

import pytest
from attrs import evolve

from env_sync.core.errors import AccessRefused
from env_sync.domain.finding import Level
from tests.integration.postgresql.stage import OWNER, SECRET, Stage, pull, working

PROBE = pytest.mark.probe("a sync that is a superuser")
POWERS = {
    "superuser": ("ALTER ROLE env_sync SUPERUSER", "SUPERUSER"),
    "creates roles": ("ALTER ROLE env_sync CREATEROLE", "CREATEROLE"),
    "of rds_superuser": ("CREATE ROLE rds_superuser; GRANT rds_superuser TO env_sync", "rds_superuser"),
    # The first superuser creates roles as well.
    "of a superuser": ("CREATE ROLE boss SUPERUSER; GRANT boss TO env_sync", "member of boss"),
    "by a role between": (
        "CREATE ROLE between; GRANT pg_execute_server_program TO between; GRANT between TO env_sync",
        "member of pg_execute_server_program",
    ),
    "reads files": ("GRANT pg_read_server_files TO env_sync", "member of pg_read_server_files"),
    "writes files": ("GRANT pg_write_server_files TO env_sync", "member of pg_write_server_files"),
}


@PROBE
@pytest.mark.parametrize("power", POWERS)
def test_it_stops_a_pull_until_it_is_accepted(stage: Stage, power: str) -> None:
    stage = stage.with_dump()
    stage.server.create_database("app", OWNER)
    grant, by = POWERS[power]
    stage.server.execute(grant)
    with pytest.raises(AccessRefused, match=rf"is an administrator of .*{by}.*accept_superuser"):
        stage.engine().check_startable(undo=False)
    assert stage.dump
    with working(stage.engine()) as engine, pytest.raises(AccessRefused, match=by):
        engine.restore(stage.dump)
    assert "app__incoming" not in stage.server.databases()
    [found] = [one for one in stage.engine().preflight_server() if by in one.what]
    assert found.level is Level.PROBLEM
    accepting = evolve(stage, extra={**stage.extra, "accept_superuser": True})
    [found] = [one for one in accepting.engine().preflight_server() if by in one.what]
    assert found.level is Level.NOTE
    accepting.engine().check_startable(undo=False)
    with working(accepting.engine()) as engine:
        [warning, *_] = engine.restore(stage.dump)
    assert warning.startswith("Role env_sync is an administrator of ")


@PROBE
def test_the_role_that_we_advise_is_none(stage: Stage) -> None:
    assert stage.engine().preflight_server() == ()
    stage = stage.with_dump()
    with working(stage.engine()) as engine:
        assert stage.dump
        assert engine.restore(stage.dump) == ()


@PROBE
def test_no_advice_makes_it_one(stage: Stage) -> None:
    """Live, objects in it and settings of it belong to administrators."""
    stage = stage.with_dump()
    stage.server.create_role("admin", SECRET, create_role=True)
    stage.server.create_database("app", OWNER)
    stage.query(
        "CREATE SCHEMA app AUTHORIZATION app_owner; CREATE TABLE app.people (); "
        "CREATE TABLE app.added_later (); ALTER TABLE app.added_later OWNER TO admin; "
        "ALTER DEFAULT PRIVILEGES FOR ROLE admin GRANT SELECT ON TABLES TO app_owner; "
        "ALTER ROLE admin IN DATABASE app SET work_mem = '8MB'"
    )
    told = [f"{one.what} {one.fix}" for one in stage.engine().preflight([], None).findings]
    told += pull(stage, stage.engine(), stage.transformation()).warnings
    assert [text for text in told if "give what belongs to" in text]
    assert [text for text in told if "GRANT postgres" in text or "GRANT admin" in text] == []
    stage.server.execute("ALTER DATABASE app OWNER TO admin")
    with pytest.raises(AccessRefused, match="give the database to the application's own role"):
        pull(stage, stage.engine(attempt="2"), stage.transformation())


def test_an_administrator_is_no_owner_of_what_comes_down(stage: Stage) -> None:
    stage.server.execute("ALTER ROLE app_owner CREATEROLE")
    with pytest.raises(AccessRefused, match="names app_owner as `owner`, which is an administrator"):
        evolve(stage, extra={"owner": OWNER, "accept_superuser": True}).engine().check_startable(undo=False)
