"""What is known of the dump in the work folder, in a file beside it, so that a later step can trust it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol, TypeVar

from env_sync.disk import is_full
from env_sync.errors import DiskFull
from env_sync.plain import from_plain, to_plain


class Known(Protocol):
    """What can be noted: at least the size of the dump, in bytes."""

    @property
    def size(self) -> int:
        """Bytes of the dump."""


T = TypeVar("T", bound=Known)


def write_note(dump: Path, known: Known) -> None:
    """Note what is known of a dump; whole or not at all, since a step may be killed at any instant.

    Raises DiskFull, OSError.
    """
    written = dump.with_suffix(".new")
    try:
        written.write_text(json.dumps(to_plain(known)))
        written.replace(_note(dump))
    except OSError as problem:
        if not is_full(problem):
            raise
        raise DiskFull(
            f"The work folder {dump.parent} is full: not even a note of the dump fits in it. Make room, or "
            "set temppath to a larger disk, and run the step again."
        ) from None


def read_note(kind: type[T], dump: Path) -> T | None:
    """What was noted of a dump; None where it is gone, of another size, or there is no such note."""
    try:
        known = from_plain(kind, json.loads(_note(dump).read_text()))
        return known if dump.stat().st_size == known.size else None
    except (OSError, ValueError):
        return None


def remove_note(dump: Path) -> None:
    """Forget a dump: done before another one is put in its place."""
    _note(dump).unlink(missing_ok=True)


def _note(dump: Path) -> Path:
    return dump.with_suffix(".json")
