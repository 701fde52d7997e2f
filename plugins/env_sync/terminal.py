"""Progress bars in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class TerminalProgress:
    """One bar at a time: bytes with their speed, or items with their count."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Progress | None = None
        self._bar: TaskID | None = None

    def start(self, what: str, total: int | None, unit: str) -> None:
        """Show a new bar in place of the one before."""
        self._stop()
        amounts = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(),)
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            *amounts,
            TimeRemainingColumn(),
            console=self._console,
        )
        self._bar = self._bars.add_task(what, total=total)
        self._bars.start()

    def advance(self, done: int) -> None:
        """Move the bar to where the work is."""
        if self._bars is not None and self._bar is not None:
            self._bars.update(self._bar, completed=done)

    def finish(self) -> None:
        """Leave the bar as it is."""
        self._stop()

    def _stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._bars = self._bar = None
