"""Whether the sync's own account is an administrator: what runs as it could then do anything."""

from __future__ import annotations

from env_sync.core.errors import AccessRefused
from env_sync.engines.base.accepted_readers import SUPERUSER, accepts
from env_sync.engines.mysql.access.own_grants import EVERYTHING, own_grants
from env_sync.engines.mysql.session import Server, Session

MIGHTY = frozenset({EVERYTHING, "SUPER", "CREATE USER", "GRANT OPTION", "ROLE_ADMIN"})
"""Whoever has one of these on everything can do, or give itself, whatever it wants."""


def check_power(session: Session, server: Server) -> tuple[str, ...]:
    """The warning where the account is an administrator and the connection accepts that.

    Raises AccessRefused where it does not, MySQLError.
    """
    mighty = sorted(own_grants(session).on_everything & MIGHTY)
    if not mighty:
        return ()
    connection = server.connection
    said = (
        f"Account {connection.login} is an administrator of {server} ({', '.join(mighty)} ON *.*), so "
        "whatever comes down and runs as it could do anything there"
    )
    if accepts(connection, SUPERUSER):
        return (f"{said}; {SUPERUSER} of connection {connection.connection_id} accepts that.",)
    raise AccessRefused(
        f"{said}. Give Env Sync an account of its own with the grants of docs/mysql.md; where that cannot "
        f'be, add "{SUPERUSER}": true to the extra of connection {connection.connection_id}. Live is '
        "untouched."
    )
