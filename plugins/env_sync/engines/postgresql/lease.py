"""The lease on a live database: PostgreSQL's words for it, and what closes live.

The session lock is an advisory one. What closes live is written into the row in the same transaction, so
whoever comes next knows whether it was us. The rules are in `base/session_lease.py`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence

import psycopg
from attrs import frozen
from psycopg import errors, sql

from env_sync.core.errors import AccessRefused, LeaseHeld, LeaseLost, LeaseRefused, NoSuchDatabase
from env_sync.core.redact import describe_database_error
from env_sync.engines.base import session_lease
from env_sync.engines.base.contract import Holder
from env_sync.engines.base.session_lease import OtherLease, SessionGone
from env_sync.engines.base.strange_locks import LockTry
from env_sync.engines.postgresql.advisory_locks import take_lock
from env_sync.engines.postgresql.lease_table import (
    against_database,
    against_table,
    make_table,
    refused,
    table_is_there,
)
from env_sync.engines.postgresql.session import Server, Session, plain_errors

COLUMNS = sql.SQL('run, "group", attempt, step, host, pid, taken_at, expires_at, live_closed_at')


def _key(*parts: str) -> int:
    """The number of an advisory lock, the same for every process: 64 bits, signed."""
    digest = hashlib.sha256("\0".join(("env_sync", *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


MAKING = _key("make the lease database")
TAKING = _key("take a lease")

HeldLease = session_lease.HeldLease[Session]


@frozen(kw_only=True)
class Row(session_lease.Row):
    """A row of the table; `live_closed_at` is when its holder closed live, and None where live is open."""

    live_closed_at: dt.datetime | None


class LeaseManager(session_lease.LeaseManager[Session, Row]):
    """The lease on one live database, as one holder sees it, and the closing of live under it."""

    server: Server

    def __init__(
        self, server: Server, database: str, holder: Holder, lifetime: dt.timedelta, log: logging.Logger
    ) -> None:
        super().__init__(server, database, holder, lifetime, log)
        self.key = _key("database", database)
        self._group_key = _key("group", database, holder.run, holder.group)

    # Closing live

    def close_live(self, session: Session) -> dt.datetime:
        """Refuse new connections to live, and write down that it was us, in one transaction.

        Gives when. Raises LeaseLost where the row is not this attempt's.
        """
        with session.transaction():
            closed = session.execute(
                "UPDATE public.lease SET live_closed_at = pg_catalog.clock_timestamp() "
                'WHERE database = %s AND run = %s AND "group" = %s AND attempt = %s RETURNING live_closed_at',
                self.identity,
            )
            if not closed:
                raise LeaseLost(f"The lease on {self.where} is no longer this attempt's; live is untouched.")
            session.execute(_allow(self.database, False))
            moment: dt.datetime = closed[0][0]
        return moment

    def opened_by_rename(self, session: Session) -> None:
        """Within the transaction that swaps the copies: what was closed is no longer live.

        Raises LeaseLost.
        """
        rows = session.execute(
            "UPDATE public.lease SET live_closed_at = NULL "
            'WHERE database = %s AND run = %s AND "group" = %s AND attempt = %s RETURNING 1',
            self.identity,
        )
        if not rows:
            raise LeaseLost(f"The lease on {self.where} is no longer this attempt's; live is untouched.")

    def reopen_live(self, session: Session) -> bool:
        """Reopen live where the row says that we closed it; waits for a swap that is being committed."""
        with session.transaction():
            row = self.row(session)
            return row is not None and row.live_closed_at is not None and self._reopen(session)

    def reopen_alone(self, session: Session) -> bool:
        """The same on a session without the session lock, which it takes; False where another has it."""
        return self.lock_alone(session) and self.reopen_live(session)

    def _reopen(self, session: Session) -> bool:
        closed = session.value(
            "SELECT NOT datallowconn FROM pg_catalog.pg_database WHERE datname = %s", [self.database]
        )
        if closed:
            session.execute(_allow(self.database, True))
        session.execute("UPDATE public.lease SET live_closed_at = NULL WHERE database = %s", [self.database])
        return bool(closed)

    # What is left closed

    def put_right(self, session: Session, row: Row) -> None:
        """Reopen live where whoever had the lease left it closed."""
        if row.live_closed_at:
            self._reopen(session)

    def begin(self, session: Session) -> bool:
        """The same as a step begins; whether it was closed."""
        reopened = self.reopen_live(session)
        if reopened:
            self.log.warning(
                "Database %s was closed, for an earlier promotion did not end; it was reopened.", self.where
            )
        return reopened

    def give_back(self, session: Session) -> None:
        """Delete the row. Live is reopened first, if a step of ours left it closed. Raises LeaseHeld."""
        with session.transaction():
            row = self.row(session)
            if row is None or not row.holder.same_group_as(self.holder):
                return
            if row.live_closed_at:
                if not self.try_lock(session).taken:
                    raise LeaseHeld(
                        f"{self.database} is closed and the process that closed it is still at work: {row}. "
                        "The lease is kept, so that whoever takes it next reopens the database."
                    )
                self._reopen(session)
            self.delete(session)

    # The row

    def errors(self, where: str) -> contextlib.AbstractContextManager[None]:
        """See the base."""
        return plain_errors(where)

    @contextlib.contextmanager
    def taking(self, session: Session) -> Iterator[None]:
        """See the base. It waits for whoever takes one now, for as long as that takes."""
        with session.transaction():
            session.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", [TAKING])
            yield

    def now(self, session: Session) -> dt.datetime:
        """See the base."""
        moment: dt.datetime = session.value("SELECT pg_catalog.clock_timestamp()")
        return moment

    def row(self, session: Session) -> Row | None:
        """See the base."""
        statement = sql.SQL("SELECT {} FROM public.lease WHERE database = %s FOR UPDATE").format(COLUMNS)
        rows = session.execute(statement, [self.database])
        if not rows:
            return None
        run, group, attempt, step, host, pid, taken_at, expires_at, closed = rows[0]
        return Row(
            holder=Holder(run=run, group=group, attempt=attempt),
            step=step,
            host=host,
            pid=pid,
            taken_at=taken_at,
            expires_at=expires_at,
            live_closed_at=closed,
        )

    def others(self, session: Session) -> Sequence[OtherLease]:
        """See the base."""
        rows = session.execute(
            'SELECT database, run, "group", expires_at FROM public.lease '
            "WHERE expires_at > pg_catalog.clock_timestamp() AND database <> %s ORDER BY taken_at",
            [self.database],
        )
        return [
            OtherLease(database=database, run=run, group=group, expires_at=expires)
            for database, run, group, expires in rows
        ]

    def write(self, session: Session) -> None:
        """See the base."""
        session.execute(
            "INSERT INTO public.lease AS kept "
            '(database, run, "group", attempt, step, host, pid, taken_at, renewed_at, expires_at) '
            "VALUES (%s, %s, %s, %s, '', %s, %s, pg_catalog.clock_timestamp(), pg_catalog.clock_timestamp(), "
            "pg_catalog.clock_timestamp() + %s) ON CONFLICT (database) DO UPDATE SET "
            'run = excluded.run, "group" = excluded."group", attempt = excluded.attempt, step = '
            "excluded.step, "
            "host = excluded.host, pid = excluded.pid, renewed_at = excluded.renewed_at, "
            "expires_at = excluded.expires_at, taken_at = CASE WHEN "
            '(kept.run, kept."group", kept.attempt) = (excluded.run, excluded."group", excluded.attempt) '
            "THEN kept.taken_at ELSE excluded.taken_at END",
            [*self.identity, socket.gethostname(), os.getpid(), self.lifetime],
        )

    def extend(self, session: Session, step: str | None) -> bool:
        """See the base."""
        renewed = session.execute(
            "UPDATE public.lease SET renewed_at = pg_catalog.clock_timestamp(), "
            "expires_at = pg_catalog.clock_timestamp() + %s, "
            "step = coalesce(%s, step), host = %s, pid = %s "
            'WHERE database = %s AND run = %s AND "group" = %s AND attempt = %s RETURNING 1',
            [self.lifetime, step, socket.gethostname(), os.getpid(), *self.identity],
        )
        return bool(renewed)

    def delete(self, session: Session) -> None:
        """See the base; the row was read in this transaction, and is this group's."""
        session.execute("DELETE FROM public.lease WHERE database = %s", [self.database])

    # The locks

    def try_lock(self, session: Session) -> LockTry:
        """See the base. To the transaction's end, in the lease database, where nobody else may connect."""
        taken = session.value("SELECT pg_catalog.pg_try_advisory_xact_lock(%s)", [self.key])
        return LockTry(taken=bool(taken))

    def look_at_lock(self, session: Session) -> LockTry:
        """See the base."""
        return self.lock(session, 1)

    def lock(self, session: Session, seconds: int) -> LockTry:
        """See the base."""
        return take_lock(session, self.key, seconds)

    def lock_group(self, session: Session, *, in_table: bool) -> LockTry:
        """See the base."""
        if not in_table:
            return take_lock(session, self._group_key, 1)
        session.execute("SELECT pg_catalog.pg_advisory_lock(%s)", [self._group_key])
        return LockTry(taken=True)

    def holds_lock(self, session: Session) -> bool:
        """See the base."""
        try:
            return bool(
                session.value(
                    "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted "
                    "AND pid = pg_catalog.pg_backend_pid() AND objsubid = 1 "
                    "AND (classid::bigint << 32 | objid::bigint) = %s",
                    [self.key],
                )
            )
        except psycopg.OperationalError as error:
            raise SessionGone(describe_database_error(error)) from None

    def held_by_strangers(self, who: str) -> str:
        """See the base."""
        login = self.server.connection.login
        return f"A lock of Env Sync on {self.where} is held by {who}, not by role {login}"

    def end_earlier_attempts(self, session: Session) -> bool:
        """See the base."""
        ended = session.execute(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_locks "
            "WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
            "AND (classid::bigint << 32 | objid::bigint) = %s AND pid <> pg_catalog.pg_backend_pid() "
            "AND database = (SELECT oid FROM pg_catalog.pg_database "
            "WHERE datname = pg_catalog.current_database()) "
            "AND pid IN (SELECT pid FROM pg_catalog.pg_stat_activity WHERE usename = current_user)",
            [self._group_key],
        )
        return bool(ended)

    # The lease database

    def open_table(self, *, make: bool, without_table: bool) -> Session | None:
        """See the base."""
        name = self.server.lease_database
        try:
            session = self.server.open(name)
        except NoSuchDatabase:
            if not make and not self._half_made():
                return None
            if not self._make_database(without_table=without_table):
                return None
            session = self.server.open(name)
        except AccessRefused:
            # Closed by another process that makes it now, or that was killed while it did; or not ours.
            if self._half_made():
                self._make_database(without_table=without_table)
            session = self.server.open(name)
        try:
            with plain_errors(f"The lease database {name} on {self.server}"):
                self._refuse(against_database(session, name))
                self._make_table(session)
        except BaseException:
            session.close()
            raise
        return session

    def _refuse(self, why: str | None) -> None:
        """Raises LeaseRefused where there is a reason."""
        if why is not None:
            raise LeaseRefused(refused(self.server, why))

    def _half_made(self) -> bool:
        """Whether whoever made the lease database was killed before it could be used.

        Raises LeaseRefused where it is not ours.
        """
        name = self.server.lease_database
        with (
            self.server.session(self.server.maintenance_database) as session,
            plain_errors(f"The lease database {name} on {self.server}"),
        ):
            self._refuse(against_database(session, name))
            return bool(
                session.value(
                    "SELECT NOT datallowconn FROM pg_catalog.pg_database WHERE datname = %s", [name]
                )
            )

    def open_without_table(self) -> Session:
        """See the base."""
        return self.server.open(self.server.maintenance_database)

    def may_make_databases(self) -> bool:
        """See the base."""
        with self.server.session(self.server.maintenance_database) as session:
            return bool(
                session.value(
                    "SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"
                )
            )

    def _make_database(self, *, without_table: bool) -> bool:
        """Make the lease database, closed to all others from its first moment; False where it may not be."""
        name = self.server.lease_database
        if not self.may_make_databases():
            if without_table:
                return False
            raise AccessRefused(
                f"Role {self.server.connection.login} may not make databases on {self.server}, where Env "
                f"Sync keeps its leases in database {name} and restores into copies: ALTER ROLE with "
                "CREATEDB."
            )
        identifier = sql.Identifier(name)
        with (
            self.server.session(self.server.maintenance_database) as session,
            plain_errors(f"Making the lease database {name} on {self.server}"),
        ):
            # One maker at a time; the lock is gone with the session.
            while self.heed(take_lock(session, MAKING, 1)).held:
                pass
            there = "SELECT count(*) FROM pg_catalog.pg_database WHERE datname = %s"
            if not session.value(there, [name]):
                with contextlib.suppress(errors.DuplicateDatabase, errors.UniqueViolation):
                    session.execute(
                        sql.SQL("CREATE DATABASE {} TEMPLATE template0 ALLOW_CONNECTIONS false").format(
                            identifier
                        )
                    )
            self._refuse(against_database(session, name))
            with session.transaction():
                session.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(identifier))
                session.execute(
                    sql.SQL("COMMENT ON DATABASE {} IS 'Env Sync: who may touch which database now'").format(
                        identifier
                    )
                )
                session.execute(_allow(name, True))
        return True

    def _make_table(self, session: Session) -> None:
        if not table_is_there(session):
            with session.transaction():
                session.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", [MAKING])
                session.execute(make_table())
        self._refuse(against_table(session))


def _allow(database: str, allowed: bool) -> sql.Composed:
    return sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
        sql.Identifier(database), sql.SQL("true" if allowed else "false")
    )
