"""Keeps raw values out of the planner's statistics.

ANALYZE keeps the most common values of each column, readable by whoever may read the table, and for a table
that is empty it leaves what an earlier ANALYZE found. Autovacuum that looked at a raw copy would so leave
values in a table that a transformation empties right after. So it is held back, table by table, before the
first row is restored, and let go again when the copy, sanitised, is given to its owner.
"""

from __future__ import annotations

import psycopg

from env_sync.core.errors import TransformationFailed
from env_sync.engines.postgresql.session import Session

OFF = "n"
"""How our "no" is written: PostgreSQL takes it as false and keeps the text, and nobody else writes it so."""

_TABLES = (
    "SELECT pg_catalog.format('ALTER TABLE %I.%I {change}', n.nspname, c.relname) "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\\_%' "
    "AND n.nspname <> 'information_schema' AND {condition} ORDER BY c.oid"
)
_SET = _TABLES.format(
    change=f"SET (autovacuum_enabled = {OFF})",
    # What belongs to an extension's maker cannot be changed by us, nor hold rows of the application.
    condition="pg_catalog.pg_has_role(c.relowner, 'USAGE') AND NOT EXISTS (SELECT FROM "
    "pg_catalog.pg_options_to_table(c.reloptions) o WHERE o.option_name = 'autovacuum_enabled' "
    "AND NOT o.option_value::boolean)",
)
_RESET = _TABLES.format(
    change="RESET (autovacuum_enabled)", condition=f"c.reloptions @> ARRAY['autovacuum_enabled={OFF}']"
)
_WITH_STATISTICS = (
    "SELECT DISTINCT t.oid, pg_catalog.format('%I.%I', m.nspname, t.relname) FROM pg_catalog.pg_stats s "
    "JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname "
    "JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename "
    # Indexes on expressions have statistics of their own, made with their table's.
    "LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid "
    "JOIN pg_catalog.pg_class t ON t.oid = coalesce(i.indrelid, c.oid) "
    "JOIN pg_catalog.pg_namespace m ON m.oid = t.relnamespace "
    "WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1"
)


def hold_autovacuum_back(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Keep autovacuum from every table of a copy that holds no rows yet. Raises psycopg.Error."""
    for (statement,) in connection.execute(_SET.encode()).fetchall():
        connection.execute(str(statement).encode())


def let_autovacuum_go(session: Session) -> None:
    """Let it work again where it was held back; does nothing elsewhere. Raises psycopg.Error."""
    for (statement,) in session.execute(_RESET):
        session.execute(statement)


def renew_statistics(session: Session) -> None:
    """Within the transaction of the transformations, at its end: no statistics may tell of rows before them.

    There are none unless somebody, a transformation included, ran ANALYZE. Those are made anew; of a table
    that is empty now they cannot be. Raises TransformationFailed, psycopg.Error.
    """
    for _, table in session.execute(_WITH_STATISTICS):
        session.execute(f"ANALYZE {table}")
        if not session.execute(f"SELECT 1 FROM {table} LIMIT 1"):
            raise TransformationFailed(
                f"Table {table} is empty, but statistics of rows that it had are kept, with values in them: "
                "an ANALYZE ran before it was emptied. Take ANALYZE out of the transformations. Incoming is "
                "dropped, live is untouched."
            )
