"""Connecting to a PostgreSQL server: the environment of its client programs, and sessions of our own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import psycopg

from env_sync.core.errors import AccessRefused, EnvSyncError, NoSuchDatabase, ServerUnreachable
from env_sync.core.redact import without_credentials
from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.base.malformed import wrong_setting

CONNECT_TIMEOUT = 15
"""Seconds to wait for a server to answer."""
KEEPALIVES = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6}
"""Seconds, and how often: a session that waits for hours, as that of the lease does, is not forgotten by a
firewall or load balancer between, and one whose server is gone ends. The system would wait for two hours."""
SETTINGS: Mapping[str, str] = {
    # Neither the owner of a database nor whoever may alter our role says as whom, and with what, we work.
    "role": "none",
    "local_preload_libraries": "",
    # Not even a restored function may stand in for one of the server's own.
    "search_path": "",
    # Messages below an error may hold row values, and nobody reads them.
    "client_min_messages": "error",
    # A step's time limit is the step's own.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    # A policy that would hide rows from a transformation makes it fail instead.
    "row_security": "off",
    # Literals end where transformation.py, and whatever quotes them, takes them to end.
    "standard_conforming_strings": "on",
}
"""What holds in every session, whatever the role or the database is set to.

Given when the session starts, these are also what RESET goes back to, and no ALTER DATABASE ... SET or ALTER
ROLE ... SET comes before them (https://www.postgresql.org/docs/current/config-setting.html).
"""
SSL_SETTINGS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl")
"""What a connection's extra may set, by libpq's names for it."""
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_NO_SUCH_DATABASE = re.compile(r'database ".*" does not exist')
_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|pg_hba\.conf rejects|"
    r"permission denied|"
    r'role ".*" does not exist|not permitted to log in|authentication method|certificate|'
    r"not currently accepting connections"
)
_NO_OPTIONS = re.compile(r"unsupported startup parameter|command-line options", re.IGNORECASE)
"""How PgBouncer and RDS Proxy refuse the options of a session."""
_WITHOUT_POOLER = "Give host and port of the server itself in connection {}."
_NOT_CONNECTED = re.compile(
    r"connection to server (?:at|on) .* failed|could not connect to|could not translate host name|"
    r"connection to database .* failed"
)
_LOST = re.compile(
    r"server closed the connection|connection to server was lost|terminating connection|SSL SYSCALL error|"
    r"could not (?:receive|send) data (?:from|to) server|no connection to the server|"
    r"the database system is (?:shutting down|starting up|in recovery)"
)


def client_environment(
    connection: ServerConnection,
    database: str,
    *,
    application_name: str = "env_sync",
    options: str = "",
    own_path: bool = False,
) -> dict[str, str]:
    """The variables that make libpq connect there; the password is among them, so never log them.

    `options` are more settings of the session, as the server's command line has them: "-c work_mem=64MB".
    `own_path`: see `startup_options`.
    PGDATABASE is a name and nothing else: unlike `--dbname`, libpq looks for no connection string in it.
    """
    wanted = {
        "PGHOST": connection.host,
        "PGPORT": str(connection.port or ""),
        "PGUSER": connection.login,
        "PGPASSWORD": connection.password.reveal(),
        "PGDATABASE": database,
        "PGAPPNAME": application_name,
        "PGOPTIONS": startup_options(options, own_path=own_path),
        "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT),
        **{f"PG{name.upper()}": value for name, value in _ssl(connection).items()},
    }
    return {name: value for name, value in wanted.items() if value}


def startup_options(more: str = "", *, own_path: bool = False) -> str:
    """SETTINGS, and more of them, as the server's command line has them.

    With `own_path` search_path is what the database or the role is set to, by which pg_dump looks up patterns
    without a schema. Whatever else it looks up it does with an empty one.
    """
    ours = [
        f"-c {name}={_escaped(value)}"
        for name, value in SETTINGS.items()
        if not (own_path and name == "search_path")
    ]
    return " ".join([*ours, more]).rstrip()


def _escaped(value: str) -> str:
    """A value within the server's command line, which ends at a space."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def connection_string(database: str) -> str:
    """What to give as `--dbname`: the name, and what no variable can say."""
    quoted = database.replace("\\", "\\\\").replace("'", "\\'")
    kept = " ".join(f"{name}={value}" for name, value in KEEPALIVES.items())
    return f"dbname='{quoted}' {kept}"


def connect(
    connection: ServerConnection,
    database: str,
    *,
    application_name: str = "env_sync",
    options: str = "",
    timeout: int = CONNECT_TIMEOUT,
    own_path: bool = False,
) -> psycopg.Connection[tuple[Any, ...]]:
    """A session in autocommit, for the caller to close. `timeout` is how many seconds the server is given.

    `own_path`: see `startup_options`. Raises NoSuchDatabase, AccessRefused, ServerUnreachable.
    """
    wanted = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.login,
        "password": connection.password.reveal(),
        "application_name": application_name,
        "options": startup_options(options, own_path=own_path),
        "client_encoding": "utf8",
        **KEEPALIVES,
        **_ssl(connection),
    }
    given: dict[str, Any] = {name: value for name, value in wanted.items() if value}
    try:
        return psycopg.connect(dbname=database, autocommit=True, connect_timeout=timeout, **given)
    except psycopg.Error as error:
        raise connection_error(str(error), connection, database) from None


