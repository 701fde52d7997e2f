"""The rows of an environment beside its plan, each found by what it is asked for with."""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Mapping, Sequence

from attrs import field, frozen

from env_sync.domain.report import Report
from env_sync.domain.settings import Settings
from env_sync.planning.plan import Group, Plan
from env_sync.planning.schedule import due, last_opening
from env_sync.status.rows import Rows, RunRow, Summary, TaskRow, nights_run

USUAL_NIGHTS = 14
"""From how many of its last good runs it is estimated how long a group takes."""


@frozen(kw_only=True)
class Seen:
    """The plan of an environment and what Airflow knows of it at `now` (UTC)."""

    plan: Plan
    rows: Rows
    now: dt.datetime
    runs: Mapping[str, RunRow] = field(init=False)
    tasks: Mapping[tuple[str, str], Mapping[str, TaskRow]] = field(init=False)
    """By run and group, and by step."""
    summaries: Mapping[tuple[str, str], Summary] = field(init=False)
    """By run and group."""
    reports: Mapping[tuple[str, str], Report] = field(init=False)
    """The same."""
    past: Mapping[str, Sequence[Summary]] = field(init=False)
    """By group, the newest first, without what was not asked for."""
    night: RunRow | None = field(init=False)
    """The run of the night whose window opened last."""
    opened: dt.datetime = field(init=False)
    """When that was."""

    @runs.default
    def _find_runs(self) -> Mapping[str, RunRow]:
        return {run.run: run for run in self.rows.runs}

    @tasks.default
    def _find_tasks(self) -> Mapping[tuple[str, str], Mapping[str, TaskRow]]:
        tasks: dict[tuple[str, str], dict[str, TaskRow]] = {}
        for task in self.rows.tasks:
            tasks.setdefault((task.run, task.group), {})[task.step] = task
        return tasks

    @summaries.default
    def _find_summaries(self) -> Mapping[tuple[str, str], Summary]:
        return {(each.run, each.group): each for each in self.rows.summaries}

    @reports.default
    def _find_reports(self) -> Mapping[tuple[str, str], Report]:
        # A report names its run together with its DAG.
        return {(report.run.partition("/")[2], report.group): report for report in self.rows.reports}

    @past.default
    def _find_past(self) -> Mapping[str, Sequence[Summary]]:
        past: dict[str, list[Summary]] = {}
        for each in sorted(self.rows.summaries, key=lambda each: each.reported, reverse=True):
            if not each.quiet:
                past.setdefault(each.group, []).append(each)
        return past

    @night.default
    def _find_night(self) -> RunRow | None:
        return nights_run(self.rows.runs, self.now, self.settings)

    @opened.default
    def _find_opened(self) -> dt.datetime:
        if self.night is not None:
            return self.night.run_after
        return last_opening(self.now, self.settings.window, self.settings.timezone)

    @property
    def settings(self) -> Settings:
        """Those of the environment."""
        return self.plan.settings

    def planned(self, group: Group) -> dt.datetime:
        """When the group is due in the night."""
        return due(self.opened, group.time, self.settings.window, self.settings.timezone)

    def usual(self, group: str) -> dt.timedelta | None:
        """How long the group takes, by its last good runs; None where there are none."""
        lengths = [
            each.seconds for each in self.past.get(group, ()) if each.success and each.seconds is not None
        ]
        if not lengths:
            return None
        return dt.timedelta(seconds=statistics.median(lengths[:USUAL_NIGHTS]))
