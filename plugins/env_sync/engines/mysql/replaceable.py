"""Whether live can be replaced at all: what would stop the swap, or be lost by it, stops the pull first."""

from __future__ import annotations

from collections.abc import Sequence

import pymysql

from env_sync.core.errors import EnvSyncError, NameRefused
from env_sync.engines.mysql.client import REFUSED, code_of
from env_sync.engines.mysql.copy_ownership import is_ours, was_previous
from env_sync.engines.mysql.names import Copies
from env_sync.engines.mysql.session import Row, Server, Session, exists

NAMED = 3
"""How many keys a message names."""
_BY_LETTER = "@@lower_case_table_names = 0"
_OF_SCHEMA = (
    f"SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, UNIQUE_CONSTRAINT_SCHEMA, {_BY_LETTER} "
    "FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE UNIQUE_CONSTRAINT_SCHEMA IN %s ORDER BY 1, 2, 3"
)


def _part(column: str, number: int) -> str:
    """SQL for a part of `database/table`, as InnoDB has it: in the letters of names of files."""
    part = f"SUBSTRING_INDEX({column}, '/', {number})"
    return f"CONVERT(CONVERT(CAST({part} AS BINARY) USING filename) USING utf8mb4)"


_OF_INNODB = (
    f"SELECT {_part('FOR_NAME', 1)}, {_part('FOR_NAME', -1)}, SUBSTRING(ID, LOCATE('/', ID) + 1), "
    f"{_part('REF_NAME', 1)}, {_BY_LETTER} FROM information_schema.INNODB_SYS_FOREIGN "
    f"WHERE {_part('REF_NAME', 1)} IN %s ORDER BY 1, 2, 3"
)


def check_replaceable(session: Session, server: Server, copies: Copies, error: type[EnvSyncError]) -> None:
    """Look whether a swap would stop, or take what is not ours.

    Raises NameRefused where previous, or where it would go, is not ours; `error` where other databases refer
    to live; MySQLError.
    """
    check_previous(session, server, copies)
    check_replaced(session, server, copies)
    check_not_referred_to(session, server, copies, error)


def check_previous(session: Session, server: Server, copies: Copies) -> None:
    """Raises NameRefused where what has the name of previous is not ours; MySQLError."""
    if exists(session, copies.previous) and not is_ours(session, copies.previous):
        raise _refused(server, copies.previous)


def check_replaced(session: Session, server: Server, copies: Copies) -> None:
    """Raises NameRefused where what has the name of replaced was never previous; MySQLError."""
    if exists(session, copies.replaced) and not was_previous(session, copies.replaced):
        raise _refused(
            server,
            copies.replaced,
            f" Look first whether {copies.live} lacks tables: a server that crashed in an undo may have left "
            "them there.",
        )


def check_not_referred_to(
    session: Session, server: Server, copies: Copies, error: type[EnvSyncError]
) -> None:
    """Raises `error` where other databases refer to live; MySQLError."""
    # A key follows the table that it refers to: to previous, which the next pull could then not drop.
    keys = _keys_of_others(session, copies)
    if keys:
        named = "; ".join(f"{key} of {schema}.{table} to {to}" for schema, table, key, to in keys[:NAMED])
        more = f"; and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
        raise error(
            f"Foreign keys of other databases on {server} refer to tables of {copies.live}, and would follow "
            f"them to {copies.previous}: {named}{more}. Drop them, or keep those tables in {copies.live} "
            "itself. Live is untouched."
        )


def _keys_of_others(session: Session, copies: Copies) -> list[tuple[str, str, str, str]]:
    """Keys that refer to live or previous from elsewhere: database, table, name, and to which of the two."""
    to = (copies.live, copies.previous)
    # The server compares text without case and accents, but tells databases apart by their letters.
    return [
        (schema, table, key, referred)
        for schema, table, key, referred, by_letter in _keys(session, to)
        if _is_one(referred, to, by_letter=by_letter) and not _is_one(schema, copies.all, by_letter=by_letter)
    ]


def _is_one(name: str, of: Sequence[str], *, by_letter: bool) -> bool:
    return name in of if by_letter else name.lower() in [each.lower() for each in of]


def _keys(session: Session, to: Sequence[str]) -> list[Row]:
    if session.version.mariadb:
        # Keys of tables on which the account has no right are told here alone, to who has PROCESS.
        try:
            return session.execute(_OF_INNODB, [to])
        except pymysql.err.MySQLError as error:
            if code_of(error) not in REFUSED:
                raise
    return session.execute(_OF_SCHEMA, [to])


def _refused(server: Server, name: str, more: str = "") -> NameRefused:
    return NameRefused(
        f"There is a database {name} on {server} that does not say that it was ever live here, so it may be "
        "somebody else's, and Env Sync would drop it. Dump it and restore it under another name, or drop it."
        f"{more} Live is untouched."
    )
