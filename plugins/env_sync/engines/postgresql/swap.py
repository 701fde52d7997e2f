"""Swapping live with another database: closed for a moment, renamed in one transaction, and open again."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence

import psycopg
from attrs import frozen
from psycopg import errors, sql

from env_sync.core.errors import EnvSyncError, PromoteFailed
from env_sync.core.redact import describe_database_error
from env_sync.engines.postgresql.access.roles import DROPPED
from env_sync.engines.postgresql.lease import HeldLease, LeaseManager
from env_sync.engines.postgresql.session import Server, Session

PAUSE = 0.01
"""Seconds between two looks at who is still in the database."""


@frozen(kw_only=True)
class Swap:
    """All that a swap works with. `databases` are those that are renamed: nobody may be in them then."""

    server: Server
    hold: HeldLease
    leases: LeaseManager
    databases: tuple[str, ...]
    wait: dt.timedelta
    log: logging.Logger


def swap(work: Swap, rename: Callable[[dt.datetime], None]) -> float:
    """Close live, end its sessions, rename; gives the seconds for which it was closed.

    `rename` is run in the one transaction that does it, and given the moment at which live was closed.
    Whatever is raised, live is open afterwards: as it was, or, where only the answer to the commit was
    lost, as the new one. Raises PromoteFailed, LeaseLost, psycopg.Error.
    """
    session, leases = work.hold.session, work.leases
    try:
        closed = leases.close_live(session)

        def renaming() -> None:
            leases.opened_by_rename(session)
            rename(closed)

        when_nobody_is_there(work, renaming)
        with session.uninterrupted():
            after: dt.datetime = session.value("SELECT pg_catalog.clock_timestamp()")
    except BaseException:
        _reopen(work)
        raise
    return (after - closed).total_seconds()


def wait_for_those_that_stay(work: Swap) -> None:
    """While live is still open: wait for what would keep it from being renamed and cannot be ended by us."""
    session = work.hold.session
    deadline = time.monotonic() + work.wait.total_seconds()
    while True:
        staying = blockers(session, work.databases, only_staying=True)
        if not staying:
            return
        if time.monotonic() > deadline:
            raise PromoteFailed(
                f"{work.leases.where} could not be closed within {work.wait.total_seconds():.0f} seconds, "
                f"for this role may not end {', '.join(staying)}. Live was not closed and is as it was. End "
                "them, or grant pg_signal_backend to the sync's role, and run the step again."
            )
        session.execute("SELECT pg_catalog.pg_sleep(%s)", [0.2])


def when_nobody_is_there(work: Swap, rename: Callable[[], None]) -> None:
    """Run `rename` in one transaction, as often as it takes until nobody is in one of them.

    Raises PromoteFailed once `work.wait` is over.
    """
    session = work.hold.session
    deadline = time.monotonic() + work.wait.total_seconds()
    while True:
        _empty(work, deadline)
        try:
            with session.transaction():
                session.execute("SET LOCAL lock_timeout = '2s'")
                rename()
        except (errors.ObjectInUse, errors.LockNotAvailable, errors.DeadlockDetected):
            # Somebody was let in just before it was closed.
            if time.monotonic() > deadline:
                _give_up(work)
        else:
            return


def _empty(work: Swap, deadline: float) -> None:
    """End all sessions in them, and wait until they are gone."""
    session = work.hold.session
    while True:
        _end_sessions(work)
        if not blockers(session, work.databases, only_staying=False):
            return
        if time.monotonic() > deadline:
            _give_up(work)
        session.execute("SELECT pg_catalog.pg_sleep(%s)", [PAUSE])


def _end_sessions(work: Swap) -> None:
    session = work.hold.session
    for (pid,) in session.execute(
        "SELECT pid FROM pg_catalog.pg_stat_activity WHERE datname = ANY(%s) AND usesysid IS NOT NULL",
        [list(work.databases)],
    ):
        try:
            session.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [pid])
        except errors.InsufficientPrivilege:
            work.log.debug("Server process %d may not be ended by this role.", pid)


def _give_up(work: Swap) -> None:
    who = (
        ", ".join(blockers(work.hold.session, work.databases, only_staying=False))
        or "sessions that came and went"
    )
    raise PromoteFailed(
        f"{work.leases.where} could not be swapped within {work.wait.total_seconds():.0f} seconds, for it "
        f"was held by {who}. Live was reopened and is as it was. End them and run the step again."
    )


def blockers(session: Session, databases: Sequence[str], *, only_staying: bool) -> list[str]:
    """Who keeps databases from being renamed; `only_staying`: of those, whom we may not end."""
    found = [
        f"server process {pid} of {user} in {database} ({application or 'no application name'})"
        for pid, user, database, application, endable in session.execute(
            # Without a user they are the server's own, and end by themselves when a rename wants them to.
            "SELECT a.pid, coalesce(r.rolname, %s), a.datname, a.application_name, "
            "me.rolsuper OR (r.rolsuper IS NOT TRUE AND (coalesce(pg_catalog.pg_has_role(r.oid, 'USAGE'), "
            "false) OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'))) "
            "FROM pg_catalog.pg_stat_activity a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid "
            "CROSS JOIN pg_catalog.pg_roles me WHERE me.rolname = current_user "
            "AND a.datname = ANY(%s) AND a.usesysid IS NOT NULL ORDER BY a.pid",
            [DROPPED, list(databases)],
        )
        if not (only_staying and endable)
    ]
    found += [
        f"prepared transaction {gid} of {owner} in {database}"
        for gid, owner, database in session.execute(
            "SELECT gid, coalesce(owner, %s), database FROM pg_catalog.pg_prepared_xacts "
            "WHERE database = ANY(%s)",
            [DROPPED, list(databases)],
        )
    ]
    return found


def _reopen(work: Swap) -> None:
    """Reopen live after an error, on a session of its own where the one that was used cannot be."""
    session, leases = work.hold.session, work.leases
    session.abandon()
    try:
        if session.usable:
            with session.uninterrupted():
                reopened = leases.reopen_live(session)
        else:
            with work.server.session(work.server.lease_database) as other, other.uninterrupted():
                reopened = leases.reopen_alone(other)
    except psycopg.Error as error:
        work.log.error(
            "%s is closed and could not be reopened: %s. The next step that takes the lease reopens it; by "
            "hand: ALTER DATABASE ... ALLOW_CONNECTIONS true.",
            leases.where,
            describe_database_error(error),
        )
    except EnvSyncError as problem:
        work.log.error(
            "%s is closed and could not be reopened: %s The next step that takes the lease reopens it; by "
            "hand: ALTER DATABASE ... ALLOW_CONNECTIONS true.",
            leases.where,
            problem,
        )
    else:
        if reopened:
            work.log.warning("%s was closed for the swap, and is open again as it was.", leases.where)


def rename_database(database: str, to: str) -> sql.Composed:
    """The statement that gives a database another name."""
    return sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(database), sql.Identifier(to))
