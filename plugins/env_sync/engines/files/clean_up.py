"""The end of a group: no incoming is left, and nothing of a swap."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import frozen

from env_sync.engines.base import clean_up
from env_sync.engines.files.metadata import Record, read_record
from env_sync.engines.files.place import Place
from env_sync.engines.files.swap import remove


@frozen(kw_only=True)
class Cleaning(clean_up.Cleaning):
    """All that a clean-up works with. Every method may raise OSError."""

    dropped: ClassVar[str] = "removed"

    place: Place

    def read_copy(self, copy: str) -> Record | None:
        """What a copy says about itself; None where there is no such directory."""
        return read_record(self.place, Path(copy))

    def drop(self, copy: str) -> bool:
        """Remove it; whether there was one."""
        return remove(self.place, Path(copy))

    def settle(self) -> str:
        """Remove what was previous before a swap; says so, or "" where there is none."""
        if not remove(self.place, self.place.replaced):
            return ""
        return f"removed {self.place.replaced}, which was {self.place.previous} before the swap"
