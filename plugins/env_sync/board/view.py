"""What the page shows of a status: places on the timeline in per cent, times on a clock. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from urllib.parse import quote
from zoneinfo import ZoneInfo

from attrs import field, frozen

from env_sync.domain.report import GRAVITY, Result
from env_sync.status.values import Attempt, EnvironmentStatus, Phase, SyncStatus

MARGIN = dt.timedelta(minutes=20)
"""What the timeline shows before the first and after the last moment."""
LEAST = 0.25
"""Per cent: a bar of a second can still be seen."""
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
MOST_TICKS = 14


@frozen(kw_only=True)
class Bar:
    """A piece of a lane: from where, how wide (per cent), of which kind (a class of the style)."""

    left: float
    width: float
    kind: str


@frozen(kw_only=True)
class Lane:
    """One group on the timeline: its bars, when it was planned for, and all of that in words."""

    group: str
    bars: tuple[Bar, ...]
    planned: float
    summary: str
    attempt: Attempt


@frozen(kw_only=True)
class Timeline:
    """The night as bars; places are per cent of its width."""

    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[float, str], ...]
    window: Bar
    now: float | None


@frozen(kw_only=True)
class View:
    """A status with what its page needs. `root` is Airflow's own address, without a slash at its end."""

    status: EnvironmentStatus
    root: str
    may_edit: bool
    zone: ZoneInfo = field(init=False)
    timeline: Timeline = field(init=False)

    @zone.default
    def _find_zone(self) -> ZoneInfo:
        return ZoneInfo(self.status.replacing.time_zone)

    @timeline.default
    def _draw(self) -> Timeline:
        return draw(self.status, self.zone)

    @property
    def dag(self) -> str:
        """The page of the environment's DAG in Airflow."""
        return f"{self.root}/dags/env_sync_{quote(self.status.environment, safe='')}"

    def group_link(self, run: str | None, group: str) -> str:
        """The page of a group in a run."""
        if run is None:
            return self.dag
        return f"{self.dag}/runs/{quote(run, safe='')}/tasks/group/{quote(group, safe='')}"

    def log_link(self, run: str, group: str, step: str) -> str:
        """The page of a step's log in a run."""
        return f"{self.dag}/runs/{quote(run, safe='')}/tasks/{quote(f'{group}.{step}', safe='')}"

    @property
    def attention(self) -> list[SyncStatus]:
        """The syncs that are not OK, the worst first."""
        found = [sync for sync in self.status.syncs if sync.result is not Result.OK]
        return sorted(found, key=lambda sync: (-GRAVITY[sync.result], sync.sync))

    @property
    def databases(self) -> list[list[SyncStatus]]:
        """The syncs by the database that they are about, in the order of names; what holds data first."""
        by_database: dict[tuple[str, str, str], list[SyncStatus]] = {}
        for sync in self.status.syncs:
            by_database.setdefault((sync.database, sync.server, sync.dbms), []).append(sync)
        return [
            sorted(syncs, key=lambda sync: (sync.holding is None, sync.next_start is None, sync.sync))
            for _, syncs in sorted(by_database.items())
        ]

    @property
    def failed(self) -> int:
        """How many groups of the night failed and are not at work again."""
        return sum(
            each.result is Result.CRITICAL and each.nightly and each.phase in (Phase.OVER, Phase.LOST)
            for each in self.status.night.attempts
        )

    def count(self, phase: Phase) -> int:
        """How many groups of the night are there."""
        return sum(each.phase is phase for each in self.status.night.attempts)

    def clock(self, moment: dt.datetime | None) -> str:
        """The time of day on the environment's clock; with the day where it is further away."""
        if moment is None:
            return "–"
        local, here = moment.astimezone(self.zone), self.status.at.astimezone(self.zone)
        near = abs(moment - self.status.at) < 18 * HOUR or local.date() == here.date()
        if near:
            return f"{local:%H:%M}"
        return f"{local:%a %H:%M}" if abs(moment - self.status.at) < 6 * DAY else f"{local:%-d %b %H:%M}"

    def day(self, moment: dt.datetime) -> str:
        """The day and the time on the environment's clock."""
        return f"{moment.astimezone(self.zone):%a %-d %b %Y, %H:%M}"

    def age(self, moment: dt.datetime) -> str:
        """How long ago a moment was, such as `5 h`."""
        return length((self.status.at - moment).total_seconds())


