"""Reads an archive of pg_dump through to its end."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from env_sync.core import command
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import DumpDamaged
from env_sync.core.progress import Progress
from env_sync.core.redact import redact_tool_line
from env_sync.engines.postgresql.client_tools import known_client_tools, tools_to_read


def verify_archive(
    file: Path, *, cancellation: Cancellation, progress: Progress, log: logging.Logger
) -> None:
    """Have pg_restore read the whole archive; a listing of its contents would pass half a file.

    What is compressed is checked against the checksums in it; what is not (`compression: none`) only for
    being whole. Raises DumpDamaged, ToolMissing, ToolFailed, Cancelled.
    """
    tools = tools_to_read(known_client_tools(), file)
    said: list[str] = []
    with file.open("rb") as archive:
        size = os.fstat(archive.fileno()).st_size
        progress.start(f"reading {file.name}", size, "bytes")
        result = command.run(
            [tools.pg_restore, "--file=/dev/null"],
            cancellation=cancellation,
            log=log,
            stdin=archive,
            on_line=said.append,
            # The program shares this descriptor's position in the file.
            on_tick=lambda: progress.advance(os.lseek(archive.fileno(), 0, os.SEEK_CUR)),
            redact=redact_tool_line,
            check=False,
        )
    if result.exit_code != 0:
        raise read_failure(result, file, said)
    progress.advance(size)
    progress.finish()


def read_failure(result: command.Result, file: Path, said: list[str]) -> Exception:
    """The error for a pg_restore that could not read an archive."""
    if any(re.search(r"does not support compression|not built with", line) for line in said):
        return result.failure(f"{file.name} is compressed in a way that this pg_restore was not built for")
    return DumpDamaged(
        f"{file.name} ({file.stat().st_size} bytes) is damaged or not whole: pg_restore "
        f"{result.how_it_ended}. Download it again, choose another by its timestamp, or push it again"
        f"{result.said}"
    )
