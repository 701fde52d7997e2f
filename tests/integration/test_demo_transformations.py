"""The shipped transformations, and the search, on the demo's databases; no Airflow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from env_sync.engines.postgresql.transformation import SEARCH_PATH
from sandbox.demo.databases import DATABASES, make_database, make_roles
from sandbox.demo.invented import Kind
from sandbox.demo.search import search_server
from sandbox.demo.seed import rows_of_production
from sandbox.postgresql import SYNC_ROLE, PostgreSQLServer

TRANSFORMATIONS = Path(__file__).resolve().parents[2] / "include" / "transformation_sql"


@pytest.fixture(scope="module")
def server(postgresql16: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    """A server with the demo's production databases."""
    postgresql16.clear()
    # As a pull has it: no statistics of raw rows are gathered, which an emptied table would keep.
    autovacuum(postgresql16, "SET autovacuum = off")
    rows, _ = rows_of_production()
    make_roles(postgresql16, {SYNC_ROLE: "sync", "client": "client"})
    for database in DATABASES:
        make_database(postgresql16, database, rows[database.name])
    yield postgresql16
    postgresql16.clear()
    autovacuum(postgresql16, "RESET autovacuum")


def autovacuum(server: PostgreSQLServer, what: str) -> None:
    server.execute(f"ALTER SYSTEM {what}")
    server.execute("SELECT pg_reload_conf()")


def transform(server: PostgreSQLServer, database: str) -> None:
    """As a pull does: one transaction, as a role that is no superuser."""
    with contextlib.closing(server.connect(database, autocommit=False)) as connection:
        connection.execute(f"SET ROLE env_sync; {SEARCH_PATH}".encode())
        connection.execute((TRANSFORMATIONS / f"sanitise_{database.replace('-', '_')}.sql").read_bytes())
        connection.commit()


def one(server: PostgreSQLServer, database: str, statement: str) -> int:
    ((number,),) = server.execute(statement, database=database)
    return int(number)


def test_everything_is_found_before_and_nothing_after(server: PostgreSQLServer) -> None:
    _, invented = rows_of_production()
    assert search_server("production", server, invented.marks).marks == set(invented.marks)

    publishing = "publishing_api_production"
    limited = one(server, publishing, "SELECT count(*) FROM access_limits")
    editions = one(server, publishing, "SELECT count(*) FROM editions")
    subscriptions = one(server, "email-alert-api_production", "SELECT count(*) FROM subscriptions")
    for database in DATABASES[1:]:
        transform(server, database.name)
        server.execute("VACUUM ANALYZE", database=database.name)
    found = search_server("sanitised", server, invented.marks)
    assert {place: found.count(invented.marks) for place, marks in found.places.items() if marks} == {}

    # What is not personal is all there.
    assert one(server, publishing, "SELECT count(*) FROM editions") == editions - limited
    orphans = (
        "SELECT count(*) FROM documents d LEFT JOIN editions e ON e.document_id = d.id WHERE e.id IS NULL"
    )
    assert one(server, publishing, orphans) == 0
    assert one(server, "signon_production", "SELECT count(DISTINCT email) FROM users") == 4000
    assert one(server, "email-alert-api_production", "SELECT count(*) FROM subscriptions") == subscriptions


def test_a_value_is_found_in_every_corner_of_a_server(server: PostgreSQLServer) -> None:
    marks = {b"babad-babad": Kind.NAME}
    corners = {
        "a closed database": ("CREATE TABLE t AS SELECT 'Zoë Babad-Babad' AS name", "t"),
        "json": ("""CREATE TABLE j AS SELECT '{"a": ["x Babad-Babad"]}'::json AS v""", "j"),
        "code": ("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$SELECT 'Babad-Babad'$$", "f"),
        "a comment": ("COMMENT ON SCHEMA public IS 'Babad-Babad'", "c"),
        "statistics": (
            "CREATE TABLE s AS SELECT 'Babad-Babad' AS v FROM generate_series(1, 9); ANALYZE s; TRUNCATE s",
            "s",
        ),
    }
    for corner, (statement, name) in corners.items():
        database = f"corner_{name}"
        server.create_database(database)
        try:
            for each in statement.split("; "):
                server.execute(each, database=database)
            server.execute(
                f"ALTER DATABASE {database} ALLOW_CONNECTIONS {'false' if name == 't' else 'true'}"
            )
            assert search_server("x", server, marks).places[database] == {b"babad-babad"}, corner
        finally:
            server.drop_database(database)
    server.create_database("corner_d")
    server.execute("COMMENT ON DATABASE corner_d IS 'Babad-Babad'")
    try:
        assert search_server("x", server, marks).marks == {b"babad-babad"}
    finally:
        server.drop_database("corner_d")
