"""The lease: who may touch a live database now, kept on the server that holds it.

A row in a small database of its own says who holds it between steps; a session lock there says who is at
work right now, and is gone in the instant in which that process is. Everything is decided in SQL on the
server's clock. What closes live is written into the row in the same transaction, so whoever comes next knows
whether it was us.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import logging
import os
import socket
import time
from collections.abc import Iterator

import psycopg
from attrs import frozen
from psycopg import errors, sql

from env_sync.core.errors import AccessRefused, LeaseHeld, LeaseLost, LeaseRefused, NoSuchDatabase
from env_sync.core.redact import describe_database_error
from env_sync.engines.base.contract import Holder
from env_sync.engines.base.renewing import renewing
from env_sync.engines.base.strange_locks import warn_of_strange_lock
from env_sync.engines.postgresql.advisory_locks import Lock, LockHolder, holders, lock_within, take_lock
from env_sync.engines.postgresql.lease_table import (
    against_database,
    against_table,
    make_table,
    refused,
    table_is_there,
)
from env_sync.engines.postgresql.session import Server, Session, plain_errors

WAIT = 60.0
"""Seconds that a step waits for another process that is at work on its database."""
GIVE_WAY = 10.0
"""Seconds after which the session of an earlier attempt of the same group is ended; it needs about two."""
RENEW_AT_MOST = 60.0

COLUMNS = sql.SQL('run, "group", attempt, step, host, pid, taken_at, expires_at, live_closed_at')


def _key(*parts: str) -> int:
    """The number of an advisory lock, the same for every process: 64 bits, signed."""
    digest = hashlib.sha256("\0".join(("env_sync", *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


MAKING = _key("make the lease database")
TAKING = _key("take a lease")


@frozen(kw_only=True)
class Row:
    """A row of the table."""

    run: str
    group: str
    attempt: str
    step: str
    host: str
    pid: int
    taken_at: dt.datetime
    expires_at: dt.datetime
    live_closed_at: dt.datetime | None

    def belongs_to(self, holder: Holder) -> bool:
        """Whether this run and group hold it, in whatever attempt."""
        return (self.run, self.group) == (holder.run, holder.group)

    def __str__(self) -> str:
        step = f", step {self.step}" if self.step else ""
        return (
            f"{self.run} {self.group} (process {self.pid} on {self.host}{step}) since "
            f"{_moment(self.taken_at)}; "
            f"unless it is renewed it lapses at {_moment(self.expires_at)}"
        )


class HeldLease:
    """The lease while a step is at work.

    What only the holder may do is done in `session`: it carries the session lock, so a process that has
    lost the lock has lost the means as well.
    """

    def __init__(self, session: Session, leases: LeaseManager, *, in_table: bool) -> None:
        self.session = session
        self.in_table = in_table
        self.locked = True
        """Whether the session carries the session lock; False where a stranger holds it."""
        self.live_reopened = False
        """Whether live was found closed by an earlier step, and was reopened."""
        self._leases = leases

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found that should not be."""
        return tuple(self._leases.warnings)

    def note_step(self, step: str) -> None:
        """Write into the row what is being done."""
        if self.in_table:
            self._leases.renew(self.session, step)

    def check(self) -> None:
        """Raises LeaseLost unless the session lock and the row are still this holder's."""
        try:
            held = self.session.value(
                "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted "
                "AND pid = pg_catalog.pg_backend_pid() AND objsubid = 1 "
                "AND (classid::bigint << 32 | objid::bigint) = %s",
                [self._leases.key],
            )
        except psycopg.OperationalError as error:
            raise LeaseLost(
                f"The session that held the lease on {self._leases.where} is gone "
                f"({describe_database_error(error)}): another process may have been at work meanwhile. Run "
                "the group again from its start gate."
            ) from None
        if self.locked and not held:
            raise LeaseLost(
                f"The session lock of the lease on {self._leases.where} is gone: run the group again."
            )
        if self.in_table:
            self._leases.renew(self.session, None)


