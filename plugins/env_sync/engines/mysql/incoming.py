"""Incoming: made closed to everybody else, and dropped; and what earlier processes still do in the copies."""

from __future__ import annotations

import logging

import pymysql

from env_sync.engines.contract import CleanUp, Holder, Stamp
from env_sync.engines.mysql.connecting import described
from env_sync.engines.mysql.grants import check_closed
from env_sync.engines.mysql.lease import Hold
from env_sync.engines.mysql.names import Copies
from env_sync.engines.mysql.session import Session, drop_database, exists
from env_sync.engines.mysql.stamp import make_table, read_told, write_stamp
from env_sync.engines.mysql.swap import make_like
from env_sync.errors import EnvSyncError


def make_closed(session: Session, copies: Copies, stamp: Stamp, error: type[EnvSyncError]) -> None:
    """Make an empty incoming like live, once nobody else could read it; else raises `error`."""
    check_closed(session, copies.incoming, error)
    make_like(session, copies.incoming, copies.live)
    make_table(session, copies.incoming)
    write_stamp(session, copies.incoming, stamp)


def drop_after_failure(session: Session, database: str, log: logging.Logger) -> None:
    """Drop what an error left; where that fails too it is logged, and the clean-up does it."""
    try:
        with session.uninterrupted():
            drop_database(session, database)
    except pymysql.err.MySQLError as error:
        log.error(
            "Database %s could not be dropped after a failure: %s. The end of the group tries again; nobody "
            "else "
            "can read it.",
            database,
            described(error),
        )


def end_earlier_sessions(hold: Hold, databases: tuple[str, ...]) -> tuple[str, ...]:
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


def clean_up(
    hold: Hold, holder: Holder, database: str, copies: Copies | None, recovered: str, log: logging.Logger
) -> CleanUp:
    """End what still runs, and drop incoming where it is this group's; `recovered` was put right before.

    Raises MySQLError.
    """
    session = hold.session
    notes = [recovered] if recovered else []
    notes += end_earlier_sessions(hold, (copies.live, copies.incoming) if copies else (database,))
    dropped = False
    if copies is not None and exists(session, copies.incoming):
        stamp = read_told(session, copies.incoming).stamp
        if stamp is None or (stamp.holder.run, stamp.holder.group) == (holder.run, holder.group):
            dropped = drop_database(session, copies.incoming)
            notes.append(
                f"dropped {copies.incoming}, which was {stamp.state if stamp else 'without a stamp'}"
            )
        else:
            notes.append(f"{copies.incoming} belongs to {stamp.holder} and was left alone")
    for note in notes:
        log.info("Clean-up of %s: %s.", database, note)
    return CleanUp(live_reopened=False, incoming_dropped=dropped, notes=tuple(notes))
