"""What a status is made of: the rows that Airflow has of an environment, and which of them are needed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from env_sync.domain.pause import Pause
from env_sync.domain.report import Report, Result
from env_sync.domain.settings import Settings
from env_sync.planning.schedule import last_opening

RUN_OVER = frozenset({"success", "failed"})
"""States of a run that is over."""


@frozen(kw_only=True)
class RunRow:
    """A run of the DAG of an environment. `by` is who started it, where a person did."""

    environment: str
    run: str
    nightly: bool
    state: str
    run_after: dt.datetime
    by: str | None = None


@frozen(kw_only=True)
class TaskRow:
    """A task in a run; skipped ones need not be given. `group` is "" for what tells others of the run."""

    run: str
    group: str
    step: str
    state: str | None
    started: dt.datetime | None
    ended: dt.datetime | None


@frozen(kw_only=True)
class Summary:
    """The little of a report that the past is judged by."""

    environment: str
    run: str
    nightly: bool
    run_after: dt.datetime
    group: str
    result: Result
    skipped: bool
    quiet: bool
    undo: bool
    seconds: float | None
    replaced: bool
    reported: dt.datetime

    @property
    def success(self) -> bool:
        """Whether the sync did its work: dumped, or made live what a dump holds."""
        return self.result is not Result.CRITICAL and not self.skipped and not self.undo


@frozen(kw_only=True)
class Rows:
    """What Airflow knows of one environment.

    `switched_off` is None where Airflow has no such DAG. `tasks` are those of the night's run and of whatever
    is at work; `summaries` those of all reports in the time that is looked back on; `reports` in full those
    that `wanted` chose among them.
    """

    switched_off: bool | None
    runs: Sequence[RunRow]
    tasks: Sequence[TaskRow]
    summaries: Sequence[Summary]
    reports: Sequence[Report]
    pauses: Mapping[str, Pause]
    """By the name of the sync."""


def wanted(summaries: Iterable[Summary]) -> set[tuple[str, str]]:
    """Which reports are needed in full, as (run, group): of each group the last, and its last replacement."""
    last: dict[str, tuple[str, str]] = {}
    replaced: dict[str, tuple[str, str]] = {}
    for summary in sorted(summaries, key=lambda each: each.reported):
        if summary.quiet:
            continue
        last[summary.group] = (summary.run, summary.group)
        if summary.replaced:
            replaced[summary.group] = (summary.run, summary.group)
    return {*last.values(), *replaced.values()}


def relevant_runs(runs: Iterable[RunRow], now: dt.datetime, settings: Settings) -> tuple[RunRow, ...]:
    """The runs whose tasks are needed: of the night, by hand since it began, and what is not over."""
    everything = list(runs)
    night = nights_run(everything, now, settings)
    since = night.run_after if night else last_opening(now, settings.window, settings.timezone)
    return tuple(
        run
        for run in everything
        if run is night or run.state not in RUN_OVER or (not run.nightly and run.run_after >= since)
    )


def nights_run(runs: Iterable[RunRow], now: dt.datetime, settings: Settings) -> RunRow | None:
    """The run of the night whose window opened last; None where the schedule has started none."""
    opened = last_opening(now, settings.window, settings.timezone)
    nightly = [run for run in runs if run.nightly and opened <= run.run_after <= now]
    return max(nightly, key=lambda run: run.run_after, default=None)
