"""Reports a group, once, whatever became of it; puts right what a killed step left."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException
from attrs import evolve

from env_sync.airflow.connections import monitor_login
from env_sync.airflow.operators.outbox import Outbox
from env_sync.airflow.operators.run_context import run_name, started, task_id
from env_sync.airflow.operators.step import ERROR, SKIP, SPENT, SWEPT, StepOperator, SweptBy
from env_sync.alerts.alert import make_alert
from env_sync.core.failure import described
from env_sync.core.secret import Login
from env_sync.core.serialization import from_plain, to_plain
from env_sync.core.stopwatch import Spent
from env_sync.domain.leftovers import Swept
from env_sync.domain.monitors import Monitor
from env_sync.domain.report import Outcome, Report, Result, Skip, make_report
from env_sync.domain.sync import Ensure
from env_sync.pipeline.clean_up import Finished, finish
from env_sync.pipeline.session import Session

RETURN_VALUE = "return_value"
FAILED = frozenset({"failed", "upstream_failed"})

NOTHING = Finished(promoted=None, notes=(), failures=())


class ReportOperator(StepOperator):
    """Always runs, last in its group: cleans up, gives the lease back, and says OK, WARNING or CRITICAL.

    It says so to the monitors of the environment as well. The report is kept before it is sent, and each
    monitor that took it: a report task that is killed and tried again goes on from there.
    """

    ui_color = "#f3f2f1"

    def perform(self, context: Context) -> Any:
        """Make the report; its value in XCom, its line in the log; and tell the monitors."""
        self.sweep(context)
        states = self._states(context)
        monitors = self._plan.settings.monitors
        outbox = Outbox.open(context, self.log) if monitors else None
        report = (outbox.report if outbox else None) or self._report(context, states)
        if outbox:
            # In XCom before it is sent: whatever becomes of this task then, the night has it.
            context["ti"].xcom_push(key=RETURN_VALUE, value=to_plain(report))
            report = self._tell(report, monitors, outbox)
        log = {Result.OK: self.log.info, Result.WARNING: self.log.warning, Result.CRITICAL: self.log.error}
        log[report.result](report.line())
        if report.result is Result.CRITICAL and FAILED.isdisjoint(states.values()):
            # No step is red, so this one is: a mark by hand, or a clean-up that failed, must be seen.
            context["ti"].xcom_push(key=RETURN_VALUE, value=to_plain(report))
            raise AirflowFailException(report.line())
        return to_plain(report)

    def work(self, session: Session, context: Context) -> Finished:
        """Clean up after the group."""
        return finish(session)

    def _tell(self, report: Report, monitors: Sequence[Monitor], outbox: Outbox) -> Report:
        """Send the report to the monitors that have not taken it, and give it with what went wrong there."""
        sync = self._group.sync
        # What sends alerts is imported by the task that has one to send.
        from env_sync.alerts.sending import Recipient, send_alert

        alert = make_alert(
            report, next_within=sync.options.fresh_within if sync.ensure is Ensure.PRESENT else None
        )
        if alert is None:
            return report
        outbox.keep(report)
        unsent = []
        recipients = []
        for monitor in monitors:
            if outbox.taken_by(monitor):
                continue
            try:
                recipients.append(Recipient(monitor=monitor, login=_login(monitor)))
            except Exception as problem:  # noqa: BLE001 - an alert never fails a sync
                unsent.append(_unsent(monitor, described(problem)))
        logger = logging.getLogger("env_sync.alerts")
        for sent in send_alert(alert, recipients, cancellation=self._cancellation, log=logger):
            if sent.failure is None:
                outbox.take(sent.monitor)
                self.log.info("%s took the alert", sent.monitor)
            else:
                unsent.append(_unsent(sent.monitor, sent.failure))
        for line in unsent:
            self.log.warning(line)
        return evolve(report, unsent=tuple(unsent))

    def _states(self, context: Context) -> dict[str, str | None]:
        """The states of the group's steps, in their order."""
        ti = context["ti"]
        ids = {step: task_id(self._group, step) for step in self._group.steps if step != "report"}
        found = ti.get_task_states(dag_id=ti.dag_id, task_ids=list(ids.values()), run_ids=[ti.run_id])
        states = found.get(ti.run_id, {})
        return {step: states.get(name) for step, name in ids.items()}

    def _report(self, context: Context, states: Mapping[str, str | None]) -> Report:
        group = self._group
        start = started(context, group)
        finished = self._finish(context, start.attempt) if start else NOTHING
        results = self._left(context, RETURN_VALUE, states, "success")
        upload = results.get("upload")
        if upload is not None and (start is None or upload.get("attempt") != start.attempt):
            del results["upload"]
        skips = list(self._left(context, SKIP, states, "skipped").values())
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
                states=states,
                results=results,
                errors=self._left(context, ERROR, states, "failed"),
                skip=from_plain(Skip, skips[0]) if skips else None,
                started=start.started if start else None,
                spent=self._spent(context, states),
                promoted=finished.promoted,
                notes=finished.notes,
                failures=finished.failures,
                undo=start.undo if start else False,
                swept=self._swept(context, start.attempt if start else ""),
            ),
            now=dt.datetime.now(dt.UTC),
        )

    def _spent(self, context: Context, states: Mapping[str, str | None]) -> dict[str, Spent]:
        """How long each step took that ended, well or not."""
        left = self._left(context, SPENT, states, "success") | self._left(context, SPENT, states, "failed")
        # In the order of the steps; the start gate's time is that of its wait.
        return {
            step: from_plain(Spent, left[step]) for step in states if step in left and step != "start_gate"
        }

    def _swept(self, context: Context, attempt: str) -> Swept:
        """What this group's tasks, this one too, found on their workers in this attempt."""
        swept = Swept()
        for step in self._group.steps:
            left = context["ti"].xcom_pull(task_ids=task_id(self._group, step), key=SWEPT)
            if left is not None and (found := from_plain(SweptBy, left)).attempt == attempt:
                swept += found.swept
        return swept

    def _left(
        self, context: Context, key: str, states: Mapping[str, str | None], state: str
    ) -> dict[str, Any]:
        """What the steps that are in this state left under this key.

        A step that does not run again after the group was cleared still has what it left before; its
        state tells, since Airflow removes that only when a task starts.
        """
        left = {
            step: context["ti"].xcom_pull(task_ids=task_id(self._group, step), key=key)
            for step, actual in states.items()
            if actual == state
        }
        return {step: value for step, value in left.items() if value is not None}

    def _finish(self, context: Context, attempt: str) -> Finished:
        """Clean up; what stops even that from starting is a failure to report, not one to hide."""
        try:
            return self.work(self.session_for(context, attempt), context)
        except Exception as problem:  # noqa: BLE001 - the report must be made whatever happened
            failure = f"cleaning up could not start: {described(problem)}"
            self.log.error(failure)
            return Finished(promoted=None, notes=(), failures=(failure,))


def _login(monitor: Monitor) -> Login | None:
    connection = getattr(monitor, "connection", None)
    return None if connection is None else monitor_login(connection)


def _unsent(monitor: Monitor, why: str) -> str:
    return f"{monitor} did not accept this report: {why}"
