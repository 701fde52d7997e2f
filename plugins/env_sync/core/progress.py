"""Progress of long work: where it is told to, and how it reads in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

MEGABYTE = 1_000_000


class Progress(Protocol):
    """Somewhere that progress is shown: a log, or a bar in a terminal."""

    def start(self, what: str, total: int | None, unit: str) -> None:
        """Begin to show `what`; `total` in `unit` ("bytes" or "items"), None where it is not known."""

    def advance(self, done: int) -> None:
        """Tell how much is done in all so far, in the unit of `start`; may be called from any thread."""

    def finish(self) -> None:
        """Show that it is done."""


class LogProgress:
    """Progress as a line in a log every few seconds: done, speed, and the time that is left."""

    def __init__(
        self,
        log: logging.Logger,
        *,
        every: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._every = every
        self._clock = clock
        self._what = ""
        self._total: int | None = None
        self._unit = "bytes"
        self._began = 0.0
        self._shown = 0.0
        self._done = 0

    def start(self, what: str, total: int | None, unit: str) -> None:
        """Begin; nothing is logged yet."""
        self._what, self._total, self._unit, self._done = what, total, unit, 0
        self._began = self._shown = self._clock()

    def advance(self, done: int) -> None:
        """Log a line where the last one is long enough ago."""
        self._done = done
        now = self._clock()
        if now - self._shown >= self._every:
            self._shown = now
            self._log.info(self._line(now))

    def finish(self) -> None:
        """Log the last line, with how long it took in all."""
        self._log.info("%s, in %.1f s", self._line(self._clock(), done=True), self._clock() - self._began)

    def _line(self, now: float, *, done: bool = False) -> str:
        seconds = max(now - self._began, 1e-6)
        speed = self._done / seconds
        if self._unit == "bytes":
            amount = f"{self._done / MEGABYTE:.1f}"
            total = f" of {self._total / MEGABYTE:.1f}" if self._total else ""
            parts = [f"{amount}{total} MB", f"{speed / MEGABYTE:.1f} MB/s"]
        else:
            parts = [f"{self._done}{f' of {self._total}' if self._total else ''} {self._unit}"]
        if self._total and not done and speed > 0:
            parts.append(f"{max(self._total - self._done, 0) / speed:.0f} s left")
        return f"{self._what}: {', '.join(parts)}"
