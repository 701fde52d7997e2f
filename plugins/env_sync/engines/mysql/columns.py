"""The tables of a database and their columns, by name."""

from __future__ import annotations

from env_sync.engines.mysql.metadata import TABLE
from env_sync.engines.mysql.session import Session


def read_columns(session: Session, database: str) -> frozenset[tuple[str, str]]:
    """Each table but the stamp's and one of its columns; empty where there is no such database.

    Raises MySQLError.
    """
    rows = session.execute(
        "SELECT c.TABLE_NAME, c.COLUMN_NAME FROM information_schema.COLUMNS c "
        "JOIN information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME) "
        "WHERE c.TABLE_SCHEMA = %s AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') "
        "AND c.TABLE_NAME <> %s",
        [database, TABLE],
    )
    return frozenset((str(table), str(column)) for table, column in rows)
