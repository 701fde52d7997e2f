"""Sessions that only look: the server itself refuses them every write, and they wait for nothing for long."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from env_sync.engines.postgresql.session import Server, Session, plain_errors

SETTINGS = (
    "SET default_transaction_read_only = on; SET statement_timeout = '30s'; SET lock_timeout = '3s'; "
    "SET idle_in_transaction_session_timeout = '60s'"
)


@contextlib.contextmanager
def reading(server: Server, database: str, *, own_path: bool = False) -> Iterator[Session]:
    """A session for the length of the block, in which nothing can be written. `own_path`: see `Server.open`.

    Raises NoSuchDatabase, AccessRefused, ServerUnreachable, and EnvSyncError for what psycopg raises in it.
    """
    with (
        server.session(database, own_path=own_path) as session,
        plain_errors(f"Database {database} on {server}"),
    ):
        session.execute(SETTINGS)
        yield session
