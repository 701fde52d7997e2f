"""The disk of this machine: whether it is full, and files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from env_sync.core.errors import DiskFull


def is_full(problem: OSError) -> bool:
    """Whether it says that no more can be written: the disk is full, or this user's share of it."""
    return problem.errno in (errno.ENOSPC, errno.EDQUOT)


def no_room(to: Path) -> DiskFull:
    """The error where a dump does not fit; what was written of it is removed before."""
    free = shutil.disk_usage(to.parent).free
    return DiskFull(
        f"There is not enough space in {to.parent} for {to.name}: {free / 1_000_000:.0f} MB are free now "
        "that the partial file is removed. Free some space, or set temppath to a larger disk."
    )


@contextlib.contextmanager
def whole_file(to: Path) -> Iterator[Path]:
    """A file to write to, which gets its name and is on the disk at the block's end, or is removed.

    Raises DiskFull, OSError.
    """
    part = part_of(to)
    try:
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        yield part
        for path in (part, part.parent):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        part.rename(to)
    except OSError as problem:
        if is_full(problem):
            part.unlink(missing_ok=True)
            raise no_room(to) from None
        raise
    finally:
        part.unlink(missing_ok=True)


def part_of(to: Path) -> Path:
    """What a file is called until it is whole."""
    return to.with_name(f"{to.name}.part")
