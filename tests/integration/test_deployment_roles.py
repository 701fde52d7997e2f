"""deploy/*.sql on a real server: they make the roles that they say, and no more."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sandbox.postgresql import PostgreSQLServer

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = 'a\'password \\ with "everything" in it'


@pytest.fixture(scope="module")
def server(server_folder: Path) -> Iterator[PostgreSQLServer]:
    with PostgreSQLServer(server_folder / "roles", "pypi16") as running:
        yield running


@pytest.fixture
def new(server: PostgreSQLServer) -> PostgreSQLServer:
    server.clear()
    return server


def run(server: PostgreSQLServer, *files: str) -> None:
    given = {
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
        "PGPASSWORD": server.password,
        "PGDATABASE": "postgres",
        "SYNC_ROLE_PASSWORD": PASSWORD,
        "PATH": os.environ["PATH"],
    }
    for file in files:
        subprocess.run(["psql", "--no-psqlrc", "--quiet", f"--file={ROOT / file}"], env=given, check=True)


def test_the_role_can_do_what_a_pull_needs_and_is_no_superuser(new: PostgreSQLServer) -> None:
    run(new, "deploy/role.sql", "deploy/example/owner.sql")
    rights = new.execute(
        "SELECT rolcanlogin, rolcreatedb, rolsuper, rolcreaterole, rolbypassrls, rolreplication "
        "FROM pg_roles WHERE rolname = 'env_sync'"
    )
    assert rights == [(True, True, False, False, False, False)]
    member_of = new.execute(
        "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = 'env_sync'::regrole ORDER BY 1"
    )
    assert member_of == [("pg_signal_backend",), ("publishing",)]
    assert new.execute("SELECT count(*) FROM pg_auth_members WHERE roleid = 'env_sync'::regrole") == [(0,)]
    new.connect(user="env_sync", password=PASSWORD).close()


def test_the_role_that_only_pushes_reads_and_writes_nothing(new: PostgreSQLServer) -> None:
    run(new, "deploy/role_push_only.sql")
    new.execute("CREATE ROLE application")
    new.create_database("app", "application")
    new.execute(
        "SET ROLE application; CREATE TABLE people (name text); INSERT INTO people VALUES ('x')", None, "app"
    )
    with new.connect("app", "env_sync", PASSWORD) as connection:
        assert connection.execute("SELECT * FROM people").fetchall() == [("x",)]
        for forbidden in ("DELETE FROM people", "CREATE TABLE public.own ()", "CREATE DATABASE other"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden)


def test_a_file_stops_at_its_first_error(new: PostgreSQLServer) -> None:
    run(new, "deploy/role.sql")
    with pytest.raises(subprocess.CalledProcessError):
        run(new, "deploy/role.sql")
