"""Sessions on a server: statements that stop when the step is cancelled, and errors without row values."""

from __future__ import annotations

import _thread
import contextlib
import datetime as dt
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pymysql
from attrs import frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import AccessRefused, Cancelled, EnvSyncError, NoSuchDatabase, ServerUnreachable
from env_sync.domain.database_name import LEASE_DATABASE
from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.base.readers import accepted_by
from env_sync.engines.mysql import client
from env_sync.engines.mysql.client import (
    NO_DATABASE,
    READ_ONLY,
    REFUSED,
    code_of,
    described,
    said_by,
    server_is_gone,
)
from env_sync.engines.mysql.identifiers import quoted
from env_sync.engines.mysql.version import Family, ServerVersion, read_version

Row = tuple[Any, ...]

LONG = 31_536_000
"""A year in seconds: the limits of a step are the step's own."""
MODE = "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION"
SETTINGS = (
    f"SET SESSION wait_timeout = {LONG}, net_read_timeout = 3600, net_write_timeout = 3600, "
    f"lock_wait_timeout = 60, innodb_lock_wait_timeout = 60, sql_mode = '{MODE}', tx_isolation = "
    "'REPEATABLE-READ', foreign_key_checks = 1, unique_checks = 1, sql_safe_updates = 0, "
    "time_zone = '+00:00'"
)
OF_MARIADB = (
    "max_statement_time = 0, max_error_count = 0, long_query_time = 31536000, "
    "min_examined_row_limit = 4294967295"
)
"""MySQL lets only administrators have no warnings kept, or no statement, in which rows are, in a slow log."""
REPEAT = 0.5
"""Seconds after which a cancel is sent again: one that reaches an idle session is lost."""
_MATCHED = re.compile(rb"Rows matched: (\d+)")
PATIENCE = 4
"""How many cancels a server may leave without effect before the connection is cut."""


