"""What pg_restore says while it works: how far it is, what went wrong, and what takes its time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping

from env_sync.core.progress import Progress
from env_sync.core.stopwatch import Stopwatch
from env_sync.engines.postgresql.archive import Archive, Entry

_ENTRY = re.compile(r"pg_restore: from TOC entry (\d+);")
_DONE_BY_ONE = re.compile(r"pg_restore: (?:creating |processing data for |executing SEQUENCE SET )")
_DONE_BY_MANY = re.compile(r"pg_restore: (?:processing|finished) item \d+ ")
_BEFORE_ROWS_PART, _ROWS_PART, _AFTER_ROWS_PART = ("tables and the like", "rows", "indexes and constraints")
_BEGUN_BY_ONE = re.compile(
    r"pg_restore: (?:(processing data for )|creating (INDEX|[A-Z ]*CONSTRAINT|TRIGGER)|creating |executing )"
)
_ROWS = ("TABLE DATA", "BLOBS", "BLOB METADATA", "SEQUENCE SET")
_LAUNCHED = re.compile(r"pg_restore: launching item (\d+) (.*)")
_FINISHED = re.compile(r"pg_restore: finished item (\d+) ")
_ERROR = re.compile(r"pg_restore: error: (.*)")
UNKNOWN_SETTING = re.compile(r'pg_restore: error: could not execute query: .*"transaction_timeout"')


class Heard:
    """What pg_restore said: how far it is, and what went wrong. Raw, so never shown as it is."""

    def __init__(self, archive: Archive, progress: Progress, total: int, *, tolerant: bool) -> None:
        self.errors: list[str] = []
        self.entry: Entry | None = None
        self._entries: Mapping[int, Entry] = {entry.dump_id: entry for entry in archive.entries}
        self._progress = progress
        self._tolerant = tolerant
        self._total = total
        self._pattern = _DONE_BY_ONE
        self._done = 0

    def within(self, connections: int) -> Callable[[str], None]:
        """What hears the lines of a run over so many connections."""
        self._pattern = _DONE_BY_MANY if connections > 1 else _DONE_BY_ONE
        return self._line

    def _line(self, line: str) -> None:
        if self._pattern.match(line):
            # It also tells of a few entries of its own, which nobody chose.
            self._done = min(self._done + 1, self._total)
            self._progress.advance(self._done)
        elif match := _ENTRY.match(line):
            if not self.errors:
                self.entry = self._entries.get(int(match[1]))
        elif (match := _ERROR.match(line)) and not (self._tolerant and UNKNOWN_SETTING.match(line)):
            self.errors.append(match[1])


class Parts:
    """Counts the time of a pg_restore: what several connections do at once shares it between them."""

    def __init__(self, stopwatch: Stopwatch, *, alone: bool) -> None:
        self._stopwatch = stopwatch
        self._alone = alone
        self._running: dict[str, str] = {}
        self._since = time.monotonic()

    def line(self, line: str) -> None:
        """Hear a line that pg_restore says."""
        if self._alone:
            if match := _BEGUN_BY_ONE.match(line):
                self._count()
                self._running = {"": _ROWS_PART} if match[1] else {"": _AFTER_ROWS_PART} if match[2] else {}
        elif match := _LAUNCHED.match(line):
            self._count()
            self._running[match[1]] = _ROWS_PART if match[2].startswith(_ROWS) else _AFTER_ROWS_PART
        elif match := _FINISHED.match(line):
            self._count()
            self._running.pop(match[1], None)

    def end(self) -> None:
        """Hear that it ended."""
        self._count()
        self._running.clear()

    def _count(self) -> None:
        now = time.monotonic()
        parts = list(self._running.values()) or [_BEFORE_ROWS_PART]
        for part in parts:
            self._stopwatch.add(part, (now - self._since) / len(parts))
        self._since = now
