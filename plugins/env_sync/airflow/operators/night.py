"""The table of the night, at a DAG run's end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from env_sync.airflow.operators.run_context import request_of, task_id
from env_sync.core.errors import InvalidRequest
from env_sync.core.serialization import from_plain
from env_sync.domain.report import Report, Result, night_table
from env_sync.planning.plan import Plan


class NightOperator(BaseOperator):
    """Prints every group's report in one table, the worst first.

    It fails, and the run with it, where a report task failed or is missing: a group whose steps are all green
    has failed then all the same, and report tasks decide nothing about a run.
    """

    ui_color = "#f3f2f1"

    def __init__(self, *, plan: Plan, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._plan = plan

    def execute(self, context: Context) -> Any:
        """Make the table; it is in the log and in XCom. Raises AirflowFailException."""
        groups = self._plan.groups
        left = {group.id: context["ti"].xcom_pull(task_ids=task_id(group, "report")) for group in groups}
        missing = [group for group in groups if left[group.id] is None]
        refused = None
        try:
            request = request_of(context, self._plan)
            others = [group for group in missing if not request.asks_for(group, self._plan)]
        except InvalidRequest as problem:
            refused, others = problem, []
        reports = [from_plain(Report, report) for report in left.values() if report is not None]
        table = night_table(reports, not_asked_for=len(others))
        lost = [group.id for group in missing if group not in others]
        if lost:
            table += f"\nCRITICAL: no report of {', '.join(lost)}: see the logs of their report tasks"
        if refused is not None:
            table = f"CRITICAL: the run's request was refused: {refused}\n{table}"
        for line in table.splitlines():
            self.log.info(line)
        failed = self._failed(context, [report for report in reports if report.result is Result.CRITICAL])
        if failed or (lost and refused is None):
            context["ti"].xcom_push(key="return_value", value=table)
            raise AirflowFailException(
                f"{', '.join([*failed, *lost])}: the report failed although no step did, or it is missing. "
                "Fix what it says, then clear the group and this task"
            )
        return table

    def _failed(self, context: Context, critical: Sequence[Report]) -> list[str]:
        """The groups of these reports whose report tasks failed."""
        ti = context["ti"]
        groups = {report.group for report in critical}
        tasks = {group.id: task_id(group, "report") for group in self._plan.groups if group.id in groups}
        if not tasks:
            return []
        found = ti.get_task_states(dag_id=ti.dag_id, task_ids=list(tasks.values()), run_ids=[ti.run_id])
        states = found.get(ti.run_id, {})
        return [group for group, task in tasks.items() if states.get(task) == "failed"]
