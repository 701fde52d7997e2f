"""Reads a dump through to its end."""

from __future__ import annotations

from pathlib import Path

from env_sync.core.cancellation import Cancellation
from env_sync.core.progress import Progress
from env_sync.engines.mysql.archive import CHUNK, TAIL, check_end, check_header, first_bytes, opened


def verify_dump(file: Path, database: str, *, cancellation: Cancellation, progress: Progress) -> None:
    """Unpack the whole dump, which compares it with its checksums, and look at its first and last lines.

    Nothing of it is kept but these. Raises DumpDamaged, Cancelled.
    """
    done = 0
    progress.start(f"reading {file.name}", None, "bytes")
    with opened(file) as stream:
        beginning = stream.read(CHUNK)
        check_header(file.name, first_bytes(file), beginning, database)
        end, chunk = b"", beginning
        while chunk:
            cancellation.check()
            done += len(chunk)
            progress.advance(done)
            end = (end + chunk)[-TAIL:]
            chunk = stream.read(CHUNK)
        check_end(file.name, end)
    progress.finish()
