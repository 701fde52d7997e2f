"""What can be done on the board. Each is written to Airflow's audit log with the name of who did it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.api.common.trigger_dag import trigger_dag
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.exceptions import DagNotFound, ParamValidationError
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import select
from sqlalchemy.orm import Session

from env_sync.airflow.pause_store import remove_pause, set_pause
from env_sync.board.audit import write_audit
from env_sync.board.nights import dag_id, read_failed_reports
from env_sync.core.errors import InvalidRequest, UnknownSync
from env_sync.domain.pause import Pause
from env_sync.pipeline.announce import Event
from env_sync.planning.plan import Plan
from env_sync.planning.request import read_request

FAILED = frozenset({"failed", "upstream_failed"})
SELECTION = "selection"
AROUND = (Event.BEGINS, SELECTION, Event.ENDS, "night")
"""Ids of tasks outside of groups that a rerun concerns."""
AT_WORK = frozenset({"running", "queued", "deferred", "restarting", "up_for_retry"})


def pause_sync(
    session: Session,
    user: BaseUser,
    plan: Plan,
    sync: str,
    *,
    why: str,
    until: dt.datetime,
    now: dt.datetime,
) -> Pause:
    """Pause a sync until a moment (UTC). Raises UnknownSync; InvalidRequest without reason or end."""
    _check_sync(plan, sync)
    if not why.strip():
        raise InvalidRequest("A pause needs a reason. Nothing was paused.")
    if until <= now:
        raise InvalidRequest(f"A pause must end in the future, not at {until:%Y-%m-%d %H:%M} UTC.")
    pause = Pause(by=user.get_name(), why=why.strip(), since=now, until=until)
    set_pause(plan.environment, sync, pause, session=session)
    write_audit(session, user, "pause", plan.environment, sync=sync, why=pause.why, until=until.isoformat())
    return pause


def resume_sync(session: Session, user: BaseUser, plan: Plan, sync: str) -> bool:
    """End a pause now. Returns whether there was one. Raises UnknownSync."""
    _check_sync(plan, sync)
    was_paused = remove_pause(plan.environment, sync, session=session)
    write_audit(session, user, "resume", plan.environment, sync=sync, was_paused=was_paused)
    return was_paused


def start_run(session: Session, user: BaseUser, plan: Plan, conf: Mapping[str, Any]) -> str:
    """Start a run by hand; `conf` is what the trigger form takes. Returns the run's id.

    Raises InvalidRequest for what cannot be done, and where the DAG is switched off: a run would wait there.
    """
    asked = {name: value for name, value in conf.items() if value not in (None, "", [])}
    request = read_request(asked, plan)
    if not request.only and request.restore_previous is None:
        raise InvalidRequest("Nothing was chosen: name syncs in `only`. Nothing was started.")
    dag = dag_id(plan.environment)
    _check_switched_on(session, dag)
    try:
        run = trigger_dag(
            dag,
            triggered_by=DagRunTriggeredByType.UI,
            triggering_user_name=user.get_name(),
            conf=dict(asked),
            session=session,
        )
    except (DagNotFound, ParamValidationError, ValueError) as problem:
        raise InvalidRequest(f"Airflow does not start {dag}: {problem}") from None
    if run is None:
        raise InvalidRequest(f"Airflow does not start {dag}. See whether it has the DAG.")
    action = "restore_previous" if request.restore_previous else "run"
    write_audit(session, user, action, plan.environment, run=run.run_id, **asked)
    return str(run.run_id)


def rerun_failed(
    session: Session, user: BaseUser, plan: Plan, run: str, groups: Sequence[str] = ()
) -> tuple[str, ...]:
    """Clear whole groups that failed in a run, so that they run again at once; all of them unless named.

    Whoever is told of replacing is told again. Returns the groups. Raises InvalidRequest where the run is not
    there, nothing failed, or a named one did not, and where the DAG is switched off: a group would start when
    it is switched on, at whatever hour.
    """
    dag = dag_id(plan.environment)
    _check_switched_on(session, dag)
    if session.scalar(select(DagRun.id).where(DagRun.dag_id == dag, DagRun.run_id == run)) is None:
        raise InvalidRequest(f"{dag} has no run {run!r}. Nothing was rerun.")
    tasks: dict[str, list[TaskInstance]] = {group.id: [] for group in plan.groups}
    for task in session.scalars(
        select(TaskInstance).where(TaskInstance.dag_id == dag, TaskInstance.run_id == run)
    ):
        group = task.task_id.rpartition(".")[0]
        if group in tasks:
            tasks[group].append(task)
    critical = read_failed_reports(session, plan.environment, run)
    failed = [
        group
        for group, found in tasks.items()
        if _over(found) and (group in critical or any(task.state in FAILED for task in found))
    ]
    if others := [group for group in groups if group not in failed]:
        raise InvalidRequest(
            f"{', '.join(others)} did not fail in {run}, or is at work again. Nothing was rerun."
        )
    chosen = tuple(groups) or tuple(failed)
    if not chosen:
        raise InvalidRequest(f"Nothing failed in {run}, or it is at work again. Nothing was rerun.")
    again = [task for group in chosen for task in tasks[group]]
    clear_task_instances([*again, *_around(session, dag, run)], session)
    write_audit(session, user, "rerun", plan.environment, run=run, groups=list(chosen))
    return chosen


def _around(session: Session, dag: str, run: str) -> list[TaskInstance]:
    """The tasks that must run again with any group: who is told that data is replaced, and the night's table.

    The selection stands between those who are told first and the groups.
    """
    asked = select(TaskInstance).where(
        TaskInstance.dag_id == dag, TaskInstance.run_id == run, TaskInstance.task_id.in_(AROUND)
    )
    found = {task.task_id: task for task in session.scalars(asked)}
    if Event.BEGINS not in found:
        found.pop(SELECTION, None)
    return list(found.values())


def _over(tasks: Sequence[TaskInstance]) -> bool:
    return bool(tasks) and not any(task.state is None or task.state in AT_WORK for task in tasks)


def _check_switched_on(session: Session, dag: str) -> None:
    if session.scalar(select(DagModel.is_paused).where(DagModel.dag_id == dag)):
        raise InvalidRequest(
            f"The DAG {dag} is switched off, so nothing runs: switch it on first. Nothing was started."
        )


def _check_sync(plan: Plan, sync: str) -> None:
    if sync not in plan.names():
        raise UnknownSync(f"{plan.environment} has no sync {sync!r} that can run.")
