"""Reads nights, runs and reports from Airflow's metadata database, in few queries."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from env_sync.airflow.pause_store import all_pauses
from env_sync.core.serialization import from_plain
from env_sync.domain.pause import pause_key
from env_sync.domain.report import Report, Result
from env_sync.pipeline.announce import Event
from env_sync.planning.plan import Plan
from env_sync.status.rows import Rows, RunRow, Summary, TaskRow, relevant_runs, wanted

PREFIX = "env_sync_"
"""What the id of each DAG begins with."""
LOOKED_BACK = dt.timedelta(days=31)
"""How far back reports are read; further where a sync's `fresh_within` is longer."""
NIGHTLY = "scheduled"
"""Airflow's type of the runs that the schedule starts."""
FACTS = ("result", "skipped", "quiet", "undo", "seconds", "replaced", "reported", "action")
"""Of a report, what a summary is made of."""


def dag_id(environment: str) -> str:
    """The id of an environment's DAG."""
    return f"{PREFIX}{environment}"


def read_rows(session: Session, plans: Sequence[Plan], now: dt.datetime) -> dict[str, Rows]:
    """What Airflow knows of the environments of these plans at `now` (UTC), by environment. Six queries."""
    back = max([LOOKED_BACK, *(group.sync.options.fresh_within for plan in plans for group in plan.groups)])
    names = {dag_id(plan.environment): plan.environment for plan in plans}
    switches = _switches(session, names)
    runs = _runs(session, names, now - back)
    tasks = _tasks(session, plans, runs, now)
    summaries = _summaries(session, names, now - back)
    reports = _reports(session, {name: wanted(found) for name, found in summaries.items()})
    pauses = all_pauses(session=session)
    return {
        plan.environment: Rows(
            switched_off=switches.get(plan.environment),
            runs=runs[plan.environment],
            tasks=tasks[plan.environment],
            summaries=summaries[plan.environment],
            reports=reports[plan.environment],
            pauses={
                sync: pauses[key]
                for sync in plan.names()
                if (key := pause_key(plan.environment, sync)) in pauses
            },
        )
        for plan in plans
    }


def read_work(session: Session, plan: Plan, now: dt.datetime) -> Rows:
    """The same without reports and pauses: enough to tell what is at work. Three queries."""
    names = {dag_id(plan.environment): plan.environment}
    runs = _runs(session, names, now - LOOKED_BACK)
    return Rows(
        switched_off=_switches(session, names).get(plan.environment),
        runs=runs[plan.environment],
        tasks=_tasks(session, [plan], runs, now)[plan.environment],
        summaries=(),
        reports=(),
        pauses={},
    )


def read_runs(session: Session, environment: str, now: dt.datetime) -> list[RunRow]:
    """The runs of an environment in the time that is looked back on, the newest first."""
    found = _runs(session, {dag_id(environment): environment}, now - LOOKED_BACK)[environment]
    return sorted(found, key=lambda run: run.run_after, reverse=True)


def read_failed_reports(session: Session, environment: str, run: str) -> frozenset[str]:
    """The groups of a run whose reports are CRITICAL."""
    asked = select(XComModel.task_id).where(
        XComModel.dag_id == dag_id(environment),
        XComModel.run_id == run,
        XComModel.value["result"].as_string() == Result.CRITICAL,
        *_is_report(),
    )
    return frozenset(task.rpartition(".")[0] for task in session.scalars(asked))


Names = Mapping[str, str]
"""The environment of each DAG, by the DAG's id."""


def _switches(session: Session, names: Names) -> dict[str, bool]:
    asked = select(DagModel.dag_id, DagModel.is_paused).where(
        DagModel.dag_id.in_(names), DagModel.is_stale.is_(False)
    )
    return {names[dag]: paused for dag, paused in session.execute(asked)}


def _runs(session: Session, names: Names, since: dt.datetime) -> dict[str, list[RunRow]]:
    asked = select(
        DagRun.dag_id,
        DagRun.run_id,
        DagRun.run_type,
        DagRun.state,
        DagRun.run_after,
        DagRun.triggering_user_name,
    ).where(DagRun.dag_id.in_(names), DagRun.run_after >= since)
    found: dict[str, list[RunRow]] = {environment: [] for environment in names.values()}
    for dag, run, kind, state, run_after, user in session.execute(asked):
        found[names[dag]].append(
            RunRow(
                environment=names[dag],
                run=run,
                nightly=kind == NIGHTLY,
                state=state,
                run_after=run_after,
                by=user,
            )
        )
    return found


