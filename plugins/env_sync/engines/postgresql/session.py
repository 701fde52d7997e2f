"""Sessions on a server: statements that stop when the step is cancelled, and errors without row values."""

from __future__ import annotations

import _thread
import contextlib
import select
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from attrs import frozen
from psycopg import errors, pq, sql

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import AccessRefused, Cancelled, EnvSyncError, NoSuchDatabase, ServerUnreachable
from env_sync.core.redact import describe_database_error
from env_sync.domain.database_name import LEASE_DATABASE
from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.postgresql import client as libpq

Row = tuple[Any, ...]
Statement = str | sql.SQL | sql.Composed

SETTINGS_SINCE = {14: "idle_session_timeout", 17: "transaction_timeout"}
"""Time limits that older servers do not know, so that no session can begin with them."""
SET_AT_START = ("role", "local_preload_libraries")
"""Of libpq.SETTINGS what cannot, or need not, be set later."""
BEGAN_WITH = """
SELECT session_user, current_user, pg_catalog.current_setting('local_preload_libraries'),
    (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'row_security')
"""
"""As whom a session is at work, with whose libraries, and to what RESET would set row_security."""
REPEAT = 0.5
"""Seconds after which a cancel is sent again: one that reaches an idle session is lost."""


class Session:
    """One connection in autocommit. Statements stop, and raise `Cancelled`, when the step is cancelled."""

    def __init__(self, connection: psycopg.Connection[Row], cancellation: Cancellation) -> None:
        self._connection = connection
        self._cancellation = cancellation
        self._interruptible = True
        self.version = connection.info.server_version // 10000
        self.pid = connection.info.backend_pid

    def execute(
        self, statement: Statement, values: Sequence[object] | Mapping[str, object] | None = None
    ) -> list[Row]:
        """Run one statement and give its rows. Raises psycopg.Error, Cancelled."""
        with self._stopping():
            # Text from the server's own catalogs takes part in statements, always quoted by it or by sql.
            query: Any = statement
            cursor = self._connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def value(
        self, statement: Statement, values: Sequence[object] | Mapping[str, object] | None = None
    ) -> Any:
        """The first column of the first row; None where there is no row."""
        rows = self.execute(statement, values)
        return rows[0][0] if rows else None

    def script(self, text: str) -> list[pq.abc.PGresult]:
        """Send text as it is, of any number of statements; one result for each that was begun.

        The last one tells the error, if there is one. Where a statement wants to copy from or to the
        client the results end there, and the session is closed.
        """
        return self._sent(lambda pgconn: pgconn.send_query(text.encode()))

    def single(self, text: str) -> pq.abc.PGresult:
        """Send text as it is, which the server refuses where it is more than one statement; the result."""
        return self._sent(lambda pgconn: pgconn.send_query_params(text.encode(), None))[-1]

    def parse(self, text: str) -> pq.abc.PGresult:
        """Have the server read one statement and look up what it names; nothing is run. The result.

        Tables, columns, functions and types are looked up in SELECT, INSERT, UPDATE, DELETE, MERGE and
        CREATE TABLE ... AS; of any other statement only the grammar is checked.
        """
        return self._sent(lambda pgconn: pgconn.send_prepare(b"", text.encode()))[-1]

    def set_anew(self, *more: str) -> None:
        """Have the settings of every session again, and `more` statements that set others.

        What is set otherwise, by whomever, no longer is.
        """
        wanted = {
            **{name: value for name, value in libpq.SETTINGS.items() if name not in SET_AT_START},
            **{name: "0" for since, name in SETTINGS_SINCE.items() if self.version >= since},
            "client_encoding": "UTF8",
        }
        statements = [
            sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
            for name, value in wanted.items()
        ]
        begin = ("SET SESSION AUTHORIZATION DEFAULT", "RESET ROLE", "RESET ALL")
        self.execute(sql.SQL("; ").join([*map(sql.SQL, begin), *statements, *map(sql.SQL, more)]))

    def _sent(self, send: Callable[[pq.abc.PGconn], None]) -> list[pq.abc.PGresult]:
        pgconn = self._connection.pgconn
        results: list[pq.abc.PGresult] = []
        with self._stopping():
            send(pgconn)
            while True:
                while pgconn.flush():
                    select.select([pgconn.socket], [pgconn.socket], [])
                    pgconn.consume_input()
                while pgconn.is_busy():
                    select.select([pgconn.socket], [], [])
                    pgconn.consume_input()
                result = pgconn.get_result()
                if result is None:
                    return results
                results.append(result)
                if result.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH):
                    self.close()
                    return results

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit at the end of the block; roll back, or close the session, where it raises."""
        self.execute("BEGIN")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Roll back what is open; a session that cannot even do that is closed."""
        status = self.status
        if status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR):
            try:
                with self.uninterrupted():
                    self.execute("ROLLBACK")
            except psycopg.Error:
                self.close()
        elif status != pq.TransactionStatus.IDLE:
            self.close()

    @property
    def status(self) -> pq.TransactionStatus:
        """Whether a statement or a transaction is open."""
        return self._connection.info.transaction_status

    @property
    def usable(self) -> bool:
        """Whether it is open, and no statement or transaction is."""
        return not self._connection.closed and self.status == pq.TransactionStatus.IDLE

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
        self._connection.close()

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        if not self._interruptible:
            yield
            return
        done, sent = threading.Event(), threading.Event()
        started: list[int] = []

        def cancel() -> None:
            try:
                while not done.is_set():
                    # One that fails is sent again; where the server is gone the statement itself fails.
                    with contextlib.suppress(psycopg.Error):
                        self._connection.cancel_safe(timeout=2)
                    done.wait(REPEAT)
            finally:
                sent.set()

        def on_cancel() -> None:
            # Called from a signal handler, which must not wait for a server, nor for a lock that the
            # interrupted code may hold: threading.Thread.start takes one.
            if not started:
                started.append(_thread.start_new_thread(cancel, ()))

        try:
            with self._cancellation.calling(on_cancel):
                yield
        except psycopg.Error:
            if self._cancellation.cancelled:
                raise Cancelled from None
            raise
        finally:
            done.set()
            if started:
                # A cancel that is still under way must not hit the next statement.
                sent.wait()


