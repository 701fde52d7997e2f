"""What the API answers and takes: the shapes that its reference documents.

Moments are UTC (ISO 8601), lengths of time seconds, sizes bytes.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from env_sync.domain.report import Result
from env_sync.planning import timestamps
from env_sync.planning.request import LONGEST
from env_sync.status.values import EnvironmentStatus, Phase, Replacing

MOST = 1000
"""How many syncs or groups a request may name."""
LONGEST_RUN = 250
"""Characters of the id of a run, which Airflow's database has room for."""
_Name = Annotated[str, Field(max_length=LONGEST)]


class _Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PauseAnswer(_Answer):
    """Who paused a sync, why, since when and until when."""

    by: str
    why: str
    since: dt.datetime | None
    until: Annotated[dt.datetime | None, Field(description="None: until it is resumed")]


class ReportAnswer(_Answer):
    """The report of a sync."""

    run: Annotated[str, Field(description="DAG and run, as `<dag>/<run>`")]
    result: Result
    what: Annotated[str, Field(description="What happened, in one line")]
    why: Annotated[tuple[str, ...], Field(description="The reasons, the most important first")]
    skipped: bool
    seconds: float | None
    bytes: int | None
    dump_key: str | None
    source_environment: str | None
    data_time: Annotated[dt.datetime | None, Field(description="When the data was read where it was born")]
    unavailable: Annotated[float | None, Field(description="How long live was unavailable")]
    waited: Annotated[float | None, Field(description="How long it waited for tonight's dump")]
    transformations: tuple[str, ...]
    badge: Annotated[str, Field(description="SANITISED, SANITISED ABOVE or NOT SANITISED; empty: unknown")]
    reason: Annotated[str, Field(description="Why nothing has to be sanitised, where a reason was given")]
    undo: Annotated[bool, Field(description="Whether it made previous live again")]
    replaced: Annotated[bool | None, Field(description="Whether live was replaced; null: not known")]
    reported: dt.datetime


class AttemptAnswer(_Answer):
    """A group (one sync at one of its times) in one run."""

    group: str
    run: str | None
    nightly: bool
    phase: Phase
    planned: dt.datetime
    begun: dt.datetime | None
    ended: dt.datetime | None
    step: Annotated[str | None, Field(description="The step that is at work")]
    starts: Annotated[dt.datetime | None, Field(description="When it is likely to begin")]
    ends: Annotated[dt.datetime | None, Field(description="When it is likely to end, by earlier nights")]
    result: Result | None
    skipped: bool


class HoldingAnswer(_Answer):
    """What live holds since a pull."""

    dump_key: str | None
    source_environment: str | None
    data_time: dt.datetime | None
    transformations: tuple[str, ...]
    since: dt.datetime
    undo: bool
    badge: Annotated[str, Field(description="SANITISED, SANITISED ABOVE or NOT SANITISED; empty: unknown")]
    reason: Annotated[str, Field(description="Why nothing has to be sanitised, where a reason was given")]


class FreshnessAnswer(_Answer):
    """Whether a sync has succeeded lately enough."""

    result: Result
    what: str
    last_success: dt.datetime | None
    limit: Annotated[dt.timedelta, Field(description="`fresh_within`, as an ISO 8601 duration")]


class SyncAnswer(_Answer):
    """One sync, as it is now."""

    sync: str
    groups: tuple[str, ...]
    action: str
    dbms: str
    server: str
    database: str
    source: Annotated[str, Field(description="Where its dumps are: bucket/path")]
    enabled: Annotated[bool, Field(description="Whether it runs every night")]
    recovery: bool
    undo: Annotated[str | None, Field(description="What `restore_previous` takes to undo its last pull")]
    result: Annotated[Result, Field(description="The worse of its last report and its freshness")]
    why: tuple[str, ...]
    freshness: FreshnessAnswer
    now: Annotated[AttemptAnswer | None, Field(description="Where it is at work or waits")]
    last: ReportAnswer | None
    holding: HoldingAnswer | None
    next_start: dt.datetime | None
    pause: PauseAnswer | None
    badge: Annotated[str, Field(description="The same for what it is configured to bring")]
    reason: Annotated[str, Field(description="Why nothing has to be sanitised, where a reason was given")]


class NightAnswer(_Answer):
    """The night that is running, or was last."""

    run: Annotated[str | None, Field(description="Its run; null: none was started")]
    state: str | None
    opened: dt.datetime
    closes: dt.datetime
    ends: Annotated[dt.datetime | None, Field(description="When its last sync has ended, or is likely to")]
    late: Annotated[bool, Field(description="Whether that is after the window closes")]
    attempts: tuple[AttemptAnswer, ...]


