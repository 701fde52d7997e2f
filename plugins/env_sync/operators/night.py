"""The table of the night, at a DAG run's end."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context

from env_sync.errors import InvalidRequest
from env_sync.operators.run_context import request_of, task_id
from env_sync.plain import from_plain
from env_sync.plan import Plan
from env_sync.report import Report, night_table


class NightOperator(BaseOperator):
    """Prints every group's report in one table, the worst first."""

    ui_color = "#f3f2f1"

    def __init__(self, *, plan: Plan, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._plan = plan

    def execute(self, context: Context) -> Any:
        """Make the table; it is in the log and in XCom."""
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
        if lost := [group.id for group in missing if group not in others]:
            table += f"\nCRITICAL: no report of {', '.join(lost)}: see the logs of their report tasks"
        if refused is not None:
            table = f"CRITICAL: the run's request was refused: {refused}\n{table}"
        for line in table.splitlines():
            self.log.info(line)
        return table