@frozen(kw_only=True)
class Server:
    """A server, and how this step's sessions on it are called; `connect_timeout` in seconds."""

    connection: ServerConnection
    group: str
    cancellation: Cancellation
    connect_timeout: int = libpq.CONNECT_TIMEOUT

    @property
    def application_name(self) -> str:
        """`env_sync <group>`, as long as the server keeps it (63 bytes)."""
        return f"env_sync {self.group}".encode()[:63].decode(errors="ignore")

    @property
    def maintenance_database(self) -> str:
        """The database from which others are made."""
        return str(self.connection.extra.get("maintenance_database") or "postgres")

    @property
    def lease_database(self) -> str:
        """The database that holds the leases."""
        return str(self.connection.extra.get("lease_database") or LEASE_DATABASE)

    def __str__(self) -> str:
        port = f":{self.connection.port}" if self.connection.port else ""
        return f"{self.connection.host}{port}"

    def open(self, database: str, *, own_path: bool = False) -> Session:
        """A session for the caller to close. Raises NoSuchDatabase, AccessRefused, ServerUnreachable.

        With `own_path`, `SET search_path TO DEFAULT` gives what the database or the role is set to.
        """
        connection = libpq.connect(
            self.connection,
            database,
            application_name=self.application_name,
            timeout=self.connect_timeout,
            own_path=own_path,
        )
        try:
            connection.prepare_threshold = None
            session = Session(connection, self.cancellation)
            with session.uninterrupted(), plain_errors(f"Database {database} on {self}"):
                session.set_anew()
                self._check_beginning(session, database)
                if session.version >= 14:
                    # The statement of a process that was killed ends within a second. Not all systems can.
                    with contextlib.suppress(errors.InvalidParameterValue):
                        session.execute("SET client_connection_check_interval = '1s'")
        except BaseException:
            connection.close()
            raise
        return session

    def _check_beginning(self, session: Session, database: str) -> None:
        """Raises AccessRefused where a session is not its connection's role, or did not begin as we said."""
        [[login, role, libraries, row_security]] = session.execute(BEGAN_WITH)
        where = f"The session in database {database} on {self}"
        wanted = self.connection.login or login
        if not wanted == login == role:
            raise AccessRefused(
                f"{where} is that of role {role}, not of {wanted}: {libpq.dropped(self.connection)}"
            )
        if libraries:
            raise AccessRefused(
                f"{where} has loaded libraries to which the database or the role is set ({libraries}): "
                f"{libpq.dropped(self.connection)}"
            )
        if row_security != libpq.SETTINGS["row_security"]:
            raise AccessRefused(f"{where} does not have our settings: {libpq.dropped(self.connection)}")

    @contextlib.contextmanager
    def session(self, database: str, *, own_path: bool = False) -> Iterator[Session]:
        """The same for the length of a block."""
        session = self.open(database, own_path=own_path)
        try:
            yield session
        finally:
            session.close()


@contextlib.contextmanager
def plain_errors(
    where: str, otherwise: type[EnvSyncError] = EnvSyncError, known: Collection[str] = ()
) -> Iterator[None]:
    """Turn what psycopg raises in the block into an error of Env Sync that holds no row value.

    The raw error is not chained. `otherwise` is raised for what is neither access nor connection. `known` are
    names that its text may hold.
    """
    try:
        yield
    except psycopg.Error as error:
        raise plain_error(error, where, otherwise, known) from None


def server_is_gone(error: psycopg.Error) -> bool:
    """Whether an error tells that the server, or the connection to it, went away."""
    state = error.sqlstate or ""
    gone = state.startswith("08") or state in ("57P01", "57P02", "57P03")
    return gone or (not state and isinstance(error, psycopg.OperationalError))


def plain_error(
    error: psycopg.Error, where: str, otherwise: type[EnvSyncError], known: Collection[str] = ()
) -> EnvSyncError:
    """The error of Env Sync for one of psycopg; `where` begins its message."""
    text = f"{where}: {describe_database_error(error, known)}"
    state = error.sqlstate or ""
    if server_is_gone(error):
        return ServerUnreachable(text)
    if state == "42501" or state.startswith("28"):
        return AccessRefused(text)
    if state == "3D000":
        return NoSuchDatabase(text)
    return otherwise(text)