class WindowAnswer(_Answer):
    """Whether data is being replaced now, and when it may be."""

    environment: str
    at: dt.datetime
    replacing: Annotated[bool, Field(description="Hold off while this is true")]
    since: dt.datetime | None
    databases: Annotated[tuple[str, ...], Field(description="Those that are being replaced")]
    waiting: Annotated[tuple[str, ...], Field(description="Those that tonight's run is still to replace")]
    open: Annotated[bool, Field(description="Whether the window is open")]
    opens: Annotated[dt.datetime, Field(description="When it opened, or opens next")]
    closes: dt.datetime
    time_zone: str

    @classmethod
    def of(cls, environment: str, at: dt.datetime, replacing: Replacing) -> WindowAnswer:
        """The answer for an environment at a moment (UTC)."""
        return cls(
            environment=environment,
            at=at,
            replacing=replacing.replacing,
            since=replacing.since,
            databases=replacing.databases,
            waiting=replacing.waiting,
            open=replacing.open,
            opens=replacing.opens,
            closes=replacing.closes,
            time_zone=replacing.time_zone,
        )


class DisksAnswer(_Answer):
    """What ended attempts had left on workers."""

    at: Annotated[dt.datetime | None, Field(description="When something was removed last")]
    group: Annotated[str | None, Field(description="The group whose report said so")]
    folders: Annotated[int, Field(description="How many work folders that were")]
    size: Annotated[int, Field(description="Bytes of what lay in them")]
    left: Annotated[tuple[str, ...], Field(description="What could not be removed, with its path")]


class EnvironmentAnswer(_Answer):
    """An environment and its syncs, as they are now."""

    environment: str
    at: dt.datetime
    result: Result
    protected: bool
    switched_off: Annotated[bool | None, Field(description="Whether its DAG is; null: Airflow has none")]
    notes: tuple[str, ...]
    problems: Annotated[tuple[str, ...], Field(description="Problems of the configuration")]
    syncs: tuple[SyncAnswer, ...]
    night: NightAnswer
    window: WindowAnswer
    disks: DisksAnswer

    @classmethod
    def of(cls, status: EnvironmentStatus) -> EnvironmentAnswer:
        """The answer for a status."""
        return cls(
            environment=status.environment,
            at=status.at,
            result=status.result,
            protected=status.protected,
            switched_off=status.switched_off,
            notes=status.notes,
            problems=status.problems,
            syncs=tuple(SyncAnswer.model_validate(sync) for sync in status.syncs),
            night=NightAnswer.model_validate(status.night),
            window=WindowAnswer.of(status.environment, status.at, status.replacing),
            disks=DisksAnswer.model_validate(status.disks),
        )


class RunAnswer(_Answer):
    """A run of an environment's DAG."""

    run: str
    nightly: bool
    state: str
    run_after: dt.datetime
    by: Annotated[str | None, Field(description="Who started it, where a person did")]


class DumpAnswer(_Answer):
    """A dump that a pull can restore."""

    timestamp: Annotated[str, Field(validation_alias="timestamp_text", description="What `timestamp` takes")]
    key: str
    size: int


class TransformationAnswer(_Answer):
    """A transformation as it was applied."""

    name: str
    sha256: str


class ParentAnswer(_Answer):
    """The dump that a database came from, and what was done to it there."""

    environment: str
    key: str
    sha256: str
    transformations: tuple[TransformationAnswer, ...]
    pulled_into: str


class ManifestAnswer(_Answer):
    """A dump's life story."""

    environment: str
    sync: str
    run: str
    dbms: str
    database: str
    engine_version: str
    server_version: str
    key: str
    size: int
    sha256: str
    started: dt.datetime
    finished: dt.datetime
    data_time: dt.datetime
    born_in: str
    parents: tuple[ParentAnswer, ...]
    transformations: tuple[TransformationAnswer, ...]
    consistent: bool


class PauseAsked(_Asked):
    """A pause to be."""

    why: Annotated[str, Field(min_length=1, max_length=500, description="The reason, shown to others")]
    until: Annotated[AwareDatetime, Field(description="When it ends automatically, with a time zone")]


class RunAsked(_Asked):
    """A run by hand: what Airflow's trigger form takes."""

    only: Annotated[tuple[_Name, ...], Field(max_length=MOST, description="The syncs")] = ()
    timestamp: Annotated[
        str | None,
        Field(max_length=timestamps.LONGEST, description="Restore exactly this dump, of the one pull"),
    ] = None
    ignore_pauses: bool = False
    confirm: Annotated[
        str,
        Field(
            max_length=LONGEST,
            description="The database's name, where the environment is protected; '<name> NOT SANITISED' for "
            "an undo that makes raw data live where it should have been sanitised",
        ),
    ] = ""
    restore_previous: Annotated[
        str | None, Field(max_length=LONGEST, description="Undo the last pull of this database")
    ] = None


class RerunAsked(_Asked):
    """What to rerun."""

    run: Annotated[str, Field(max_length=LONGEST_RUN, description="The id of the run")]
    groups: Annotated[
        tuple[_Name, ...], Field(max_length=MOST, description="Those that failed in it, unless named")
    ] = ()


class StartedAnswer(_Answer):
    """The run that was started, or goes on."""

    run: str
    groups: tuple[str, ...] = ()


class ResumedAnswer(_Answer):
    """Whether there was a pause to end."""

    was_paused: bool
