"""Reports a group, once, whatever became of it; puts right what a killed step left."""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import Context

from env_sync.operators.run_context import run_name, started, task_id
from env_sync.operators.step import ERROR, SKIP, StepOperator
from env_sync.plain import from_plain, to_plain
from env_sync.report import Outcome, Report, Result, Skip, make_report
from env_sync.steps.finish import Finished, finish
from env_sync.steps.session import Session

NOTHING = Finished(promoted=False, notes=(), failures=())


class ReportOperator(StepOperator):
    """Always runs, last in its group: cleans up, gives the lease back, and says OK, WARNING or CRITICAL."""

    ui_color = "#f3f2f1"

    def execute(self, context: Context) -> Any:
        report = self._report(context)
        log = {Result.OK: self.log.info, Result.WARNING: self.log.warning, Result.CRITICAL: self.log.error}
        log[report.result](report.line())
        return to_plain(report)

    def work(self, session: Session, context: Context) -> Finished:
        return finish(session)

    def _report(self, context: Context) -> Report:
        ti, group = context["ti"], self._group
        steps = [step for step in group.steps if step != "report"]
        states = ti.get_task_states(
            dag_id=ti.dag_id, task_ids=[task_id(group, step) for step in steps], run_ids=[ti.run_id]
        ).get(ti.run_id, {})
        left = {
            key: {step: value for step in steps if (value := self._left(context, step, key)) is not None}
            for key in ("return_value", ERROR, SKIP)
        }
        start = started(context, group)
        finished = self._finish(context, start.attempt) if start else NOTHING
        skips = list(left[SKIP].values())
        sync = group.sync
        return make_report(
            environment=sync.environment,
            sync=sync.name,
            group=group.id,
            run=run_name(context),
            action=sync.action,
            database=sync.database,
            max_dump_age=sync.options.max_dump_age,
            outcome=Outcome(
                states={step: states.get(task_id(group, step)) for step in steps},
                results=left["return_value"],
                errors=left[ERROR],
                skip=from_plain(Skip, skips[0]) if skips else None,
                started=start.started if start else None,
                promoted=finished.promoted,
                notes=finished.notes,
                failures=finished.failures,
            ),
            now=dt.datetime.now(dt.UTC),
        )

    def _left(self, context: Context, step: str, key: str) -> Any:
        return context["ti"].xcom_pull(task_ids=task_id(self._group, step), key=key)

    def _finish(self, context: Context, attempt: str) -> Finished:
        """Clean up; what stops even that from starting is a failure to report, not one to hide."""
        try:
            return self.work(self.session_for(context, attempt), context)
        except Exception as problem:  # noqa: BLE001 - the report must be made whatever happened
            self.log.error("Cleaning up could not start: %s", type(problem).__name__)
            return Finished(
                promoted=False,
                notes=(),
                failures=(f"cleaning up could not start: {type(problem).__name__}: {problem}",),
            )
