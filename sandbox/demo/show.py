"""What the demo prints."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table

from env_sync.domain.report import MEGABYTE, Report, Result
from sandbox.demo.invented import Kind
from sandbox.demo.nights import Night, Progress
from sandbox.demo.search import Found

WIDTH = 150  # columns where there is no terminal
COLOURS = {Result.OK: "green", Result.WARNING: "yellow", Result.CRITICAL: "bold red"}


def make_console() -> Console:
    """The terminal, or plain wide text where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


@contextlib.contextmanager
def timed(console: Console, what: str) -> Iterator[None]:
    """Says what is being done, and how long it took."""
    began = time.monotonic()
    with console.status(f"{what} ..."):
        yield
    console.print(f"{what}: {time.monotonic() - began:.0f} s")


@contextlib.contextmanager
def watching(console: Console, environment: str) -> Iterator[Callable[[Sequence[Progress]], None]]:
    """A line for each group while a night runs: with a bar in a terminal, else when the group is over."""
    console.print(f"\n[bold]{environment}[/bold]")
    bars = Bars(
        TextColumn("  {task.description:<44}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[step]}"),
        console=console,
        disable=not console.is_terminal,
    )
    lines: dict[str, TaskID] = {}
    over: set[str] = set()

    def watch(progress: Sequence[Progress]) -> None:
        for each in progress:
            if each.group not in lines:
                lines[each.group] = bars.add_task(each.group, total=each.steps, step="")
            word = ("[red]failed" if each.failed else "done") if each.finished else each.step
            bars.update(lines[each.group], completed=each.over, step=word)
            if each.finished and each.group not in over:
                over.add(each.group)
                if not console.is_terminal:
                    console.print(f"  {each.group}: {'failed' if each.failed else 'done'}")

    with bars:
        yield watch


def nights_table(nights: Sequence[Night]) -> Table:
    """The reports of all nights: result, size, seconds, how long live was unavailable."""
    table = Table(title="What happened", title_justify="left", title_style="bold", expand=False)
    for heading in ("Environment", "Sync", "Result", "What"):
        table.add_column(heading, no_wrap=heading != "What")
    for heading in ("MB", "Seconds", "Live unavailable"):
        table.add_column(heading, justify="right")
    for night in nights:
        for report in night.reports:
            table.add_row(*_row(night.environment, report))
        for group in night.unreported:
            table.add_row(night.environment, group, "[bold red]no report[/]", "", "", "", "")
        table.add_section()
    return table


def search_table(searches: Sequence[Found], marks: Mapping[bytes, Kind]) -> Table:
    """How many different invented values of each kind were found where."""
    table = Table(title="Personal values found", title_justify="left", title_style="bold", expand=False)
    table.add_column("Kind")
    table.add_column("Seeded", justify="right")
    for found in searches:
        table.add_column(found.where, justify="right")
    counts = [found.count(marks) for found in searches]
    kinds = list(marks.values())
    for kind in Kind:
        table.add_row(kind.value, f"{kinds.count(kind):,}", *(f"{count[kind]:,}" for count in counts))
    table.add_section()
    table.add_row("all", f"{len(marks):,}", *(f"[bold]{len(found.marks):,}[/]" for found in searches))
    return table


def _row(environment: str, report: Report) -> tuple[str, ...]:
    what = report.what + (f": {'; '.join(report.why)}" if report.why else "")
    return (
        environment,
        report.group,
        f"[{COLOURS[report.result]}]{report.result}[/]",
        what,
        "" if report.bytes is None else f"{report.bytes / MEGABYTE:.2f}",
        "" if report.seconds is None else f"{report.seconds:.1f}",
        "" if report.unavailable is None else f"{report.unavailable:.2f} s",
    )
