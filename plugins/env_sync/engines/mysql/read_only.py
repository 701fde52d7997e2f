"""Sessions that only look: the server itself refuses them every write, and they wait for nothing for long."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from env_sync.engines.mysql.session import Server, Session, plain_errors


@contextlib.contextmanager
def reading(server: Server, database: str | None = None) -> Iterator[Session]:
    """A session for the length of the block, in which nothing can be written.

    Raises NoSuchDatabase, AccessRefused, ServerUnreachable, and EnvSyncError for what PyMySQL raises in it.
    """
    where = f"Database {database} on {server}" if database else f"Server {server}"
    with server.session(database) as session, plain_errors(where):
        session.execute("SET SESSION TRANSACTION READ ONLY")
        session.execute("SET SESSION lock_wait_timeout = 3, innodb_lock_wait_timeout = 3")
        limit = "max_statement_time = 30" if session.version.mariadb else "max_execution_time = 30000"
        session.execute(f"SET SESSION {limit}")
        if session.version.mysql_from(8, 0):
            # Else sizes may be those of yesterday.
            session.execute("SET SESSION information_schema_stats_expiry = 0")
        yield session
