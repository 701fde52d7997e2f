"""Whether live can be replaced at all: what would stop the swap, or be lost by it, stops the pull first."""

from __future__ import annotations

from env_sync.engines.mysql.names import Copies
from env_sync.engines.mysql.session import Server, Session, exists
from env_sync.engines.mysql.whose import is_ours, was_previous
from env_sync.errors import EnvSyncError, NameRefused

NAMED = 3
"""How many keys a message names."""


def check_replaced(session: Session, server: Server, copies: Copies) -> None:
    """Raises NameRefused where what has the name of replaced was never previous; MySQLError."""
    if exists(session, copies.replaced) and not was_previous(session, copies.replaced):
        raise _refused(server, copies.replaced)


def check_replaceable(session: Session, server: Server, copies: Copies, error: type[EnvSyncError]) -> None:
    """Look whether a swap would stop, or take what is not ours.

    Raises NameRefused where previous, or where it would go, is not ours; `error` where other databases refer
    to live; MySQLError.
    """
    if exists(session, copies.previous) and not is_ours(session, copies.previous):
        raise _refused(server, copies.previous)
    check_replaced(session, server, copies)
    # A key follows the table that it refers to: to previous, which the next pull could then not drop.
    keys = session.execute(
        "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, UNIQUE_CONSTRAINT_SCHEMA "
        "FROM information_schema.REFERENTIAL_CONSTRAINTS "
        "WHERE UNIQUE_CONSTRAINT_SCHEMA IN %s AND CONSTRAINT_SCHEMA NOT IN %s ORDER BY 1, 2, 3",
        [(copies.live, copies.previous), copies.all],
    )
    if keys:
        named = "; ".join(f"{key} of {schema}.{table} to {to}" for schema, table, key, to in keys[:NAMED])
        more = f"; and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
        raise error(
            f"Foreign keys of other databases on {server} refer to tables of {copies.live}, and would follow "
            f"them to {copies.previous}: {named}{more}. Drop them, or keep those tables in {copies.live} "
            "itself. Live is untouched."
        )


def _refused(server: Server, name: str) -> NameRefused:
    return NameRefused(
        f"There is a database {name} on {server} that does not say that it was ever live here, so it may be "
        "somebody else's, and Env Sync would drop it. Dump it and restore it under another name, or drop it. "
        "Live is untouched."
    )
