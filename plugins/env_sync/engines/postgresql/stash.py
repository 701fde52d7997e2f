"""The previous of the pull before: renamed in the swap, dropped after it. So no failed swap costs it."""

from __future__ import annotations

from env_sync.engines.postgresql.copy_ownership import check_names, is_our_previous
from env_sync.engines.postgresql.database import Database, read_database
from env_sync.engines.postgresql.incoming import drop_database
from env_sync.engines.postgresql.names import Copies
from env_sync.engines.postgresql.session import Server, Session


def check_replaceable_previous(session: Session, server: Server, copies: Copies) -> Database | None:
    """Previous, which the next swap replaces; None where there is none.

    Raises NameRefused where it, or what it would be renamed to, is not ours. Raises psycopg.Error.
    """
    check_names(session, server, copies, (copies.replaced, copies.previous))
    return read_database(session, copies.previous)


def drop_replaced(session: Session, copies: Copies) -> bool:
    """Drop what a swap replaced; False where there is none, or one that is not ours. Raises psycopg.Error."""
    return is_our_previous(session, copies, copies.replaced) and drop_database(session, copies.replaced)
