"""The end of a group: what a killed step left is put right."""

from __future__ import annotations

import logging

import psycopg

from env_sync.engines.contract import CleanUp, Holder
from env_sync.engines.postgresql.incoming import drop_database
from env_sync.engines.postgresql.lease import Hold
from env_sync.engines.postgresql.names import Copies
from env_sync.engines.postgresql.session import Server
from env_sync.engines.postgresql.stamp import read_comment
from env_sync.redact import describe_database_error


def end_earlier_sessions(server: Server, hold: Hold, database: str, copies: Copies | None) -> tuple[str, ...]:
    """End what earlier processes of this group still run in the copies; gives a note for each.

    Only while the lease's session lock is held: then no process of this group is rightly at work there.
    """
    notes = []
    databases = [copies.live, copies.incoming, copies.outgoing] if copies else [database]
    for pid, there in hold.session.execute(
        "SELECT pid, datname FROM pg_catalog.pg_stat_activity "
        "WHERE application_name = %s AND usename = current_user AND datname = ANY(%s) "
        "AND pid <> pg_catalog.pg_backend_pid()",
        [server.application_name, databases],
    ):
        try:
            hold.session.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [pid])
        except psycopg.errors.InsufficientPrivilege as error:
            notes.append(
                f"server process {pid} in {there} could not be ended: {describe_database_error(error)}"
            )
        else:
            notes.append(f"ended server process {pid} of an earlier step in {there}")
    return tuple(notes)


def clean_up(
    server: Server, hold: Hold, holder: Holder, database: str, copies: Copies | None, log: logging.Logger
) -> CleanUp:
    """End what still runs, and drop incoming and outgoing where they are this group's.

    Live was reopened with the lease.

    Raises psycopg.Error.
    """
    notes = list(end_earlier_sessions(server, hold, database, copies))
    dropped: list[str] = []
    for copy in (copies.incoming, copies.outgoing) if copies else ():
        if (comment := read_comment(hold.session, copy)) is None:
            continue
        stamp = comment.stamp
        if stamp is None or (stamp.holder.run, stamp.holder.group) == (holder.run, holder.group):
            if drop_database(hold.session, copy):
                dropped.append(copy)
            state = stamp.state if stamp else "without a stamp"
            notes.append(f"dropped {copy}, which was {state}")
        else:
            notes.append(f"{copy} belongs to {stamp.holder} and was left alone")
    for note in notes:
        log.info("Clean-up of %s: %s.", database, note)
    return CleanUp(
        live_reopened=hold.live_reopened,
        incoming_dropped=copies is not None and copies.incoming in dropped,
        notes=tuple(notes),
    )
