"""What a status says. Moments are UTC, lengths of time seconds, sizes bytes."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum

from attrs import frozen

from env_sync.domain.freshness import Freshness
from env_sync.domain.pause import Pause
from env_sync.domain.report import GRAVITY, Report, Result


class Phase(StrEnum):
    """Where a group is in a run."""

    PLANNED = "planned"
    """No run has come to it yet."""
    WAITING = "waiting"
    """Its start gate waits: for its time, for another sync, for a dump, for the lease."""
    RUNNING = "running"
    OVER = "over"
    """It is over, and left a report."""
    LOST = "lost"
    """It is over, and left none."""


@frozen(kw_only=True)
class Attempt:
    """One group in one run: planned for, begun, ended, and where it is. `ends` is an estimate."""

    group: str
    run: str | None
    nightly: bool
    phase: Phase
    planned: dt.datetime
    begun: dt.datetime | None = None
    ended: dt.datetime | None = None
    step: str | None = None
    """The step that is at work, or comes next."""
    starts: dt.datetime | None = None
    """When it is likely to begin, where it has not."""
    ends: dt.datetime | None = None
    """When it is likely to end, where it has not; None where no earlier night tells."""
    result: Result | None = None
    skipped: bool = False


@frozen(kw_only=True)
class Holding:
    """What live holds since a pull: which dump, of when, of whose data, and what was done to it."""

    dump_key: str | None
    source_environment: str | None
    data_time: dt.datetime | None
    transformations: tuple[str, ...]
    since: dt.datetime
    undo: bool
    """Whether it is what was live before, made live again."""
    badge: str = ""
    """Whether it was sanitised, here or above; "" where the pull of an earlier version did not tell."""
    reason: str = ""
    """Why it had not to be, where that was said."""


@frozen(kw_only=True)
class PastNight:
    """How a sync went in one night. None where it left no report."""

    night: dt.datetime
    result: Result | None
    skipped: bool


@frozen(kw_only=True)
class SyncStatus:
    """One sync, as it is now."""

    environment: str
    sync: str
    groups: tuple[str, ...]
    action: str
    dbms: str
    server: str
    database: str
    source: str
    """Where its dumps are, as `bucket/path`; of a bucket sync the source bucket."""
    enabled: bool
    recovery: bool
    undo: str | None
    """By which name a run can make previous live again; None where it cannot."""
    result: Result
    """The gravest of its last report and its freshness."""
    why: tuple[str, ...]
    """Why it is not OK, the gravest first."""
    freshness: Freshness
    now: Attempt | None
    """Its group that is at work or waits, in whatever run."""
    last: Report | None
    last_run: str | None
    """The id of the run of `last`."""
    holding: Holding | None
    next_start: dt.datetime | None
    pause: Pause | None
    past: tuple[PastNight, ...]
    """The last nights, the oldest first."""
    badge: str = ""
    """Whether what it brings is sanitised, as it is configured; "" for what does not come from above."""
    reason: str = ""
    """Why it has not to be, where that is said."""


@frozen(kw_only=True)
class Replacing:
    """Whether data is being replaced now, and when it may be."""

    replacing: bool
    since: dt.datetime | None
    databases: tuple[str, ...]
    """Those that are being replaced."""
    waiting: tuple[str, ...]
    """Those that tonight's run is still to replace."""
    open: bool
    """Whether the window is open."""
    opens: dt.datetime
    """When the window opened; where it is closed, when it opens next."""
    closes: dt.datetime
    time_zone: str


@frozen(kw_only=True)
class Night:
    """The night that is running, or was last: the run of it, and each group in it and in runs by hand."""

    run: str | None
    """None where no run has been started for it."""
    state: str | None
    opened: dt.datetime
    closes: dt.datetime
    attempts: tuple[Attempt, ...]
    ends: dt.datetime | None
    """When the last group has ended, or is likely to."""
    late: bool
    """Whether that is after the window's end."""


@frozen(kw_only=True)
class Disks:
    """What ended attempts had left on workers, as last reports tell."""

    at: dt.datetime | None
    """When something was removed last; None where nothing was, and so with the next three."""
    group: str | None
    """Whose report told it."""
    folders: int
    size: int
    left: tuple[str, ...]
    """What lies there still, in words, with its path: it could not be removed."""


@frozen(kw_only=True)
class EnvironmentStatus:
    """An environment and its syncs, as they are at `at`."""

    environment: str
    at: dt.datetime
    protected: bool
    must_sanitise: bool
    """Whether what comes down into it has to be sanitised, or to say why not."""
    switched_off: bool | None
    """Whether its DAG is; None where Airflow has none."""
    notes: tuple[str, ...]
    """What is wrong with the environment as a whole."""
    problems: tuple[str, ...]
    """What is wrong with its configuration."""
    unusable: tuple[str, ...]
    """Names of syncs that do not run because of such a problem, and so are not among `syncs`."""
    syncs: tuple[SyncStatus, ...]
    night: Night
    replacing: Replacing
    disks: Disks

    @property
    def result(self) -> Result:
        """The gravest of its syncs; at least a WARNING where its configuration has problems, or it is off.

        CRITICAL where a problem keeps a sync from running: nothing else would tell that its data grows old.
        """
        results = [sync.result for sync in self.syncs]
        if self.unusable:
            results.append(Result.CRITICAL)
        if self.problems or self.notes:
            results.append(Result.WARNING)
        return max(results, key=GRAVITY.__getitem__, default=Result.OK)

    def count(self, result: Result) -> int:
        """How many syncs are so."""
        return sum(sync.result is result for sync in self.syncs)
