"""A history of nights in Airflow's metadata database, as a scheduler would have left it."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from typing import Any

from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.state import DagRunState
from sqlalchemy import insert
from sqlalchemy.orm import Session
from uuid6 import uuid7

from env_sync.core.serialization import to_plain
from env_sync.core.stopwatch import Spent
from env_sync.domain.report import Report, Result
from env_sync.domain.sync import Action, Sync
from env_sync.planning.plan import Group, Plan
from env_sync.planning.schedule import due

BUNDLE = "env_sync_history"


def hieradata(environment: str, above: str | None, databases: int, opens: int = 22) -> str:
    """The hieradata of an environment: each database is pulled, where there is one above, and pushed.

    The window opens at the hour `opens` (UTC), for ten hours.
    """
    lines = [f'govuk_env_sync::window: "{opens:02d}:00-{(opens + 10) % 24:02d}:00"', "govuk_env_sync::tasks:"]
    for number in range(databases):
        database = f"service_{number:02d}_production"
        if above is not None:
            lines += _entry(f"pull_{database}_daily", "pull", database, above, opens * 60 + 30 + number * 7)
        lines += _entry(
            f"push_{database}_daily", "push", database, environment, opens * 60 + 310 + number * 7
        )
    return "\n".join(lines) + "\n"


def _entry(name: str, action: str, database: str, bucket: str, minutes: int) -> list[str]:
    return [
        f"  {name}:",
        f"    hour: {minutes // 60 % 24}",
        f"    minute: {minutes % 60}",
        f"    action: {action}",
        "    dbms: postgresql",
        "    storagebackend: s3",
        f"    database: {database}",
        f"    database_hostname: {database.removesuffix('_production').replace('_', '-')}-postgres",
        f"    url: govuk-{bucket}-database-backups",
        f"    path: {database.removesuffix('_production').replace('_', '-')}-postgres",
    ]


def write_history(
    session: Session, plan: Plan, openings: Sequence[dt.datetime], now: dt.datetime, *, whole: int
) -> None:
    """Write a run for each opening of the window (UTC), its tasks and reports, as they would be at `now`.

    Of openings after the first `whole` only the tasks that report are written, which is faster.
    """
    dice = random.Random(plan.environment)
    dag = f"env_sync_{plan.environment}"
    if session.get(DagBundleModel, BUNDLE) is None:
        session.add(DagBundleModel(name=BUNDLE))
        session.flush()
    known = {"bundle_name": BUNDLE, "is_paused": False, "is_stale": False, "fileloc": "env_sync.py"}
    limits = {
        "max_active_tasks": 1024,
        "max_active_runs": 16,
        "max_consecutive_failed_dag_runs": 0,
        "has_task_concurrency_limits": False,
    }
    session.execute(insert(DagModel), [{"dag_id": dag, **known, **limits}])
    typical = {group.id: dice.uniform(60, 1500) for group in plan.groups}
    for number, opened in enumerate(openings):
        run = f"scheduled__{opened.isoformat()}"
        groups = [_Group(plan, group, opened, now, run, typical[group.id], dice) for group in plan.groups]
        over = all(group.over for group in groups)
        row = DagRun(
            dag_id=dag,
            run_id=run,
            run_type="scheduled",
            run_after=opened,
            logical_date=opened,
            data_interval=(opened, opened),
            start_date=opened,
            state=DagRunState.SUCCESS if over else DagRunState.RUNNING,
        )
        session.add(row)
        session.flush()
        tasks = [
            task
            for group in groups
            for task in group.tasks()
            if number < whole or task["task_id"].endswith(".report")
        ]
        session.execute(insert(TaskInstance), [{"dag_id": dag, "run_id": run, **task} for task in tasks])
        left = [
            {"dag_id": dag, "run_id": run, "dag_run_id": row.id, "map_index": -1, "timestamp": now, **xcom}
            for group in groups
            for xcom in group.xcoms()
        ]
        if left:
            session.execute(insert(XComModel), left)
    session.commit()


class _Group:
    """One group in one night."""

    def __init__(
        self,
        plan: Plan,
        group: Group,
        opened: dt.datetime,
        now: dt.datetime,
        run: str,
        typical: float,
        dice: random.Random,
    ) -> None:
        self.plan, self.group, self.now, self.run = plan, group, now, run
        self.begun = due(opened, group.time, plan.settings.window, plan.settings.timezone)
        self.seconds = typical * dice.uniform(0.8, 1.3)
        self.result = dice.choices(list(Result), weights=[95, 3, 2])[0]
        self.megabytes = typical * 3
        self.failed = self.result is Result.CRITICAL
        self.reported = self.begun + dt.timedelta(seconds=self.seconds + 5)

    @property
    def over(self) -> bool:
        return self.reported <= self.now

    def tasks(self) -> Iterator[dict[str, Any]]:
        work = self.group.steps[1:-1]
        each = dt.timedelta(seconds=self.seconds / len(work))
        for number, step in enumerate(self.group.steps):
            if step == "start_gate":
                begins, ends = self.begun - dt.timedelta(seconds=1), self.begun
            elif step == "report":
                begins, ends = self.reported - dt.timedelta(seconds=2), self.reported
            else:
                begins = self.begun + each * (number - 1)
                ends = begins + each
            state: str | None = "success"
            started: dt.datetime | None = begins
            ended: dt.datetime | None = ends
            if self.failed and step == work[-1]:
                state = "failed"
            if begins > self.now:
                state, started, ended = None, None, None
                if step == "start_gate":
                    state = "deferred"
            elif ends > self.now:
                state, ended = "running", None
            yield {
                "id": uuid7(),
                "task_id": f"{self.group.id}.{step}",
                "map_index": -1,
                "pool": "default_pool",
                "state": state,
                "start_date": started,
                "end_date": ended,
            }

    def xcoms(self) -> Iterator[dict[str, Any]]:
        if self.over:
            task = f"{self.group.id}.report"
            yield {"task_id": task, "key": "return_value", "value": to_plain(self.report())}

    def report(self) -> Report:
        """A report as the last step would make it."""
        sync = self.group.sync
        pull = sync.action is Action.PULL
        path = sync.path if isinstance(sync, Sync) else ""
        source = self.plan.settings.owner_of(sync.url) if isinstance(sync, Sync) else None
        done = "pulled and promoted" if pull else "pushed"
        left = "live was not replaced" if pull else "the dump may be in the bucket"
        born = self.begun - dt.timedelta(hours=2 if pull else 0)
        why = {
            Result.OK: (),
            Result.WARNING: ("2 extensions of the dump are not on this server, and were left out",),
            Result.CRITICAL: ("ServerUnreachable: the server does not answer; clear the group",),
        }
        return Report(
            environment=self.plan.environment,
            sync=sync.name,
            group=self.group.id,
            run=f"env_sync_{self.plan.environment}/{self.run}",
            action=sync.action,
            database=sync.database,
            result=self.result,
            what=f"{self.group.steps[-2]} failed, {left}" if self.failed else done,
            why=why[self.result],
            skipped=False,
            quiet=False,
            seconds=self.seconds,
            bytes=int(self.megabytes * 1e6),
            dump_key=f"{path}/{born:%Y-%m-%dT%H%M%SZ}-{sync.database}.gz",
            source_environment=source if pull else None,
            data_time=born,
            unavailable=0.21 if pull and not self.failed else None,
            awaited=None,
            waited=None,
            reported=self.reported,
            spent={step: Spent(seconds=self.seconds / 4) for step in self.group.steps[1:-1]},
            transformations=("sanitise_service.sql",) if pull else (),
            replaced=pull and not self.failed,
        )
