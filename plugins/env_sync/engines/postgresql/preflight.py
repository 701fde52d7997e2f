"""What would stop every sync with one connection: the server's version, the role's rights, the lease."""

from __future__ import annotations

from collections.abc import Iterator

from env_sync.core.errors import AccessRefused, ToolMissing
from env_sync.domain.finding import Finding, note, problem
from env_sync.domain.sync import Action
from env_sync.engines.postgresql.access.administrator import check_power
from env_sync.engines.postgresql.access.readers import findings
from env_sync.engines.postgresql.client_tools import check_server_version, known_client_tools, tools_to_dump
from env_sync.engines.postgresql.lease_table import against_database, against_table, refused
from env_sync.engines.postgresql.read_only import reading
from env_sync.engines.postgresql.session import Server, Session

CONNECT_TIMEOUT = 5
"""Seconds that a server is given to answer: it is only looked at, and there may be many."""


def look_at_server(server: Server, action: Action) -> Iterator[Finding]:
    """Look at the server as whoever pushes from it or pulls into it; nothing is written.

    Raises NoSuchDatabase, AccessRefused, ServerUnreachable, EnvSyncError.
    """
    with reading(server, server.maintenance_database) as session:
        yield from _version(session.version, action)
        superuser, may_make = session.execute(
            "SELECT rolsuper, rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"
        )[0]
        if action is Action.PULL:
            yield from _power(session, server)
            yield from _rights(session, server, may_make=may_make)
            if not superuser:
                yield from findings(session, server)
        yield from _lease(session, server, may_make=may_make)


def _version(major: int, action: Action) -> Iterator[Finding]:
    try:
        if action is Action.PUSH:
            tools_to_dump(known_client_tools(), major)
        else:
            check_server_version(major)
    except ToolMissing as missing:
        yield problem(str(missing))


def _power(session: Session, server: Server) -> Iterator[Finding]:
    try:
        for warning in check_power(session, server):
            yield note(warning)
    except AccessRefused as refusal:
        yield problem(str(refusal))


def _rights(session: Session, server: Server, *, may_make: bool) -> Iterator[Finding]:
    ours, signals, standby = session.execute(
        "SELECT pg_catalog.quote_ident(current_user), pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'), "
        "pg_catalog.pg_is_in_recovery()"
    )[0]
    if standby:
        yield problem(
            f"{server} is a standby, which nothing can be written to.",
            f"Name the primary server in connection {server.connection.connection_id}.",
        )
    if not may_make:
        yield problem(
            f"Role {ours} may not make databases on {server}, so there can be no incoming.",
            f"As an administrator: ALTER ROLE {ours} CREATEDB;",
        )
    if not signals:
        yield problem(
            f"Role {ours} may not end the sessions of other roles on {server}, so live cannot be swapped "
            "while anybody is in it.",
            f"As an administrator: GRANT pg_signal_backend TO {ours};",
        )


def _lease(session: Session, server: Server, *, may_make: bool) -> Iterator[Finding]:
    """The lease database, as far as it is there; where it is not, the first sync makes it, or needs none."""
    name, login = server.lease_database, server.connection.login
    if (why := against_database(session, name)) is not None:
        yield problem(refused(server, why))
        return
    rows = session.execute("SELECT datallowconn FROM pg_catalog.pg_database WHERE datname = %s", [name])
    if not rows:
        return
    [[is_open]] = rows
    if not is_open:
        if not may_make:
            yield problem(
                f"The lease database {name} on {server} was not made to its end, and role {login} may not "
                "end that.",
                f"As an administrator: DROP DATABASE {name}; the next sync makes it anew.",
            )
        return
    with reading(server, name) as inside:
        if (why := against_table(inside)) is not None:
            yield problem(refused(server, why))
