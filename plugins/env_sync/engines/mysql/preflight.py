"""What would stop every sync with one connection: the server's version, its grants, the programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from env_sync.core.errors import AccessRefused, ToolMissing
from env_sync.domain.finding import Finding, note, problem
from env_sync.domain.sync import Action
from env_sync.engines.base.accepted_readers import SET_USER, accepts
from env_sync.engines.mysql.access.administrator import MIGHTY, check_power
from env_sync.engines.mysql.access.own_grants import own_grants
from env_sync.engines.mysql.client_tools import known_dump_tools, tool_to_dump
from env_sync.engines.mysql.definers import SETTING
from env_sync.engines.mysql.lease_database import refusal, strangers
from env_sync.engines.mysql.read_only import reading
from env_sync.engines.mysql.session import Server, Session, exists
from env_sync.engines.mysql.version import check_supported

CONNECT_TIMEOUT = 5
"""Seconds that a server is given to answer: it is only looked at, and there may be many."""
NEEDED = (
    *("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER", "EXECUTE"),
    *("CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT", "TRIGGER"),
)
"""What a pull needs on live and its copies, and a push on outgoing."""


def look_at_server(server: Server, action: Action) -> Iterator[Finding]:
    """Look at the server as whoever pushes from it or pulls into it; nothing is written.

    Raises AccessRefused, ServerUnreachable, EnvSyncError.
    """
    with reading(server) as session:
        try:
            if action is Action.PUSH:
                tool_to_dump(known_dump_tools(), session.version)
            else:
                check_supported(session.version)
        except ToolMissing as missing:
            yield problem(str(missing))
        if action is Action.PULL:
            yield from _power(session, server)
            yield from look_at_rights(session, server)
        elif may_have_leases(session, server):
            yield from look_at_leases(session, server)


def may_have_leases(session: Session, server: Server) -> bool:
    """Whether the account could keep leases in a table; who only reads has the named lock alone."""
    own, name = own_grants(session), server.lease_database
    return own.may("UPDATE" if exists(session, name) else "CREATE", name)


def look_at_leases(session: Session, server: Server) -> Iterator[Finding]:
    """Whether the database of the leases is ours alone."""
    try:
        if found := tuple(strangers(session, server.lease_database)):
            yield problem(refusal(session, server.lease_database, found, len(found)))
    except AccessRefused as refused:
        yield problem(str(refused))


def look_at_needed(session: Session, server: Server, databases: Sequence[str]) -> Iterator[Finding]:
    """What the account lacks on copies."""
    own = own_grants(session)
    for database in databases:
        if lacking := [name for name in NEEDED if not own.may(name, database)]:
            yield problem(
                f"Account {server.connection.login} lacks {', '.join(lacking)} on {database} of {server}.",
                "deploy/mysql_grants prints the grants that it needs.",
            )


def _power(session: Session, server: Server) -> Iterator[Finding]:
    try:
        for warning in check_power(session, server):
            yield note(warning)
    except AccessRefused as refused:
        yield problem(str(refused))
        return
    own, login = own_grants(session), server.connection.login
    if own.on_everything & MIGHTY:
        return
    if own.may("UPDATE", "mysql"):
        yield note(
            f"Account {login} may write the tables of {server} that say who may do what, by a grant ON *.*, "
            "and so give itself anything.",
            "Let its grants name the databases that it works on: deploy/mysql_grants prints them.",
        )
    may_set = sorted(own.on_everything & SETTING)
    if may_set and not accepts(server.connection, SET_USER):
        yield note(
            f"Account {login} may make objects as any account of {server} ({', '.join(may_set)}), which Env "
            f"Sync does not use as long as {SET_USER} does not accept it.",
            f"Take it away, or accept it in connection {server.connection.connection_id}.",
        )


def look_at_rights(session: Session, server: Server) -> Iterator[Finding]:
    """What would stop whoever makes a copy on this server: a pull, or a push that transforms."""
    if session.value("SELECT @@GLOBAL.read_only"):
        yield problem(
            f"{server} is read-only: a replica perhaps, which nothing can be written to.",
            f"Name the primary server in connection {server.connection.connection_id}.",
        )
    yield from look_at_leases(session, server)
    if session.value("SELECT @@GLOBAL.log_bin AND NOT @@GLOBAL.log_bin_trust_function_creators"):
        yield note(
            f"{server} writes a binary log and does not trust makers of functions: functions and triggers "
            "of a dump can then be made by an account with SUPER alone.",
            "SET GLOBAL log_bin_trust_function_creators = 1 (on RDS in the parameter group).",
        )
