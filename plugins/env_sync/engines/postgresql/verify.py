"""Reads an archive of pg_dump through to its end."""

from __future__ import annotations

import logging
from pathlib import Path

from env_sync.cancellation import Cancellation
from env_sync.progress import Progress


def verify_archive(
    file: Path, *, cancellation: Cancellation, progress: Progress, log: logging.Logger
) -> None:
    """Have pg_restore read the whole archive. Raises DumpDamaged, ToolMissing, Cancelled."""
    raise NotImplementedError
