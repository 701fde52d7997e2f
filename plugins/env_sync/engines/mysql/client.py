"""Connecting to a server with PyMySQL, and what its errors mean.

PyMySQL is taken rather than mysql-connector-python: it is pure Python under the MIT licence, speaks to MySQL
and MariaDB alike, and sends a statement as the bytes that it is, which a restore needs.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pymysql
from pymysql.constants import CR, ER

from env_sync.core.errors import AccessRefused, EnvSyncError, NoSuchDatabase, ServerUnreachable
from env_sync.core.redact import describe_mysql_error
from env_sync.engines.base.contract import ServerConnection

CONNECT_TIMEOUT = 15
"""Seconds to wait for a server to answer."""
SSL_FILES = {"ssl_ca": "cafile", "ssl_cert": "certfile", "ssl_key": "keyfile"}
_WITHOUT_IDENTITY = ("REQUIRED", "VERIFY_CA")

GONE = frozenset(
    {
        *(CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, CR.CR_CONN_HOST_ERROR, CR.CR_CONNECTION_ERROR),
        *(CR.CR_SERVER_LOST_EXTENDED, CR.CR_UNKNOWN_HOST, CR.CR_SERVER_HANDSHAKE_ERR),
        # The server shuts down, or somebody ended the session there.
        *(ER.SERVER_SHUTDOWN, 1927, 3169, 4031),
        *(ER.CON_COUNT_ERROR, ER.TOO_MANY_USER_CONNECTIONS),
        0,
    }
)
KEEPALIVES = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 6}
"""Seconds, and how often: a session that waits for hours, as that of the lease does, is not forgotten by a
firewall or load balancer between, and one whose server is gone ends. The system would wait for two hours."""
REFUSED = frozenset(
    {
        *(ER.DBACCESS_DENIED_ERROR, ER.ACCESS_DENIED_ERROR, ER.TABLEACCESS_DENIED_ERROR),
        *(ER.COLUMNACCESS_DENIED_ERROR, ER.SPECIFIC_ACCESS_DENIED_ERROR, ER.PROCACCESS_DENIED_ERROR),
        *(ER.HOST_NOT_PRIVILEGED, ER.HOST_IS_BLOCKED, 1095, 1251, 1290, 1410, 1419, 1698, 1836),
        *(1820, 1862, 3118, 3159, 4151),
    }
)
READ_ONLY = frozenset({1290, 1836})
"""An option of the server forbids it: that one, where the text says so."""
NO_DATABASE = frozenset({ER.BAD_DB_ERROR})
LOCKED = frozenset({ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK})


def connect(
    connection: ServerConnection, database: str | None, *, program: str, timeout: int = CONNECT_TIMEOUT
) -> pymysql.Connection[Any]:
    """A session in autocommit, for the caller to close.

    Raises NoSuchDatabase, AccessRefused, ServerUnreachable.
    """
    try:
        made = pymysql.connect(
            host=connection.host,
            port=connection.port or 3306,
            user=connection.login,
            password=connection.password.reveal(),
            database=database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=timeout,
            local_infile=False,
            max_allowed_packet=1 << 30,
            program_name=program,
            ssl=tls(connection),
        )
        for option, value in KEEPALIVES.items():
            made._sock.setsockopt(socket.IPPROTO_TCP, option, value)
        return made
    except (pymysql.err.MySQLError, OSError, RuntimeError) as error:
        raise connection_error(error, connection, database) from None


def tls(connection: ServerConnection) -> ssl.SSLContext | None:
    """What the extra asks for: `ssl_ca`, `ssl_cert`, `ssl_key`, and `ssl_mode` as MySQL's programs have it.

    With a certificate of an authority the server's is checked against it, and its name unless `ssl_mode` is
    VERIFY_CA or REQUIRED. Raises ServerUnreachable where a file cannot be read.
    """
    extra, mode = connection.extra, str(connection.extra.get("ssl_mode") or "").upper()
    if not mode and not extra.get("ssl_ca"):
        return None
    try:
        context = ssl.create_default_context(cafile=extra.get("ssl_ca"))
        context.check_hostname = mode not in _WITHOUT_IDENTITY
        if mode == "REQUIRED":
            context.verify_mode = ssl.CERT_NONE
        if extra.get("ssl_cert"):
            context.load_cert_chain(extra["ssl_cert"], extra.get("ssl_key"))
    except (OSError, ssl.SSLError) as problem:
        raise ServerUnreachable(
            f"A file of {', '.join(SSL_FILES)} in the extra of connection {connection.connection_id} cannot "
            f"be used: {problem.strerror or type(problem).__name__}. Put it on every worker, or correct its "
            "path."
        ) from None
    return context


def address(connection: ServerConnection) -> str:
    """Host and port, for messages."""
    return f"{connection.host}{f':{connection.port}' if connection.port else ''}"


def code_of(error: BaseException) -> int | None:
    """The number of an error of the server or the client library; None where it has none."""
    number = error.args[0] if isinstance(error, pymysql.err.MySQLError) and error.args else None
    return number if isinstance(number, int) else None


def said_by(error: pymysql.err.MySQLError) -> str:
    """The text of an error, raw."""
    return str(error.args[1]) if len(error.args) > 1 else ""


def described(
    error: pymysql.err.MySQLError,
    known: frozenset[str] | set[str] = frozenset(),
    *,
    strict: bool = False,
) -> str:
    """What happened, without any value of a row. `strict`: see `redact.describe_database_error`."""
    return describe_mysql_error(code_of(error), said_by(error), known, strict=strict)


def server_is_gone(error: BaseException) -> bool:
    """Whether an error tells that the server, or the connection to it, went away."""
    return isinstance(error, pymysql.err.MySQLError) and code_of(error) in GONE


def connection_error(
    error: BaseException, connection: ServerConnection, database: str | None
) -> EnvSyncError:
    """The error for a connection that was not made; no row is read before that."""
    code = code_of(error)
    server, what = address(connection), f"database {database}" if database else "the server"
    if code in NO_DATABASE:
        return NoSuchDatabase(
            f"Server {server} has no database {database} (connection {connection.connection_id})."
        )
    if code in REFUSED or (code is None and isinstance(error, RuntimeError)):
        return AccessRefused(
            f"Server {server} refused account {connection.login} access to {what} (error {code}). Check "
            f"login, password and extra of connection {connection.connection_id}, and the account's host "
            "and grants."
        )
    said = f"error {code}" if code else type(error).__name__
    return ServerUnreachable(
        f"Server {server} could not be reached for {what}: {said}. Check that it runs, and host and port of "
        f"connection {connection.connection_id}."
    )