def _tasks(
    session: Session, plans: Iterable[Plan], runs: Mapping[str, Sequence[RunRow]], now: dt.datetime
) -> dict[str, list[TaskRow]]:
    """The tasks of the runs that matter, without those that were skipped: most are, in a run by hand."""
    found: dict[str, list[TaskRow]] = {environment: [] for environment in runs}
    of_runs = [
        and_(
            TaskInstance.dag_id == dag_id(plan.environment),
            TaskInstance.run_id.in_(
                [run.run for run in relevant_runs(runs[plan.environment], now, plan.settings)]
            ),
        )
        for plan in plans
    ]
    asked = select(
        TaskInstance.dag_id,
        TaskInstance.run_id,
        TaskInstance.task_id,
        TaskInstance.state,
        TaskInstance.start_date,
        TaskInstance.end_date,
    ).where(or_(*of_runs), or_(TaskInstance.state.is_(None), TaskInstance.state != "skipped"))
    for dag, run, task, state, started, ended in session.execute(asked):
        group, dot, step = task.rpartition(".")
        # Of the tasks that belong to no group, those that tell others.
        if dot or task in tuple(Event):
            found[dag.removeprefix(PREFIX)].append(
                TaskRow(run=run, group=group, step=step, state=state, started=started, ended=ended)
            )
    return found


def _summaries(session: Session, names: Names, since: dt.datetime) -> dict[str, list[Summary]]:
    asked = (
        select(
            DagRun.dag_id,
            DagRun.run_id,
            DagRun.run_type,
            DagRun.run_after,
            XComModel.task_id,
            *(XComModel.value[fact].as_string() for fact in FACTS),
        )
        .join(DagRun, XComModel.dag_run_id == DagRun.id)
        .where(DagRun.dag_id.in_(names), DagRun.run_after >= since, *_is_report())
    )
    found: dict[str, list[Summary]] = {environment: [] for environment in names.values()}
    for dag, run, kind, run_after, task, *values in session.execute(asked):
        facts = dict(zip(FACTS, values, strict=True))
        # A report that was marked by hand, or is of something else, says no result.
        if facts["result"] is None or facts["reported"] is None:
            continue
        found[names[dag]].append(_summary(names[dag], run, kind, run_after, task, facts))
    return found


def _summary(
    environment: str, run: str, kind: str, run_after: dt.datetime, task: str, facts: Mapping[str, Any]
) -> Summary:
    result, skipped = Result(facts["result"]), _true(facts["skipped"])
    replaced = _true(facts["replaced"])
    if facts["replaced"] is None:
        # Reports of a version that did not say it.
        replaced = facts["action"] == "pull" and not skipped and result is not Result.CRITICAL
    return Summary(
        environment=environment,
        run=run,
        nightly=kind == NIGHTLY,
        run_after=run_after,
        group=task.rpartition(".")[0],
        result=result,
        skipped=skipped,
        quiet=_true(facts["quiet"]),
        undo=_true(facts["undo"]),
        seconds=float(facts["seconds"]) if facts["seconds"] is not None else None,
        replaced=replaced,
        reported=dt.datetime.fromisoformat(facts["reported"]).astimezone(dt.UTC),
    )


def _reports(session: Session, keys: Mapping[str, set[tuple[str, str]]]) -> dict[str, list[Report]]:
    """The reports in full of these (run, group), by environment."""
    found: dict[str, list[Report]] = {environment: [] for environment in keys}
    of_groups: dict[tuple[str, str], list[str]] = {}
    for environment, wanted_ones in keys.items():
        for run, group in wanted_ones:
            of_groups.setdefault((environment, run), []).append(f"{group}.report")
    if not of_groups:
        return found
    asked = select(XComModel.dag_id, XComModel.value).where(
        XComModel.key == "return_value",
        or_(
            *(
                and_(
                    XComModel.dag_id == dag_id(environment),
                    XComModel.run_id == run,
                    XComModel.task_id.in_(tasks),
                )
                for (environment, run), tasks in of_groups.items()
            )
        ),
    )
    for dag, value in session.execute(asked):
        report = from_plain(Report, json.loads(value) if isinstance(value, str) else value)
        found[dag.removeprefix(PREFIX)].append(report)
    return found


def _is_report() -> tuple[Any, ...]:
    return XComModel.key == "return_value", XComModel.task_id.endswith(".report", autoescape=True)


def _true(text: str | None) -> bool:
    # SQLite gives 1.
    return text in ("true", "1")
