"""The databases of the demo: who owns them, who reads them, and what is in them before the first night."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import LiteralString

from attrs import frozen
from psycopg import sql

from sandbox.demo.seed import Rows, sequences
from sandbox.postgresql import SYNC_ROLE, PostgreSQLServer

SCHEMAS = Path(__file__).with_name("schemas")
READER = "content-data"
GRANTS: tuple[LiteralString, ...] = (
    "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
    "GRANT CONNECT ON DATABASE {database} TO {client}, {reader}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {client}",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {client}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {reader}",
    "ALTER DATABASE {database} SET statement_timeout = '60s'",
)


@frozen(kw_only=True)
class Database:
    """One application's database; `server` is its name in hieradata, `owner` the role of its tables."""

    name: str
    server: str
    owner: str

    @property
    def client(self) -> str:
        """The role with which the application itself connects."""
        return f"{self.owner}-app"


DATABASES = (
    Database(
        name="local-links-manager_production",
        server="local-links-manager-postgres",
        owner="local-links-manager",
    ),
    Database(name="signon_production", server="signon-postgres", owner="signon"),
    Database(name="publishing_api_production", server="publishing-api-postgres", owner="publishing_api"),
    Database(name="email-alert-api_production", server="email-alert-api-postgres", owner="email-alert-api"),
)


def make_roles(server: PostgreSQLServer, passwords: Mapping[str, str]) -> None:
    """Makes the owners, the applications' roles, a reader, and the role of Env Sync: no superuser."""
    for database in DATABASES:
        server.create_role(database.owner)
        server.create_role(database.client, passwords["client"])
    server.create_role(READER, passwords["client"])
    server.create_sync_role(passwords[SYNC_ROLE], member_of=[database.owner for database in DATABASES])


def make_database(server: PostgreSQLServer, database: Database, rows: Rows | None) -> None:
    """Makes one database with its tables and grants, with these rows or, below production, still empty."""
    server.create_database(database.name, database.owner)
    with contextlib.closing(server.connect(database.name, autocommit=False)) as connection, connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(database.owner)))
        # The files of schemas/ are part of the demo.
        connection.execute((SCHEMAS / f"{database.name}.sql").read_bytes())
        for table, (columns, values) in (rows or {}).items():
            copying = sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
            )
            with connection.cursor().copy(copying) as copy:
                for row in values:
                    copy.write_row(row)
        for table in sequences(rows or {}):
            connection.execute(
                sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'id'), max(id)) FROM {}").format(
                    sql.Literal(table), sql.Identifier(table)
                )
            )
        for (view,) in connection.execute("SELECT matviewname FROM pg_matviews").fetchall():
            connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier(view)))
        names = {
            "database": sql.Identifier(database.name),
            "owner": sql.Identifier(database.owner),
            "client": sql.Identifier(database.client),
            "reader": sql.Identifier(READER),
        }
        for statement in GRANTS:
            connection.execute(sql.SQL(statement).format(**names))