def connection_error(said: str, connection: ServerConnection, database: str) -> EnvSyncError:
    """The error for what libpq `said` when it could not connect; no row is read before that."""
    server = address_of(connection)
    if _NO_SUCH_DATABASE.search(said):
        return NoSuchDatabase(
            f"Server {server} has no database {database} (connection {connection.connection_id})."
        )
    if _NO_OPTIONS.search(said):
        return AccessRefused(
            f"Server {server} refuses the settings with which a session in database {database} begins, as "
            f"poolers do. {_WITHOUT_POOLER.format(connection.connection_id)}"
        )
    # Only the first line: libpq tries several addresses and methods, and says the same for each.
    reason = next((line.strip() for line in said.splitlines() if line.strip()), "no reason given")
    reason = without_credentials(reason, connection.password)
    if _REFUSED.search(said):
        return AccessRefused(
            f"Server {server} refused role {connection.login} access to database {database}: {reason}. "
            f"Check login, password and extra of connection {connection.connection_id}, and the role."
        )
    return ServerUnreachable(
        f"Server {server} could not be reached for database {database}: {reason}. Check that it runs, and "
        f"host and port of connection {connection.connection_id}."
    )


def dropped(connection: ServerConnection) -> str:
    """Why a session has not what it was to begin with, and what to do."""
    return (
        "something between the worker and the server, such as a pooler, drops what a session begins with. "
        f"{_WITHOUT_POOLER.format(connection.connection_id)}"
    )


def tool_connection_error(said: str, connection: ServerConnection, database: str) -> EnvSyncError | None:
    """The error for a program's stderr where it could not connect or lost its connection; else None."""
    for line in said.splitlines():
        if _NOT_CONNECTED.search(line):
            return connection_error(line, connection, database)
        if _LOST.search(line):
            return ServerUnreachable(
                f"The connection to database {database} on {address_of(connection)} was lost half-way: the "
                "server went away, or ended the session. Run the step again; see the server's log for the "
                "reason."
            )
    return None


def _ssl(connection: ServerConnection) -> dict[str, str]:
    """The settings of SSL in the extra. Raises ConnectionMalformed for a mode that libpq does not know."""
    mode = connection.extra.get("sslmode")
    if mode and mode not in SSL_MODES:
        # libpq would quote it.
        raise wrong_setting(connection.connection_id, "sslmode", SSL_MODES)
    return {name: str(connection.extra[name]) for name in SSL_SETTINGS if connection.extra.get(name)}


def address_of(connection: ServerConnection) -> str:
    """Where a connection leads, as messages tell it: host and port."""
    return f"{connection.host}{f':{connection.port}' if connection.port else ''}"
