"""Restores an archive into an empty database with pg_restore."""

from __future__ import annotations

import logging

from env_sync.cancellation import Cancellation
from env_sync.engines.contract import ServerConnection
from env_sync.engines.postgresql.archive import Archive
from env_sync.progress import Progress


def restore_archive(
    archive: Archive,
    connection: ServerConnection,
    database: str,
    *,
    jobs: int,
    cancellation: Cancellation,
    progress: Progress,
    log: logging.Logger,
    application_name: str = "env_sync",
) -> tuple[str, ...]:
    """Restore into a database that is there and empty; every object will belong to the connection's role.

    What cannot or must not be restored is left out; returns a warning for each kind of it. The database
    is half full after any error: the caller drops it. Raises RestoreFailed, DumpDamaged, ToolMissing,
    AccessRefused, ServerUnreachable, Cancelled.
    """
    raise NotImplementedError
