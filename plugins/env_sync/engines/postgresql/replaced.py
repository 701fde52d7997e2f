"""The previous of the pull before: renamed in the swap, dropped after it. So no failed swap costs it."""

from __future__ import annotations

from env_sync.engines.postgresql.database import Database, read_database
from env_sync.engines.postgresql.incoming import drop_database
from env_sync.engines.postgresql.names import Copies
from env_sync.engines.postgresql.session import Server, Session
from env_sync.engines.postgresql.stamp import read_comment
from env_sync.errors import NameRefused


def check_replaceable_previous(session: Session, server: Server, copies: Copies) -> Database | None:
    """Previous, which the next swap replaces; None where there is none.

    Raises NameRefused where it, or what it would be renamed to, is not ours. Raises psycopg.Error.
    """
    for name in (copies.replaced, copies.previous):
        if read_database(session, name) is not None and not _is_ours(session, name):
            raise NameRefused(
                f"There is a database {name} on {server} that does not say that it was ever live here, so "
                f"it may be somebody else's, and a pull of {copies.live} would drop it. Rename it, or drop "
                "it. Live is untouched."
            )
    return read_database(session, copies.previous)


def drop_replaced(session: Session, copies: Copies) -> bool:
    """Drop what a swap replaced; False where there is none, or one that is not ours. Raises psycopg.Error."""
    return _is_ours(session, copies.replaced) and drop_database(session, copies.replaced)


def _is_ours(session: Session, name: str) -> bool:
    """Whether a database is one that a swap left: it says so, or still has the stamp of its pull."""
    comment = read_comment(session, name)
    return comment is not None and (comment.was_live is not None or comment.stamp is not None)
