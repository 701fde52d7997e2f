"""The API: /env-sync/api/v1. Each endpoint asks for what its user may do with the environment's DAG."""

from __future__ import annotations

import datetime as dt

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Response

from env_sync.board.access import (
    EnvironmentName,
    may_edit,
    may_read,
    may_rerun,
    may_run,
    not_forged,
    readable_environments,
)
from env_sync.board.actions import pause_sync, rerun_failed, resume_sync, start_run
from env_sync.board.answers import (
    DumpAnswer,
    EnvironmentAnswer,
    ManifestAnswer,
    PauseAnswer,
    PauseAsked,
    RerunAsked,
    ResumedAnswer,
    RunAnswer,
    RunAsked,
    StartedAnswer,
    WindowAnswer,
)
from env_sync.board.dumps import list_dumps, read_manifest
from env_sync.board.nights import read_runs
from env_sync.board.overview import read_replacing, read_statuses
from env_sync.board.plans import current_plan
from env_sync.core.errors import NothingToRestore

router = APIRouter(prefix="/api/v1")

ENVIRONMENT = "/environments/{environment}"
SYNC = ENVIRONMENT + "/syncs/{sync}"


@router.get("/environments", tags=["status"])
def environments(session: SessionDep, user: GetUserDep) -> list[EnvironmentAnswer]:
    """The status of every environment that you may see."""
    statuses = read_statuses(session, readable_environments(user), dt.datetime.now(dt.UTC))
    return [EnvironmentAnswer.of(status) for status in statuses]


@router.get(ENVIRONMENT, tags=["status"], dependencies=[may_read])
def environment(session: SessionDep, environment: EnvironmentName) -> EnvironmentAnswer:
    """The status of an environment: each of its syncs, and the night."""
    (status,) = read_statuses(session, [environment], dt.datetime.now(dt.UTC))
    return EnvironmentAnswer.of(status)


@router.get(ENVIRONMENT + "/window", tags=["status"], dependencies=[may_read])
def window(session: SessionDep, environment: EnvironmentName, response: Response) -> WindowAnswer:
    """Whether data is being replaced now, since when, and of which databases; when the window opens."""
    now = dt.datetime.now(dt.UTC)
    response.headers["Cache-Control"] = "no-store"
    return WindowAnswer.of(environment, now, read_replacing(session, environment, now))


@router.get(ENVIRONMENT + "/pauses", tags=["pauses"], dependencies=[may_read])
def pauses(session: SessionDep, environment: EnvironmentName) -> dict[str, PauseAnswer]:
    """The pauses that hold now, by sync."""
    (status,) = read_statuses(session, [environment], dt.datetime.now(dt.UTC))
    return {sync.sync: PauseAnswer.model_validate(sync.pause) for sync in status.syncs if sync.pause}


@router.put(SYNC + "/pause", tags=["pauses"], dependencies=[not_forged, may_edit])
def pause(
    session: SessionDep, user: GetUserDep, environment: EnvironmentName, sync: str, asked: PauseAsked
) -> PauseAnswer:
    """Pause a sync until a moment; a pause that there is is replaced."""
    made = pause_sync(
        session,
        user,
        current_plan(environment),
        sync,
        why=asked.why,
        until=asked.until.astimezone(dt.UTC),
        now=dt.datetime.now(dt.UTC),
    )
    return PauseAnswer.model_validate(made)


@router.delete(SYNC + "/pause", tags=["pauses"], dependencies=[not_forged, may_edit])
def resume(session: SessionDep, user: GetUserDep, environment: EnvironmentName, sync: str) -> ResumedAnswer:
    """End the pause of a sync now."""
    return ResumedAnswer(was_paused=resume_sync(session, user, current_plan(environment), sync))


@router.get(ENVIRONMENT + "/runs", tags=["runs"], dependencies=[may_read])
def runs(session: SessionDep, environment: EnvironmentName) -> list[RunAnswer]:
    """The runs of the last month, the newest first."""
    found = read_runs(session, environment, dt.datetime.now(dt.UTC))
    return [RunAnswer.model_validate(run) for run in found]


@router.post(ENVIRONMENT + "/runs", tags=["runs"], status_code=201, dependencies=[not_forged, may_run])
def run(
    session: SessionDep, user: GetUserDep, environment: EnvironmentName, asked: RunAsked
) -> StartedAnswer:
    """Run syncs now, restore a certain dump, or make previous live again."""
    return StartedAnswer(
        run=start_run(session, user, current_plan(environment), asked.model_dump(mode="json"))
    )


@router.post(ENVIRONMENT + "/rerun", tags=["runs"], dependencies=[not_forged, may_rerun])
def rerun(
    session: SessionDep, user: GetUserDep, environment: EnvironmentName, asked: RerunAsked
) -> StartedAnswer:
    """Run again, in the same run, what failed in it."""
    groups = rerun_failed(session, user, current_plan(environment), asked.run, asked.groups)
    return StartedAnswer(run=asked.run, groups=groups)


@router.get(SYNC + "/dumps", tags=["dumps"], dependencies=[may_read])
def dumps(environment: EnvironmentName, sync: str) -> list[DumpAnswer]:
    """The whole dumps that a pull can restore, the newest first; asked of the bucket."""
    return [DumpAnswer.model_validate(dump) for dump in list_dumps(current_plan(environment), sync)]


@router.get(SYNC + "/dumps/{timestamp}/manifest", tags=["dumps"], dependencies=[may_read])
def manifest(environment: EnvironmentName, sync: str, timestamp: str) -> ManifestAnswer:
    """A dump's life story: where its data was born, by which syncs it came, and what was done to it."""
    found = read_manifest(current_plan(environment), sync, timestamp)
    if found is None:
        raise NothingToRestore(f"The dump of {timestamp} has no manifest.")
    return ManifestAnswer.model_validate(found)
