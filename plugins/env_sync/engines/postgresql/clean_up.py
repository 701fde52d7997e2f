"""The end of a group: what a killed step left is put right."""

from __future__ import annotations

import logging

import psycopg

from env_sync.core.redact import describe_database_error
from env_sync.engines.base.contract import CleanUp, Holder
from env_sync.engines.postgresql.copy_ownership import look_up
from env_sync.engines.postgresql.incoming import drop_database
from env_sync.engines.postgresql.lease import HeldLease
from env_sync.engines.postgresql.names import Copies
from env_sync.engines.postgresql.session import Server
from env_sync.engines.postgresql.stash import drop_replaced


def end_earlier_sessions(
    server: Server, hold: HeldLease, database: str, copies: Copies | None
) -> tuple[str, ...]:
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
    server: Server, hold: HeldLease, holder: Holder, database: str, copies: Copies | None, log: logging.Logger
) -> CleanUp:
    """End what still runs, drop incoming and outgoing where they are this group's, and what a swap replaced.

    Live was reopened with the lease. Raises psycopg.Error.
    """
    notes = list(end_earlier_sessions(server, hold, database, copies))
    dropped = False
    if copies is not None:
        dropped = _drop(hold, holder, copies.incoming, notes)
        _drop(hold, holder, copies.outgoing, notes)
        if drop_replaced(hold.session, copies):
            notes.append(f"dropped {copies.replaced}, which was {copies.previous} before the swap")
    for note in notes:
        log.info("Clean-up of %s: %s.", database, note)
    return CleanUp(live_reopened=hold.live_reopened, incoming_dropped=dropped, notes=tuple(notes))


def _drop(hold: HeldLease, holder: Holder, copy: str, notes: list[str]) -> bool:
    """Drop a copy where it is this group's, or without a stamp; says so in `notes`."""
    found = look_up(hold.session, copy)
    if found is None or not found.is_our_copy:
        # Somebody else's: what would have dropped it did not start, and said so.
        return False
    stamp = found.comment.stamp
    if stamp is not None and not stamp.holder.same_group_as(holder):
        notes.append(f"{copy} belongs to {stamp.holder} and was left alone")
        return False
    if dropped := drop_database(hold.session, copy):
        notes.append(f"dropped {copy}, which was {stamp.state if stamp else 'without a stamp'}")
    return dropped
