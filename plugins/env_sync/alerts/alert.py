"""An alert: what a monitor is told of a report, in the words that all monitors share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping

from attrs import frozen

from env_sync.domain.report import GRAVITY, Report, Result

LONGEST_SUMMARY = 350
"""Characters. With the figures behind it, NSCA's oldest packets of 512 bytes hold it."""


@frozen
class Figure:
    """A number of the performance data. `unit` is `s`, `B` or nothing."""

    name: str
    value: float
    unit: str = ""

    def __str__(self) -> str:
        """As a plugin writes it: https://www.monitoring-plugins.org/doc/guidelines.html#AEN201."""
        return f"{self.name}={self.value:.15g}{self.unit}"


@frozen(kw_only=True)
class Alert:
    """What is told of one report."""

    environment: str
    sync: str
    group: str
    database: str
    result: Result
    summary: str
    """One line, cut where it is long."""
    details: tuple[str, ...]
    """All of it, in lines."""
    figures: tuple[Figure, ...]
    next_within: dt.timedelta | None
    """In what time the next success must come; None where no night runs the sync."""
    report: Report

    @property
    def exit_status(self) -> int:
        """As a plugin's: 0, 1 or 2."""
        return GRAVITY[self.result]

    @property
    def names(self) -> Mapping[str, str]:
        """What templates are filled with."""
        return {
            "environment": self.environment,
            "sync": self.sync,
            "group": self.group,
            "database": self.database,
        }


def make_alert(report: Report, *, next_within: dt.timedelta | None) -> Alert | None:
    """The alert of a report; None for a sync that was not asked for in its run, which nobody is told of."""
    if report.quiet and report.result is Result.OK:
        return None
    lines = [line for why in report.why for line in why.splitlines() if line.strip()]
    summary = f"{report.result}: {report.what}"
    if lines:
        summary += f": {lines[0]}"
    return Alert(
        environment=report.environment,
        sync=report.sync,
        group=report.group,
        database=report.database,
        result=report.result,
        summary=_cut(summary),
        details=(
            summary,
            *lines[1:],
            *report.figures(),
            f"run {report.run}, group {report.group}, reported {report.reported:%Y-%m-%d %H:%M:%S} UTC",
        ),
        figures=tuple(_figures(report)),
        next_within=next_within,
        report=report,
    )


def _figures(report: Report) -> Iterator[Figure]:
    if report.seconds is not None:
        yield Figure("seconds", round(report.seconds, 1), "s")
    if report.bytes is not None:
        yield Figure("size", report.bytes, "B")
    if report.unavailable is not None:
        yield Figure("unavailable", round(report.unavailable, 3), "s")
    if report.data_time is not None:
        yield Figure("data_age", round((report.reported - report.data_time).total_seconds()), "s")
    if report.waited is not None:
        yield Figure("waited", round(report.waited, 1), "s")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SUMMARY else f"{text[: LONGEST_SUMMARY - 3]}..."
