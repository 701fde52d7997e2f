"""What the extra of a connection accepts, of which the engine would stop otherwise."""

from __future__ import annotations

from env_sync.engines.contract import ServerConnection

SUPERUSER = "accept_superuser"
"""That the sync's account is an administrator of the server."""


def accepts(connection: ServerConnection, name: str) -> bool:
    """Whether the extra says `true` to it; a form of Airflow makes text of that."""
    return str(connection.extra.get(name)).strip().lower() == "true"
