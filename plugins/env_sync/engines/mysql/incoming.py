"""Incoming and outgoing: made closed to everybody else, dropped; what earlier processes still do there."""

from __future__ import annotations

import logging

import pymysql

from env_sync.core.errors import EnvSyncError
from env_sync.engines.base.contract import Stamp
from env_sync.engines.mysql.access.readers import check_closed
from env_sync.engines.mysql.client import described
from env_sync.engines.mysql.copy_ownership import is_copy
from env_sync.engines.mysql.identifiers import qualified
from env_sync.engines.mysql.lease import HeldLease
from env_sync.engines.mysql.metadata import TABLE, make_table, write_stamp
from env_sync.engines.mysql.objects import drop_objects
from env_sync.engines.mysql.renaming import tables_of
from env_sync.engines.mysql.session import Session, drop_database, exists
from env_sync.engines.mysql.swap import make_like


def make_closed(session: Session, copy: str, like: str, stamp: Stamp, error: type[EnvSyncError]) -> None:
    """Make an empty copy like live, once nobody else could read it; else raises `error`."""
    check_closed(session, copy, error)
    make_like(session, copy, like)
    make_table(session, copy)
    write_stamp(session, copy, stamp)


def drop_copy(session: Session, copy: str) -> bool:
    """Drop a copy, its stamp last: one that is dropped by half still tells whose it is. False where none."""
    if not exists(session, copy):
        return False
    # DROP DATABASE takes routines after tables, and the server may be killed in between.
    drop_objects(session, copy)
    if others := [name for name in tables_of(session, copy) if name != TABLE]:
        session.execute("SET SESSION foreign_key_checks = 0")
        # Sequences are tables to MariaDB.
        session.execute(f"DROP TABLE IF EXISTS {', '.join(qualified(copy, name) for name in others)}")
        session.execute("SET SESSION foreign_key_checks = 1")
    return drop_database(session, copy)


def drop_after_failure(session: Session, database: str, log: logging.Logger, *, made: bool) -> None:
    """Drop what an error left; where that fails too it is logged, and the clean-up does it.

    Unless this step `made` it, somebody else may have, in the moment before.
    """
    try:
        with session.uninterrupted():
            if made or is_copy(session, database):
                drop_copy(session, database)
    except pymysql.err.MySQLError as error:
        log.error(
            "Database %s could not be dropped after a failure: %s. The end of the group tries again; nobody "
            "else can read it.",
            database,
            described(error),
        )


def end_earlier_sessions(hold: HeldLease, databases: tuple[str, ...]) -> tuple[str, ...]:
    """End what earlier processes still run as our account in the copies; gives a note for each.

    Only while the lease's lock is held: then no process of ours is rightly at work there.
    """
    session, notes = hold.session, []
    rows = session.execute(
        "SELECT ID, DB FROM information_schema.PROCESSLIST WHERE USER = SUBSTRING_INDEX(USER(), '@', 1) "
        f"AND ID <> CONNECTION_ID() AND DB IN ({', '.join(['%s'] * len(databases))})",
        list(databases),
    )
    for number, database in rows:
        try:
            session.execute(f"KILL {int(number)}")
        except pymysql.err.MySQLError as error:
            # It may have ended by itself.
            if error.args[0] != pymysql.constants.ER.NO_SUCH_THREAD:
                notes.append(f"session {number} in {database} could not be ended: {described(error)}")
        else:
            notes.append(f"ended session {number} of an earlier step in {database}")
    return tuple(notes)
