"""What people see in a terminal: progress bars, and what a preflight found."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
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
from rich.text import Text

from env_sync.domain.finding import Checked, Level

STYLES = {Level.PROBLEM: "bold red", Level.NOTE: "yellow"}


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


def print_checked(console: Console, checked: Sequence[Checked]) -> None:
    """Print what was found, by environment and subject, with what to do about it."""
    environment = ""
    for one in checked:
        if one.environment != environment:
            environment = one.environment
            console.print(Text(environment, style="bold"))
        failed = one.count(Level.PROBLEM) > 0
        line = Text("  ").append("FAIL" if failed else "ok  ", style="bold red" if failed else "green")
        line.append(f"  {one.subject}")
        if one.said:
            line.append(f"  {one.said}", style="dim")
        console.print(line, soft_wrap=True)
        for finding in one.findings:
            text = Text.assemble((str(finding.level), STYLES[finding.level]), f": {finding.what}")
            console.print(Padding(text, (0, 0, 0, 8), expand=False))
            if finding.fix:
                console.print(
                    Padding(Text.assemble(("fix", "bold"), f": {finding.fix}"), (0, 0, 0, 8), expand=False)
                )
