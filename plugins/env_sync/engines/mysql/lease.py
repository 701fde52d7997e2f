"""The lease: who may touch a live database now, kept on the server that holds it.

A row in a small database of its own says who holds it between steps; a named lock of a session there
(GET_LOCK) says who is at work right now, and is gone in the instant in which that process is. Everything is
decided on the server's clock.
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

import pymysql
from attrs import frozen

from env_sync.core.errors import AccessRefused, LeaseHeld, LeaseLost, NoSuchDatabase
from env_sync.engines.base.contract import Holder
from env_sync.engines.base.renewing import renewing
from env_sync.engines.base.strange_locks import warn_of_strange_lock
from env_sync.engines.mysql.access.own_grants import own_grants
from env_sync.engines.mysql.client import described
from env_sync.engines.mysql.identifiers import quoted
from env_sync.engines.mysql.lease_database import TABLES, check_ours
from env_sync.engines.mysql.named_locks import Lock, LockHolder, holder_of, take_lock
from env_sync.engines.mysql.session import Server, Session, plain_errors

WAIT = 60.0
"""Seconds that a step waits for another process that is at work on its database."""
GIVE_WAY = 10.0
"""Seconds after which the session of an earlier attempt of the same group is ended; it needs about two."""
RENEW_AT_MOST = 60.0

MAKE_TABLES = (
    """CREATE TABLE IF NOT EXISTS lease (
    `database` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    run VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `group` VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    attempt VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    step VARCHAR(50) NOT NULL,
    host VARCHAR(255) NOT NULL,
    pid BIGINT NOT NULL,
    taken_at DATETIME(6) NOT NULL,
    renewed_at DATETIME(6) NOT NULL,
    expires_at DATETIME(6) NOT NULL
) ENGINE=InnoDB""",
    # What a promotion that did not end had begun, and which previous is the one that was live.
    """CREATE TABLE IF NOT EXISTS journal (
    `database` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    promotion LONGTEXT CHARACTER SET utf8mb4 NOT NULL
) ENGINE=InnoDB""",
    """CREATE TABLE IF NOT EXISTS was_live (
    `database` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    token VARCHAR(64) NOT NULL
) ENGINE=InnoDB""",
)
COLUMNS = "run, `group`, attempt, step, host, pid, taken_at, expires_at"
TAKING = "env_sync take a lease"
_MINE = "`database` = %s AND run = %s AND `group` = %s AND attempt = %s"


def _key(*parts: str) -> str:
    """The name of a lock, the same for every process; at most 64 characters."""
    return "env_sync " + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


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

    What only the holder may do is done in `session`: it carries the named lock, so a process that has lost
    the lock has lost the means as well.
    """

    def __init__(self, session: Session, leases: LeaseManager, *, in_table: bool) -> None:
        self.session = session
        self.in_table = in_table
        self.locked = True
        """Whether the session carries the named lock; False where a stranger holds it."""
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
        """Raises LeaseLost unless the named lock and the row are still this holder's."""
        try:
            held = not self.locked or self.session.value(
                "SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", [self._leases.key]
            )
        except pymysql.err.MySQLError as error:
            raise LeaseLost(
                f"The session that held the lease on {self._leases.where} is gone ({described(error)}): "
                f"another "
                "process may have been at work meanwhile. Run the group again from its start gate."
            ) from None
        if not held:
            raise LeaseLost(f"The lock of the lease on {self._leases.where} is gone: run the group again.")
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

        `without_table`: where this account may not make the lease database, the named lock alone will do.
        """
        session = self._open_table(make=True, without_table=without_table)
        if session is None:
            self._look_at_lock()
            return
        with contextlib.closing(session), plain_errors(f"The lease on {self.where}"):
            if self._take_lock(session, TAKING, WAIT) is Lock.HELD:
                raise LeaseHeld(
                    f"Another process takes a lease on {self.server} and does not end: try again."
                )
            # The locks are gone with the session.
            with session.transaction():
                row = self._row(session)
                at_rest = self._take_lock(session, self.key, 0) is not Lock.HELD
                now = session.value("SELECT NOW(6)")
                ours = row is not None and row.belongs_to(self.holder)
                if row is not None and not ours and (row.expires_at > now or not at_rest):
                    lapsed = (
                        "" if row.expires_at > now else " It has lapsed, but its process is still at work."
                    )
                    raise LeaseHeld(
                        f"The lease on {self.where} is held by {row}.{lapsed} Wait until it is given back, "
                        f"or "
                        "end that run first."
                    )
                if row is None or row.expires_at <= now:
                    self._count(session, at_most)
                self._write(session)

    def release(self) -> None:
        """Give it back."""
        session = self._open_table(make=False, without_table=True)
        if session is None:
            return
        with contextlib.closing(session), session.uninterrupted(), plain_errors(f"The lease on {self.where}"):
            session.execute(
                "DELETE FROM lease WHERE `database` = %s AND run = %s AND `group` = %s",
                [self.database, self.holder.run, self.holder.group],
            )

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
            session = self.server.open()
        with contextlib.closing(session):
            hold = HeldLease(session, self, in_table=in_table)
            with plain_errors(f"The lease on {self.where}"):
                if in_table:
                    self.renew(session, None)
                hold.locked = self._lock(session)
                if in_table:
                    self.renew(session, "at work")
            with self._renewing() if in_table else contextlib.nullcontext():
                yield hold
            with plain_errors(f"The lease on {self.where}"):
                hold.check()

    def renew(self, session: Session, step: str | None) -> None:
        """Move its end into the future; `step` None keeps what is written. Raises LeaseLost."""
        session.execute(
            "UPDATE lease SET renewed_at = NOW(6), expires_at = NOW(6) + INTERVAL %s MICROSECOND, "
            f"step = COALESCE(%s, step), host = %s, pid = %s WHERE {_MINE}",
            [self._microseconds, step, socket.gethostname(), os.getpid(), *self._identity],
        )
        if not session.value(f"SELECT COUNT(*) FROM lease WHERE {_MINE}", self._identity):
            row = self._row(session)
            holder = f"is held by {row}" if row else "was given back"
            newer = " That is a newer attempt of this group." if row and row.belongs_to(self.holder) else ""
            raise LeaseLost(
                f"The lease on {self.where} {holder}, not by {self.holder} attempt "
                f"{self.holder.attempt}.{newer} "
                "This step stops; run the group again from its start gate if it should not have."
            )

    def lock_alone(self, session: Session) -> bool:
        """Take the named lock again after the session that had it was lost; False where another has it."""
        return (
            self._take_lock(session, self.key, 10) is not Lock.HELD
            and (row := self._row(session)) is not None
            and row.belongs_to(self.holder)
        )

    # The row and the locks

    @property
    def _identity(self) -> list[str]:
        return [self.database, self.holder.run, self.holder.group, self.holder.attempt]

    @property
    def _microseconds(self) -> int:
        return int(self._lifetime.total_seconds() * 1_000_000)

    def _row(self, session: Session) -> Row | None:
        rows = session.execute(
            f"SELECT {COLUMNS} FROM lease WHERE `database` = %s FOR UPDATE", [self.database]
        )
        if not rows:
            return None
        run, group, attempt, step, host, pid, taken_at, expires_at = rows[0]
        return Row(
            run=run,
            group=group,
            attempt=attempt,
            step=step,
            host=host,
            pid=pid,
            taken_at=taken_at,
            expires_at=expires_at,
        )

    def _count(self, session: Session, at_most: int) -> None:
        others = session.execute(
            "SELECT `database`, run, `group`, expires_at FROM lease WHERE expires_at > NOW(6) "
            "AND `database` <> %s ORDER BY taken_at",
            [self.database],
        )
        if len(others) >= at_most:
            named = ", ".join(
                f"{database} by {run} {group} (lapses at {_moment(expires)})"
                for database, run, group, expires in others
            )
            raise LeaseHeld(
                f"{len(others)} leases are held on {self.server}, which is to have {at_most} at the same "
                f"time: "
                f"{named}. Wait until one is given back."
            )

    def _write(self, session: Session) -> None:
        same = "run = VALUES(run) AND `group` = VALUES(`group`) AND attempt = VALUES(attempt)"
        session.execute(
            "INSERT INTO lease (`database`, run, `group`, attempt, step, host, pid, taken_at, renewed_at, "
            "expires_at) "
            "VALUES (%s, %s, %s, %s, '', %s, %s, NOW(6), NOW(6), NOW(6) + INTERVAL %s MICROSECOND) "
            # Assigned from left to right: taken_at compares what the row still says.
            f"ON DUPLICATE KEY UPDATE taken_at = IF({same}, taken_at, VALUES(taken_at)), run = VALUES(run), "
            "`group` = VALUES(`group`), attempt = VALUES(attempt), step = VALUES(step), host = VALUES(host), "
            "pid = VALUES(pid), renewed_at = VALUES(renewed_at), expires_at = VALUES(expires_at)",
            [*self._identity, socket.gethostname(), os.getpid(), self._microseconds],
        )

    def _take_lock(self, session: Session, key: str, wait: float) -> Lock:
        """Take a named lock; that of a stranger is a warning and counts for nothing: anybody may take one."""
        taken = take_lock(session, key, wait)
        if taken is Lock.STRANGE and (holder := holder_of(session, key)) is not None and not holder.ours:
            self._warn_of(holder)
        return taken

    def _warn_of(self, holder: LockHolder) -> None:
        login = self.server.connection.login
        held = (
            f"{holder} holds a named lock of the lease on {self.where}, and is not Env Sync's account {login}"
        )
        warn_of_strange_lock(self.warnings, self._log, held)

    def _lock(self, session: Session) -> bool:
        """Take the named lock; an earlier attempt of the same group is made to give way.

        False where a stranger has it.
        """
        began = time.monotonic()
        while (taken := self._take_lock(session, self.key, 1)) is Lock.HELD:
            waited = time.monotonic() - began
            if waited > WAIT:
                other = session.value("SELECT IS_USED_LOCK(%s)", [self.key])
                raise LeaseHeld(
                    f"Another process is at work on {self.where} (session {other or 'just ended'}) and was "
                    f"not "
                    f"done within {WAIT:.0f} seconds. Wait for it, or end its run, and run this step again."
                )
            if waited > GIVE_WAY:
                self._end_earlier_attempt(session)
        self._take_lock(session, self._group_key, 10)
        return taken is Lock.TAKEN

    def _end_earlier_attempt(self, session: Session) -> None:
        other, of_group = session.execute(
            "SELECT IS_USED_LOCK(%s), IS_USED_LOCK(%s)", [self.key, self._group_key]
        )[0]
        if other is None or other != of_group:
            return
        # It may end by itself in this moment.
        with contextlib.suppress(pymysql.err.OperationalError):
            session.execute(f"KILL {int(other)}")
        self._log.warning(
            "An earlier attempt of %s was still at work on %s; it was ended.", self.holder, self.where
        )

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
        """A session where the tables are; None where there are none that may, or need, be made."""
        name = self.server.lease_database
        try:
            session = self.server.open(name)
        except NoSuchDatabase:
            session = None
        except AccessRefused:
            # Said as well of a database that is not there, to an account that may not make it.
            if without_table and self._can_log_in():
                return None
            raise
        if session is None:
            if not make:
                return None
            session = self._make_database(without_table=without_table)
            if session is None:
                return None
        try:
            with plain_errors(f"The lease database {name} on {self.server}"):
                if without_table and not own_grants(session).may("UPDATE", name):
                    # It reads everything, and writes nothing.
                    session.close()
                    return None
                check_ours(session, name)
                self._make_tables(session)
        except BaseException:
            session.close()
            raise
        return session

    def _can_log_in(self) -> bool:
        self.server.open().close()
        return True

    def _may_make_databases(self) -> bool:
        """Whether the account has CREATE on everything, or on the lease database."""
        with self.server.session() as session:
            return own_grants(session).may("CREATE", self.server.lease_database)

    def _make_database(self, *, without_table: bool) -> Session | None:
        name = self.server.lease_database
        if without_table and not self._may_make_databases():
            return None
        try:
            with (
                self.server.session() as session,
                plain_errors(f"Making the lease database {name} on {self.server}"),
            ):
                # Else it would be there for whoever waits for it.
                check_ours(session, name)
                session.execute(f"CREATE DATABASE IF NOT EXISTS {quoted(name)} CHARACTER SET utf8mb4")
            return self.server.open(name)
        except AccessRefused as refused:
            if without_table:
                return None
            raise AccessRefused(
                f"{refused} Env Sync keeps in database {name} who may touch which database, and restores "
                f"into "
                f"copies: account {self.server.connection.login} needs the grants that docs/mysql.md lists."
            ) from None

    def _make_tables(self, session: Session) -> None:
        there = {name for (name,) in session.execute("SHOW TABLES")}
        for statement, name in zip(MAKE_TABLES, TABLES, strict=True):
            if name not in there:
                session.execute(statement)

    def _look_at_lock(self) -> None:
        """Without a table: raises LeaseHeld where a process is at work on the database."""
        with self.server.session() as session, plain_errors(f"The lease on {self.where}"):
            other = holder_of(session, self.key)
            if other is not None and other.ours:
                raise LeaseHeld(
                    f"Another process is at work on {self.where}: session {other.session}. Wait for it."
                )
            if other is not None:
                self._warn_of(other)


def _moment(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"