class LeaseManager:
    """The lease on one live database, as one holder sees it."""

    def __init__(
        self, server: Server, database: str, holder: Holder, lifetime: dt.timedelta, log: logging.Logger
    ) -> None:
        self.server = server
        self.database = database
        self.holder = holder
        self.key = _key("database", database)
        self.where = f"{database} on {server}"
        self._group_key = _key("group", database, holder.run, holder.group)
        self._lifetime = lifetime
        self._log = log
        self.warnings: list[str] = []

    # Taking and giving back

    def take(self, *, at_most: int, without_table: bool) -> None:
        """Take or renew it, or raise LeaseHeld. See `Engine.take_lease`.

        `without_table`: where this role may not make the lease database, the session lock alone will do.
        """
        session = self._open_table(make=True, without_table=without_table)
        if session is None:
            self._look_at_lock()
            return
        with contextlib.closing(session), plain_errors(f"The lease on {self.where}"), session.transaction():
            session.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", [TAKING])
            row = self._row(session)
            at_rest = session.value("SELECT pg_catalog.pg_try_advisory_xact_lock(%s)", [self.key])
            now = session.value("SELECT pg_catalog.clock_timestamp()")
            ours = row is not None and row.belongs_to(self.holder)
            if row is not None and not ours and (row.expires_at > now or not at_rest):
                lapsed = "" if row.expires_at > now else " It has lapsed, but its process is still at work."
                raise LeaseHeld(
                    f"The lease on {self.where} is held by {row}.{lapsed} Wait until it is given back, or "
                    "end that run first."
                )
            if row is None or row.expires_at <= now:
                self._count(session, at_most)
            if row is not None and row.live_closed_at and at_rest:
                self._reopen(session)
            self._write(session)

    def release(self) -> None:
        """Give it back. Live is reopened first, if a step of ours left it closed."""
        session = self._open_table(make=False, without_table=True)
        if session is None:
            return
        with (
            contextlib.closing(session),
            session.uninterrupted(),
            plain_errors(f"The lease on {self.where}"),
            session.transaction(),
        ):
            row = self._row(session)
            if row is None or not row.belongs_to(self.holder):
                return
            if row.live_closed_at:
                if not session.value("SELECT pg_catalog.pg_try_advisory_xact_lock(%s)", [self.key]):
                    raise LeaseHeld(
                        f"{self.database} is closed and the process that closed it is still at work: {row}. "
                        "The lease is kept, so that whoever takes it next reopens the database."
                    )
                self._reopen(session)
            session.execute("DELETE FROM public.lease WHERE database = %s", [self.database])

    # At work

    @contextlib.contextmanager
    def at_work(self, *, without_table: bool) -> Iterator[HeldLease]:
        """Hold it for the length of the block. See `Engine.at_work`."""
        session = self._open_table(make=False, without_table=True)
        in_table = session is not None
        if session is None:
            if not without_table or self._may_make_databases():
                raise LeaseLost(
                    f"There is no lease on {self.where}: run the group again from its start gate."
                )
            session = self.server.open(self.server.maintenance_database)
        with contextlib.closing(session):
            hold = HeldLease(session, self, in_table=in_table)
            with plain_errors(f"The lease on {self.where}"):
                if in_table:
                    self.renew(session, None)
                hold.locked = self._lock(session, alone=in_table)
                if in_table:
                    self.renew(session, "at work")
                    hold.live_reopened = self.reopen_live(session)
                    if hold.live_reopened:
                        self._log.warning(
                            "Database %s was closed, for an earlier promotion did not end; it was reopened.",
                            self.where,
                        )
            with self._renewing() if in_table else contextlib.nullcontext():
                yield hold
            with plain_errors(f"The lease on {self.where}"):
                hold.check()

    def renew(self, session: Session, step: str | None) -> None:
        """Move its end into the future; `step` None keeps what is written. Raises LeaseLost."""
        renewed = session.execute(
            "UPDATE public.lease SET renewed_at = pg_catalog.clock_timestamp(), "
            "expires_at = pg_catalog.clock_timestamp() + %s, "
            "step = coalesce(%s, step), host = %s, pid = %s "
            'WHERE database = %s AND run = %s AND "group" = %s AND attempt = %s RETURNING 1',
            [self._lifetime, step, socket.gethostname(), os.getpid(), *self._identity],
        )
        if not renewed:
            row = self._row(session)
            holder = f"is held by {row}" if row else "was given back"
            newer = " That is a newer attempt of this group." if row and row.belongs_to(self.holder) else ""
            raise LeaseLost(
                f"The lease on {self.where} {holder}, not by {self.holder} attempt "
                f"{self.holder.attempt}.{newer} This step stops; run the group again from its start gate if "
                "it should not have."
            )

    # Closing live

    def close_live(self, session: Session) -> dt.datetime:
        """Refuse new connections to live, and write down that it was us, in one transaction.

        Gives when. Raises LeaseLost where the row is not this attempt's.
        """
        with session.transaction():
            closed = session.execute(
                "UPDATE public.lease SET live_closed_at = pg_catalog.clock_timestamp() "
                'WHERE database = %s AND run = %s AND "group" = %s AND attempt = %s RETURNING live_closed_at',
                self._identity,
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
            self._identity,
        )
        if not rows:
            raise LeaseLost(f"The lease on {self.where} is no longer this attempt's; live is untouched.")

    def reopen_live(self, session: Session) -> bool:
        """Reopen live where the row says that we closed it; waits for a swap that is being committed."""
        with session.transaction():
            row = self._row(session)
            return row is not None and row.live_closed_at is not None and self._reopen(session)

    def reopen_alone(self, session: Session) -> bool:
        """The same on a session without the session lock, which it takes; False where another has it."""
        return self.lock_alone(session) and self.reopen_live(session)

    def lock_alone(self, session: Session) -> bool:
        """Take the session lock again after the session that had it was lost; False where another has it."""
        return (
            lock_within(session, self.key, 10)
            and (row := self._row(session)) is not None
            and row.belongs_to(self.holder)
        )

    def _reopen(self, session: Session) -> bool:
        closed = session.value(
            "SELECT NOT datallowconn FROM pg_catalog.pg_database WHERE datname = %s", [self.database]
        )
        if closed:
            session.execute(_allow(self.database, True))
        session.execute("UPDATE public.lease SET live_closed_at = NULL WHERE database = %s", [self.database])
        return bool(closed)

    # The row and the locks

    @property
    def _identity(self) -> list[str]:
        return [self.database, self.holder.run, self.holder.group, self.holder.attempt]

    def _row(self, session: Session) -> Row | None:
        statement = sql.SQL("SELECT {} FROM public.lease WHERE database = %s FOR UPDATE").format(COLUMNS)
        rows = session.execute(statement, [self.database])
        if not rows:
            return None
        run, group, attempt, step, host, pid, taken_at, expires_at, closed = rows[0]
        return Row(
            run=run,
            group=group,
            attempt=attempt,
            step=step,
            host=host,
            pid=pid,
            taken_at=taken_at,
            expires_at=expires_at,
            live_closed_at=closed,
        )

    def _count(self, session: Session, at_most: int) -> None:
        others = session.execute(
            'SELECT database, run, "group", expires_at FROM public.lease '
            "WHERE expires_at > pg_catalog.clock_timestamp() AND database <> %s ORDER BY taken_at",
            [self.database],
        )
        if len(others) >= at_most:
            named = ", ".join(
                f"{database} by {run} {group} (lapses at {_moment(expires)})"
                for database, run, group, expires in others
            )
            raise LeaseHeld(
                f"{len(others)} leases are held on {self.server}, which is to have {at_most} at the same "
                "time: "
                f"{named}. Wait until one is given back."
            )

    def _write(self, session: Session) -> None:
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
            [*self._identity, socket.gethostname(), os.getpid(), self._lifetime],
        )

    def _lock(self, session: Session, *, alone: bool) -> bool:
        """Take the session lock; an earlier attempt of the same group is made to give way.

        False where a stranger has it, which can be only where others may connect: not `alone`.
        """
        began = time.monotonic()
        while (taken := self._take_lock(session, self.key, 1)) is Lock.HELD:
            waited = time.monotonic() - began
            if waited > WAIT:
                raise LeaseHeld(
                    f"Another process is at work on {self.where} ({self._at_work_now(session)}) and was not "
                    f"done within {WAIT:.0f} seconds. Wait for it, or end its run, and run this step again."
                )
            if waited > GIVE_WAY:
                self._end_earlier_attempts(session)
        if alone:
            session.execute("SELECT pg_catalog.pg_advisory_lock(%s)", [self._group_key])
        else:
            self._take_lock(session, self._group_key, 1)
        return taken is Lock.TAKEN

    def _take_lock(self, session: Session, key: int, seconds: int) -> Lock:
        """Take a session lock; a stranger's is a warning and counts for nothing, for anybody may take one."""
        taken, instead = take_lock(session, key, seconds)
        if taken is Lock.STRANGE:
            self._warn_of(instead)
        return taken

    def _warn_of(self, strangers: tuple[LockHolder, ...]) -> None:
        who, login = ", ".join(map(str, strangers)), self.server.connection.login
        held = f"A lock of Env Sync on {self.where} is held by {who}, not by role {login}"
        warn_of_strange_lock(self.warnings, self._log, held)

    def _end_earlier_attempts(self, session: Session) -> None:
        ended = session.execute(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_locks "
            "WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
            "AND (classid::bigint << 32 | objid::bigint) = %s AND pid <> pg_catalog.pg_backend_pid() "
            "AND database = (SELECT oid FROM pg_catalog.pg_database "
            "WHERE datname = pg_catalog.current_database()) "
            "AND pid IN (SELECT pid FROM pg_catalog.pg_stat_activity WHERE usename = current_user)",
            [self._group_key],
        )
        if ended:
            self._log.warning(
                "An earlier attempt of %s was still at work on %s; it was ended.", self.holder, self.where
            )

    def _at_work_now(self, session: Session) -> str:
        return ", ".join(str(one) for one in holders(session, self.key)) or "just ended"

    def _renewing(self) -> contextlib.AbstractContextManager[None]:
        """Renew it now and then, in a session of its own each time, while the block runs."""

        def renew() -> None:
            with (
                plain_errors(f"The lease on {self.where}"),
                self.server.session(self.server.lease_database) as session,
                session.uninterrupted(),
            ):
                self.renew(session, None)

        return renewing(renew, min(self._lifetime.total_seconds() / 4, RENEW_AT_MOST), self._log)

    # The lease database

    def _open_table(self, *, make: bool, without_table: bool) -> Session | None:
        """A session where the table is; None where there is none and it may not, or need not, be made."""
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

    def _may_make_databases(self) -> bool:
        with self.server.session(self.server.maintenance_database) as session:
            return bool(
                session.value(
                    "SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"
                )
            )

    def _make_database(self, *, without_table: bool) -> bool:
        """Make the lease database, closed to all others from its first moment; False where it may not be."""
        name = self.server.lease_database
        if not self._may_make_databases():
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
            while self._take_lock(session, MAKING, 1) is Lock.HELD:
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

    def _look_at_lock(self) -> None:
        """Without a table: raises LeaseHeld where a process is at work on the database."""
        with (
            self.server.session(self.server.maintenance_database) as session,
            plain_errors(f"The lease on {self.where}"),
        ):
            if self._take_lock(session, self.key, 1) is Lock.HELD:
                raise LeaseHeld(
                    f"Another process is at work on {self.where}: {self._at_work_now(session)}. Wait for it."
                )


def _allow(database: str, allowed: bool) -> sql.Composed:
    return sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
        sql.Identifier(database), sql.SQL("true" if allowed else "false")
    )


def _moment(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%SZ}"
