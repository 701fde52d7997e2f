"""Whether a database under the name of a copy is one that Env Sync made; only such a one is ever dropped."""

from __future__ import annotations

from collections.abc import Sequence

from env_sync.core.errors import NameRefused
from env_sync.engines.mysql.metadata import TABLE, Told, read_told
from env_sync.engines.mysql.session import Server, Session, exists


def is_ours(session: Session, name: str) -> bool:
    """Whether a database says, in the table of the stamp, what it is or was; one that is empty may go.

    A process that is killed may leave one without a stamp, or with an empty table for it, and nothing else.
    """
    return read_told(session, name) != Told() or is_empty(session, name, but=TABLE)


def was_previous(session: Session, name: str) -> bool:
    """Whether a database says that it was live once, as previous does; or is empty, but for a stamp."""
    return read_told(session, name).was_live is not None or is_empty(session, name, but=TABLE)


def is_copy(session: Session, name: str) -> bool:
    """The same for incoming and outgoing, which never were live; others may hold a copy of live's stamp."""
    told = read_told(session, name)
    was_live = told.promoted or told.returned or told.was_live
    return (told.stamp is not None and not was_live) or is_empty(session, name, but=TABLE)


def check_no_strangers(session: Session, server: Server, live: str, copies: Sequence[str]) -> None:
    """Raises NameRefused where a database that is not ours has the name of incoming or outgoing."""
    for name in copies:
        if exists(session, name) and not is_copy(session, name):
            raise NameRefused(
                f"There is a database {name} on {server} that Env Sync did not make, and the copy of {live} "
                "must have that name. Drop it, or dump it and restore it under another name; nothing was "
                "touched."
            )


def is_empty(session: Session, database: str, *, but: str = "") -> bool:
    """Whether a database has no table, view, routine or event, but for a table; also where there is none."""
    return not session.execute(
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME <> %s UNION SELECT 1 "
        "FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s UNION SELECT 1 FROM "
        "information_schema.EVENTS WHERE EVENT_SCHEMA = %s",
        [database, but, database, database],
    )
