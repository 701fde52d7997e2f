"""What waits until the transformations have run: kept in incoming, which outlives the worker that restored.

It is taken out again before the first transformation, so that none can see it or change it, and it never
becomes part of live. What is in its schema is run: so nothing but a restore of ours may have made that.
"""

from __future__ import annotations

import psycopg
from attrs import frozen

from env_sync.core.errors import RestoreFailed
from env_sync.engines.postgresql.session import Session

SCHEMA = "env_sync_waiting"
_TABLE = f"{SCHEMA}.statement"


@frozen(kw_only=True)
class Kept:
    """SQL that makes an index, with its schema, name and table, or what follows on one; then those are ""."""

    schema: str
    index: str
    table: str
    sql: str


def refuse_brought(database: str) -> RestoreFailed:
    """The error where a dump brings what only we may put there."""
    return RestoreFailed(
        f"The dump of {database} brings a schema {SCHEMA}, where Env Sync keeps statements that it will run: "
        "nobody else may write them. Find out who made it, and rename or drop it where the dump is from "
        f"(DROP SCHEMA {SCHEMA} CASCADE). Live is untouched."
    )


def keep(
    connection: psycopg.Connection[tuple[object, ...]], database: str, statements: tuple[Kept, ...]
) -> None:
    """Put them into a copy that was just restored, of a dump of `database`.

    Raises RestoreFailed where something is in their place, also where there are none, and psycopg.Error.
    """
    # Code of the dump may have made it while it was restored.
    there = connection.execute("SELECT pg_catalog.to_regnamespace(%s)", [SCHEMA]).fetchone()
    if there != (None,):
        raise refuse_brought(database)
    if not statements:
        return
    connection.execute(f"CREATE SCHEMA {SCHEMA}".encode())
    columns = "number int PRIMARY KEY, schema text, index text, indexed text, sql text"
    connection.execute(f"CREATE TABLE {_TABLE} ({columns})".encode())
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {_TABLE} VALUES (%s, %s, %s, %s, %s)".encode(),
            [
                (number, each.schema, each.index, each.table, each.sql)
                for number, each in enumerate(statements)
            ],
        )


def take(session: Session) -> tuple[Kept, ...]:
    """Take them out of a copy, in their order; none where nothing waits. Raises psycopg.Error."""
    if session.value("SELECT pg_catalog.to_regclass(%s)", [_TABLE]) is None:
        return ()
    with session.transaction():
        rows = session.execute(f"SELECT schema, index, indexed, sql FROM {_TABLE} ORDER BY number")
        session.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
    return tuple(Kept(schema=schema, index=index, table=table, sql=sql) for schema, index, table, sql in rows)


def missing(session: Session, statements: tuple[Kept, ...]) -> list[str]:
    """The indexes among them that are not there, as `schema.name`. Raises psycopg.Error."""
    rows = session.execute(
        "SELECT w.schema || '.' || w.name FROM unnest(%s::text[], %s::text[]) w (schema, name) "
        "WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname = w.schema AND c.relname = w.name "
        "AND c.relkind IN ('i', 'I')) ORDER BY 1",
        [
            [each.schema for each in statements if each.index],
            [each.index for each in statements if each.index],
        ],
    )
    return [name for (name,) in rows]
