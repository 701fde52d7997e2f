"""The lease on a live database: MySQL's words for it.

The session lock is a named one (GET_LOCK). The rules are in `base/session_lease.py`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence

import pymysql

from env_sync.core.errors import AccessRefused, LeaseHeld, NoSuchDatabase
from env_sync.engines.base import session_lease
from env_sync.engines.base.contract import Holder
from env_sync.engines.base.session_lease import OtherLease, Row, SessionGone
from env_sync.engines.base.strange_locks import LockTry
from env_sync.engines.mysql.access.own_grants import own_grants
from env_sync.engines.mysql.client import described
from env_sync.engines.mysql.identifiers import quoted
from env_sync.engines.mysql.lease_database import TABLES, check_ours
from env_sync.engines.mysql.named_locks import holder_of, take_lock
from env_sync.engines.mysql.session import Server, Session, clock, plain_errors

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


HeldLease = session_lease.HeldLease[Session]


class LeaseManager(session_lease.LeaseManager[Session, Row]):
    """The lease on one live database, as one holder sees it."""

    server: Server

    def __init__(
        self, server: Server, database: str, holder: Holder, lifetime: dt.timedelta, log: logging.Logger
    ) -> None:
        super().__init__(server, database, holder, lifetime, log)
        self.key = _key("database", database)
        self._group_key = _key("group", database, holder.run, holder.group)

    # The row

    @property
    def _microseconds(self) -> int:
        return int(self.lifetime.total_seconds() * 1_000_000)

    def errors(self, where: str) -> contextlib.AbstractContextManager[None]:
        """See the base."""
        return plain_errors(where)

    @contextlib.contextmanager
    def taking(self, session: Session) -> Iterator[None]:
        """See the base."""
        if self.heed(take_lock(session, TAKING, session_lease.WAIT)).held:
            raise LeaseHeld(f"Another process takes a lease on {self.server} and does not end: try again.")
        # The locks are gone with the session.
        with session.transaction():
            yield

    def now(self, session: Session) -> dt.datetime:
        """See the base."""
        return clock(session)

    def row(self, session: Session) -> Row | None:
        """See the base."""
        rows = session.execute(
            f"SELECT {COLUMNS} FROM lease WHERE `database` = %s FOR UPDATE", [self.database]
        )
        if not rows:
            return None
        run, group, attempt, step, host, pid, taken_at, expires_at = rows[0]
        return Row(
            holder=Holder(run=run, group=group, attempt=attempt),
            step=step,
            host=host,
            pid=pid,
            taken_at=_in_utc(taken_at),
            expires_at=_in_utc(expires_at),
        )

    def others(self, session: Session) -> Sequence[OtherLease]:
        """See the base."""
        rows = session.execute(
            "SELECT `database`, run, `group`, expires_at FROM lease WHERE expires_at > NOW(6) "
            "AND `database` <> %s ORDER BY taken_at",
            [self.database],
        )
        return [
            OtherLease(database=database, run=run, group=group, expires_at=_in_utc(expires))
            for database, run, group, expires in rows
        ]

    def write(self, session: Session) -> None:
        """See the base."""
        same = "run = VALUES(run) AND `group` = VALUES(`group`) AND attempt = VALUES(attempt)"
        session.execute(
            "INSERT INTO lease (`database`, run, `group`, attempt, step, host, pid, taken_at, renewed_at, "
            "expires_at) "
            "VALUES (%s, %s, %s, %s, '', %s, %s, NOW(6), NOW(6), NOW(6) + INTERVAL %s MICROSECOND) "
            # Assigned from left to right: taken_at compares what the row still says.
            f"ON DUPLICATE KEY UPDATE taken_at = IF({same}, taken_at, VALUES(taken_at)), run = VALUES(run), "
            "`group` = VALUES(`group`), attempt = VALUES(attempt), step = VALUES(step), host = VALUES(host), "
            "pid = VALUES(pid), renewed_at = VALUES(renewed_at), expires_at = VALUES(expires_at)",
            [*self.identity, socket.gethostname(), os.getpid(), self._microseconds],
        )

    def extend(self, session: Session, step: str | None) -> bool:
        """See the base."""
        session.execute(
            "UPDATE lease SET renewed_at = NOW(6), expires_at = NOW(6) + INTERVAL %s MICROSECOND, "
            f"step = COALESCE(%s, step), host = %s, pid = %s WHERE {_MINE}",
            [self._microseconds, step, socket.gethostname(), os.getpid(), *self.identity],
        )
        return bool(session.value(f"SELECT COUNT(*) FROM lease WHERE {_MINE}", self.identity))

    def delete(self, session: Session) -> None:
        """See the base."""
        session.execute(
            "DELETE FROM lease WHERE `database` = %s AND run = %s AND `group` = %s",
            [self.database, self.holder.run, self.holder.group],
        )

    # The locks

    def try_lock(self, session: Session) -> LockTry:
        """See the base."""
        return take_lock(session, self.key, 0)

    def look_at_lock(self, session: Session) -> LockTry:
        """See the base."""
        other = holder_of(session, self.key)
        return LockTry(taken=other is None, instead=(other,) if other else ())

    def lock(self, session: Session, seconds: int) -> LockTry:
        """See the base."""
        return take_lock(session, self.key, seconds)

    def lock_group(self, session: Session, *, in_table: bool) -> LockTry:
        """See the base."""
        return take_lock(session, self._group_key, 10)

    def holds_lock(self, session: Session) -> bool:
        """See the base."""
        try:
            return bool(session.value("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", [self.key]))
        except pymysql.err.MySQLError as error:
            raise SessionGone(described(error)) from None

    def held_by_strangers(self, who: str) -> str:
        """See the base."""
        login = self.server.connection.login
        return f"{who} holds a named lock of the lease on {self.where}, and is not Env Sync's account {login}"

    def end_earlier_attempts(self, session: Session) -> bool:
        """See the base."""
        other, of_group = session.execute(
            "SELECT IS_USED_LOCK(%s), IS_USED_LOCK(%s)", [self.key, self._group_key]
        )[0]
        if other is None or other != of_group:
            return False
        # It may end by itself in this moment.
        with contextlib.suppress(pymysql.err.OperationalError):
            session.execute(f"KILL {int(other)}")
        return True

    # The lease database

    def open_table(self, *, make: bool, without_table: bool) -> Session | None:
        """See the base."""
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

    def open_without_table(self) -> Session:
        """See the base."""
        return self.server.open()

    def _can_log_in(self) -> bool:
        self.server.open().close()
        return True

    def may_make_databases(self) -> bool:
        """Whether the account has CREATE on everything, or on the lease database."""
        with self.server.session() as session:
            return own_grants(session).may("CREATE", self.server.lease_database)

    def _make_database(self, *, without_table: bool) -> Session | None:
        name = self.server.lease_database
        if without_table and not self.may_make_databases():
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


def _in_utc(moment: dt.datetime) -> dt.datetime:
    """What the server tells: its sessions are in UTC, and it does not say so."""
    return moment.replace(tzinfo=dt.UTC)
