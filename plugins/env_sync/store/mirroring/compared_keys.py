"""Keys of objects compared in one walk of two buckets, for the next walk: on disk, in their order."""

from __future__ import annotations

import json
from typing import TextIO

from env_sync.store.mirroring.listing import place


class ComparedKeys:
    """Kept in a file, which is empty at first, so that memory stays flat at millions of keys."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._next: str | None = None

    def add(self, key: str) -> None:
        """Keep a key that comes after all that were added."""
        self._file.write(f"{json.dumps(key)}\n")

    def rewind(self) -> None:
        """Begin to read."""
        self._file.seek(0)
        self._next = self._read()

    def has(self, key: str) -> bool:
        """Whether this key was added; asked in the order of keys, each once."""
        while self._next is not None and place(self._next) < place(key):
            self._next = self._read()
        return self._next == key

    def _read(self) -> str | None:
        line = self._file.readline()
        return str(json.loads(line)) if line else None