def length(seconds: float | None) -> str:
    """A length of time as a person says it: `8 s`, `12 min`, `5 h`, `3 days`."""
    if seconds is None:
        return "–"
    for unit, size, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 72)):
        if seconds < size * most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def size(count: int | None) -> str:
    """A size as a person says it: `2.5 MB`."""
    if count is None:
        return "–"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def draw(status: EnvironmentStatus, zone: ZoneInfo) -> Timeline:
    """The timeline of a night, on the clock of a zone."""
    night = status.night
    moments = [night.opened, night.closes]
    for each in night.attempts:
        moments += [moment for moment in (each.begun, each.ended, each.ends) if moment is not None]
    begin, end = min(moments) - MARGIN, max(moments) + MARGIN
    whole = (end - begin).total_seconds()

    def place(moment: dt.datetime) -> float:
        return round(min(max((moment - begin).total_seconds() / whole, 0.0), 1.0) * 100, 3)

    def bar(start: dt.datetime, stop: dt.datetime, kind: str) -> Bar:
        left = place(start)
        return Bar(left=left, width=max(round(place(stop) - left, 3), LEAST), kind=kind)

    return Timeline(
        lanes=tuple(
            Lane(
                group=each.group,
                bars=tuple(bar(*piece) for piece in _pieces(each, status.at)),
                planned=place(each.planned),
                summary=_summary(each, zone),
                attempt=each,
            )
            for each in night.attempts
        ),
        ticks=tuple(
            (place(moment), f"{moment.astimezone(zone):%H:%M}") for moment in _ticks(begin, end, zone)
        ),
        window=bar(night.opened, night.closes, "window"),
        now=place(status.at) if begin <= status.at <= end else None,
    )


def _pieces(each: Attempt, now: dt.datetime) -> Sequence[tuple[dt.datetime, dt.datetime, str]]:
    """From when to when, and the kind, of the bars of a group."""
    if each.phase in (Phase.OVER, Phase.LOST):
        if each.begun is None or each.ended is None or each.skipped:
            return ()
        return ((each.begun, each.ended, (each.result or Result.CRITICAL).lower()),)
    if each.phase is Phase.RUNNING and each.begun is not None:
        worked = (each.begun, now, "running")
        return (worked, (now, each.ends, "estimate")) if each.ends and each.ends > now else (worked,)
    if each.starts is not None and each.ends is not None:
        return ((each.starts, each.ends, "estimate"),)
    return ()


def _summary(each: Attempt, zone: ZoneInfo) -> str:
    def clock(moment: dt.datetime) -> str:
        return f"{moment.astimezone(zone):%H:%M}"

    parts = [f"planned {clock(each.planned)}" if each.nightly else f"by hand at {clock(each.planned)}"]
    if each.skipped:
        parts.append("skipped")
    elif each.phase is Phase.LOST:
        parts.append("left no report")
    elif each.phase is Phase.OVER:
        if each.begun is not None and each.ended is not None:
            took = length((each.ended - each.begun).total_seconds())
            parts.append(f"{clock(each.begun)} to {clock(each.ended)}, {took}")
        parts.append(str(each.result))
    elif each.phase is Phase.RUNNING and each.begun is not None:
        parts.append(f"running since {clock(each.begun)}, at {each.step}")
        if each.ends is not None:
            parts.append(f"until about {clock(each.ends)}")
    else:
        parts.append(str(each.phase))
        if each.ends is not None:
            parts.append(f"until about {clock(each.ends)}")
    return "; ".join(parts)


def _ticks(begin: dt.datetime, end: dt.datetime, zone: ZoneInfo) -> Sequence[dt.datetime]:
    """Full hours on the clock of the zone, as many as can be read."""
    first = begin.astimezone(zone).replace(minute=0, second=0, microsecond=0).astimezone(dt.UTC) + HOUR
    step = -(-int((end - begin) / HOUR) // MOST_TICKS) or 1
    ticks = []
    while first < end:
        ticks.append(first)
        first += step * HOUR
    return ticks
