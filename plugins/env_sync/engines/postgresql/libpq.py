"""Connecting to a PostgreSQL server: the environment of its client programs, and sessions of our own."""

from __future__ import annotations

from typing import Any

import psycopg

from env_sync.engines.contract import ServerConnection


def client_environment(
    connection: ServerConnection, database: str, *, application_name: str = "env_sync", options: str = ""
) -> dict[str, str]:
    """The variables that make libpq connect there; the password is among them, so never log them."""
    raise NotImplementedError


def connect(
    connection: ServerConnection, database: str, *, application_name: str = "env_sync", options: str = ""
) -> psycopg.Connection[tuple[Any, ...]]:
    """A session in autocommit, for the caller to close.

    Raises NoSuchDatabase, AccessRefused, ServerUnreachable.
    """
    raise NotImplementedError