class Session:
    """One connection in autocommit. Statements stop, and raise `Cancelled`, when the step is cancelled."""

    def __init__(self, connection: pymysql.Connection[Any], server: Server) -> None:
        self._connection = connection
        self._server = server
        self._interruptible = True
        self.id: int = connection.thread_id()
        version = read_version(connection.get_server_info())
        self.version = version or ServerVersion(family=Family.MYSQL, number=(0, 0, 0))

    def execute(self, statement: str, values: Sequence[object] | None = None) -> list[Row]:
        """Run one statement and give its rows. `values` stand for each %s. Raises MySQLError, Cancelled."""
        with self._stopping(), self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    def value(self, statement: str, values: Sequence[object] | None = None) -> Any:
        """The first column of the first row; None where there is no row."""
        rows = self.execute(statement, values)
        return rows[0][0] if rows else None

    def send(self, statement: bytes) -> int:
        """Run one statement, sent as it is; what rows it gives are dropped one by one.

        How many rows it found to change, those included that had the wanted values before.
        """
        found = 0
        with self._stopping():
            self._connection.query(statement, unbuffered=True)
            while True:
                result = self._connection._result
                found += _rows_found(result)
                while result is not None and result.unbuffered_active:
                    result._read_rowdata_packet_unbuffered()
                if result is None or not result.has_next:
                    return found
                self._connection.next_result(unbuffered=True)

    def reset(self) -> None:
        """Set anew what an object that was made may have set otherwise."""
        self.execute("SET NAMES utf8mb4")
        self.execute("SET SESSION sql_mode = %s, time_zone = '+00:00'", [MODE])

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit at the end of the block; roll back, or close the session, where it raises."""
        self.execute("START TRANSACTION")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Roll back what is open; a session that cannot even do that is closed."""
        if not self._connection.open:
            return
        try:
            with self.uninterrupted():
                self.execute("ROLLBACK")
        except pymysql.err.MySQLError:
            self.close()

    @property
    def where(self) -> str:
        """The server, for messages."""
        return str(self._server)

    def accepted_names(self, key: str) -> frozenset[str]:
        """The names that the connection's extra accepts under a key. Raises AccessRefused for no list."""
        return accepted_by(self._server.connection, key)

    @property
    def usable(self) -> bool:
        """Whether the connection is open, as far as this side knows."""
        return bool(self._connection.open)

    @contextlib.contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Statements in the block run although the step was cancelled: to put things right."""
        before, self._interruptible = self._interruptible, False
        try:
            yield
        finally:
            self._interruptible = before

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(pymysql.err.MySQLError, OSError):
            self._connection.close()

    def cut(self) -> None:
        """Cut the connection, whatever another thread is doing with it, which fails then."""
        held: socket.socket | None = self._connection._sock
        if held is not None:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        if not self._interruptible:
            yield
            return
        done, sent = threading.Event(), threading.Event()
        started: list[int] = []

        def cancel() -> None:
            try:
                for attempt in range(PATIENCE + 1):
                    if done.is_set():
                        return
                    if attempt == PATIENCE or not self._server.kill_query(self.id):
                        self.cut()
                    done.wait(REPEAT)
            finally:
                sent.set()

        def on_cancel() -> None:
            # Called from a signal handler, which must not wait for a server, nor for a lock that the
            # interrupted code may hold: threading.Thread.start takes one.
            if not started:
                started.append(_thread.start_new_thread(cancel, ()))

        try:
            with self._server.cancellation.calling(on_cancel):
                yield
        except pymysql.err.MySQLError:
            if self._server.cancellation.cancelled:
                raise Cancelled from None
            raise
        finally:
            done.set()
            if started:
                # A cancel that is still under way must not hit the next statement.
                sent.wait()


@frozen(kw_only=True)
class Server:
    """A server, and whose sessions on it these are; `connect_timeout` in seconds."""

    connection: ServerConnection
    group: str
    cancellation: Cancellation
    connect_timeout: int = client.CONNECT_TIMEOUT

    @property
    def lease_database(self) -> str:
        """The database that holds the leases and the journal of promotions."""
        return str(self.connection.extra.get("lease_database") or LEASE_DATABASE)

    def __str__(self) -> str:
        return client.address(self.connection)

    def open(self, database: str | None = None) -> Session:
        """A session for the caller to close. Raises NoSuchDatabase, AccessRefused, ServerUnreachable."""
        connection = client.connect(
            self.connection, database, program=f"env_sync {self.group}", timeout=self.connect_timeout
        )
        try:
            session = Session(connection, self)
            with session.uninterrupted(), plain_errors(f"Server {self}"):
                renamed = session.version.mysql_from(8, 0)
                session.execute(
                    SETTINGS.replace("tx_isolation", "transaction_isolation") if renamed else SETTINGS
                )
                limits = OF_MARIADB if session.version.mariadb else "max_execution_time = 0"
                session.execute(f"SET SESSION {limits}")
                if session.version.mysql_from(8, 4):
                    # Older servers made foreign keys that point at a key which is not unique; to rename a
                    # table with one is refused as well.
                    session.execute("SET SESSION restrict_fk_on_non_standard_key = OFF")
        except BaseException:
            connection.close()
            raise
        return session

    @contextlib.contextmanager
    def session(self, database: str | None = None) -> Iterator[Session]:
        """The same for the length of a block."""
        session = self.open(database)
        try:
            yield session
        finally:
            session.close()

    def kill_query(self, session_id: int) -> bool:
        """End what a session of ours is running; False where the server could not be asked."""
        try:
            connection = client.connect(self.connection, None, program="env_sync cancel", timeout=2)
            with contextlib.closing(connection):
                connection.query(f"KILL QUERY {session_id}")
        except (EnvSyncError, pymysql.err.MySQLError):
            return False
        return True


def _rows_found(result: Any) -> int:
    """How many rows a statement found to change, by what the server says at its end.

    What it counts as affected of an UPDATE are only those that then had other values
    (https://dev.mysql.com/doc/c-api/8.4/en/mysql-info.html).
    """
    if result is None or result.field_count:
        return 0
    matched = _MATCHED.search(result.message or b"")
    return int(matched[1]) if matched else int(result.affected_rows)


@contextlib.contextmanager
def plain_errors(where: str, otherwise: type[EnvSyncError] = EnvSyncError) -> Iterator[None]:
    """Turn what PyMySQL raises in the block into an error of Env Sync that holds no row value.

    The raw error is not chained. `otherwise` is raised for what is neither access nor connection.
    """
    try:
        yield
    except pymysql.err.MySQLError as error:
        raise plain_error(error, where, otherwise) from None


def plain_error(error: pymysql.err.MySQLError, where: str, otherwise: type[EnvSyncError]) -> EnvSyncError:
    """The error of Env Sync for one of PyMySQL; `where` begins its message."""
    text = f"{where}: {described(error)}"
    if server_is_gone(error):
        return ServerUnreachable(f"{text}. See the server's log, and run the step again.")
    if code_of(error) in READ_ONLY and "read-only" in said_by(error):
        return AccessRefused(
            f"{where}: the server is read-only, a replica perhaps, or what was the primary before. Name the "
            "primary in the connection."
        )
    if code_of(error) in REFUSED:
        return AccessRefused(f"{text}. Grant the account what it lacks; docs/mysql.md lists it.")
    if code_of(error) in NO_DATABASE:
        return NoSuchDatabase(text)
    return otherwise(text)


def clock(session: Session) -> dt.datetime:
    """The server's clock, in UTC."""
    moment: dt.datetime = session.value("SELECT NOW(6)")
    return moment.replace(tzinfo=dt.UTC)


def exists(session: Session, database: str) -> bool:
    """Whether the server has a database of this name."""
    return bool(
        session.execute("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", [database])
    )


def drop_database(session: Session, database: str) -> bool:
    """Drop a database; False where there is none."""
    if not exists(session, database):
        return False
    session.execute(f"DROP DATABASE IF EXISTS {quoted(database)}")
    return True
