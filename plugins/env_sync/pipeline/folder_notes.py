"""What is known of a private folder and of the dump in it, in files beside it, for whoever comes next."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Protocol, TypeVar

from attrs import frozen

from env_sync.core.disk import is_full
from env_sync.core.errors import DiskFull
from env_sync.core.serialization import from_plain, to_plain

WHOSE = "whose.json"
"""The file in a private folder that says whose it is."""


class Known(Protocol):
    """What can be noted: at least the size of the dump, in bytes."""

    @property
    def size(self) -> int:
        """Bytes of the dump."""


T = TypeVar("T", bound=Known)


@frozen(kw_only=True)
class Whose:
    """Whose a private folder is: of which attempt at which group of which run. `made` is UTC."""

    run: str
    group: str
    environment: str
    attempt: str
    made: dt.datetime


def write_note(dump: Path, known: Known) -> None:
    """Note what is known of a dump; whole or not at all, since a step may be killed at any instant.

    Raises DiskFull, OSError.
    """
    _write(_note(dump), known)


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


def write_whose(folder: Path, whose: Whose) -> None:
    """Note whose a private folder is, in the same way. Raises the same."""
    _write(folder / WHOSE, whose)


def read_whose(folder: Path) -> Whose | None:
    """Whose a private folder is; None where it does not say, or nothing that can be read."""
    try:
        return from_plain(Whose, json.loads((folder / WHOSE).read_text()))
    except (OSError, ValueError):
        return None


def _write(note: Path, value: object) -> None:
    written = note.with_suffix(".new")
    try:
        written.write_text(json.dumps(to_plain(value)))
        written.replace(note)
    except OSError as problem:
        if not is_full(problem):
            raise
        raise DiskFull(
            f"The work folder {note.parent} is full: not even a note of the dump fits in it. Make room, or "
            "set temppath to a larger disk, and run the step again."
        ) from None


def _note(dump: Path) -> Path:
    return dump.with_suffix(".json")
