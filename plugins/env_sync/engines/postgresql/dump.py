"""Dumps a database to a file with pg_dump."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from env_sync.cancellation import Cancellation
from env_sync.engines.contract import DumpFacts, ServerConnection
from env_sync.progress import Progress


def dump_database(
    connection: ServerConnection,
    database: str,
    to: Path,
    *,
    compression: str,
    excluded_tables: Sequence[str] = (),
    cancellation: Cancellation,
    progress: Progress,
    log: logging.Logger,
    application_name: str = "env_sync",
) -> DumpFacts:
    """Write a consistent dump of a database to the file `to`, whole or not at all.

    `compression` is "none" or "gzip:1" to "gzip:9". Raises NoSuchDatabase, AccessRefused,
    ServerUnreachable, ToolMissing, ToolFailed, DiskFull, Cancelled.
    """
    raise NotImplementedError
