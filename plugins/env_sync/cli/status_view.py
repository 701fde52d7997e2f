"""The night as people see it in a terminal: a line for each sync, with its bar."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from env_sync.board.answers import AttemptAnswer, EnvironmentAnswer, SyncAnswer
from env_sync.domain.report import GRAVITY, Result
from env_sync.domain.sanitising import Badge
from env_sync.status.values import Phase

STYLES: Mapping[str, str] = {
    Result.OK: "green",
    Result.WARNING: "yellow",
    Result.CRITICAL: "bold red",
    Phase.RUNNING: "blue",
}
WIDEST, NARROWEST = 60, 20
"""Columns of a bar."""
DONE, TO_COME, NOW, EMPTY = "█", "░", "│", " "


def print_status(console: Console, answer: EnvironmentAnswer) -> None:
    """Print an environment: how it is, then its syncs, the worst first, each with its bar in the night."""
    zone = ZoneInfo(answer.window.time_zone)
    night = answer.night
    counts = ", ".join(
        f"{sum(sync.result is result for sync in answer.syncs)} {result}" for result in reversed(list(Result))
    )
    console.print(
        Text.assemble(
            (answer.environment, "bold"), "  ", (answer.result, STYLES[answer.result]), f"  {counts}"
        )
    )
    window = f"{_clock(night.opened, zone)} to {_clock(night.closes, zone)} {answer.window.time_zone}"
    end = f", expected to end {_clock(night.ends, zone)}" if night.ends and night.state == "running" else ""
    console.print(
        f"  night of {night.opened.astimezone(zone):%a %d %b}, {window}: {night.state or 'no run'}{end}"
    )
    if answer.window.replacing:
        console.print(f"  being replaced now: {escape(', '.join(answer.window.databases))}")
    if night.late:
        console.print("  [yellow]past the window's end[/]")
    for trouble in (*answer.notes, *answer.problems):
        console.print(Text(f"  ! {trouble}", style="yellow"), soft_wrap=True)
    console.print(_table(answer, zone, max(min(WIDEST, console.width - 70), NARROWEST)))


def _table(answer: EnvironmentAnswer, zone: ZoneInfo, width: int) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=True, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, width=width)
    table.add_column(overflow="fold")
    attempts: dict[str, AttemptAnswer] = {}
    for each in answer.night.attempts:
        attempts[each.group] = each
    begin, end = _extent(answer)
    for sync in sorted(answer.syncs, key=lambda sync: (-GRAVITY[sync.result], sync.sync)):
        bar = Text()
        for group in sync.groups:
            if group in attempts:
                bar = _bar(attempts[group], answer.at, begin, end, width)
        state = sync.now.phase if sync.now and sync.now.phase is Phase.RUNNING else sync.result
        summary = _summary(sync, zone)
        if sync.badge not in ("", Badge.SANITISED):
            summary = Text.assemble((sync.badge, "yellow"), "  ", summary)
        table.add_row(Text(state, style=STYLES.get(state, "")), Text(sync.sync), bar, summary)
    return table


def _extent(answer: EnvironmentAnswer) -> tuple[dt.datetime, dt.datetime]:
    night = answer.night
    moments = [night.opened, night.closes, *([night.ends] if night.ends else [])]
    moments += [each.begun for each in night.attempts if each.begun]
    moments += [each.ended for each in night.attempts if each.ended]
    return min(moments), max(moments)


def _bar(each: AttemptAnswer, now: dt.datetime, begin: dt.datetime, end: dt.datetime, width: int) -> Text:
    def column(moment: dt.datetime) -> int:
        return min(max(int((moment - begin) / (end - begin) * width), 0), width - 1)

    cells = [EMPTY] * width
    if begin <= now <= end:
        cells[column(now)] = NOW
    begun, ended = each.begun, each.ended or (now if each.begun else None)
    if begun is not None and ended is not None and not each.skipped:
        for place in range(column(begun), column(ended) + 1):
            cells[place] = DONE
    starts = each.starts or (now if begun is not None and each.ended is None else None)
    if starts is not None and each.ends is not None:
        for place in range(column(starts), column(each.ends) + 1):
            cells[place] = cells[place] if cells[place] == DONE else TO_COME
    kind = Phase.RUNNING if each.phase is Phase.RUNNING else (each.result or "")
    return Text("".join(cells), style=STYLES.get(kind, "dim"))


def _summary(sync: SyncAnswer, zone: ZoneInfo) -> Text:
    if sync.now and sync.now.phase is Phase.RUNNING:
        likely = f", until about {_clock(sync.now.ends, zone)}" if sync.now.ends else ""
        return Text(f"{sync.now.step}{likely}")
    if sync.why:
        return Text(sync.why[0])
    if sync.last is None:
        return Text("never ran" if sync.enabled else "by hand only", style="dim")
    summary = "; ".join((sync.last.what, *sync.last.why)) if sync.last.skipped else sync.last.what
    seconds = f", {sync.last.seconds:.0f} s" if sync.last.seconds is not None else ""
    return Text(f"{summary} at {_clock(sync.last.reported, zone)}{seconds}", style="dim")


def _clock(moment: dt.datetime | None, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%H:%M}" if moment else ""
