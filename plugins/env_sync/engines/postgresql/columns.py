"""The tables of a database and their columns, by name."""

from __future__ import annotations

from env_sync.engines.postgresql.session import Session

_COLUMNS = """
SELECT CASE WHEN n.nspname = 'public' THEN c.relname ELSE pg_catalog.concat(n.nspname, '.', c.relname) END,
    a.attname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition
AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
)
"""


def read_columns(session: Session) -> frozenset[tuple[str, str]]:
    """Each table, with its schema unless that is public, and one of its columns. Raises psycopg.Error."""
    return frozenset((str(table), str(column)) for table, column in session.execute(_COLUMNS))
