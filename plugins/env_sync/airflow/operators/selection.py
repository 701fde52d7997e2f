"""Skips what a run by hand does not ask for, before any group starts."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import DownstreamTasksSkipped

from env_sync.airflow.operators.run_context import request_of, task_id
from env_sync.core.errors import InvalidRequest
from env_sync.planning.plan import Plan


class SelectionOperator(BaseOperator):
    """In a run by hand, skips the groups that were not asked for, all at once and with their reports.

    A start gate and a report for each of them would take most of the run's time where there are many.
    """

    ui_color = "#f3f2f1"

    def __init__(self, *, plan: Plan, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._plan = plan

    def execute(self, context: Context) -> None:
        """Raises DownstreamTasksSkipped, with which a task succeeds and skips others, where there are any.

        A request that cannot be done is left to the gates: each lets nothing through and says why.
        """
        try:
            request = request_of(context, self._plan)
        except InvalidRequest as problem:
            self.log.info("No group runs: %s", problem)
            return
        others = [group for group in self._plan.groups if not request.asks_for(group, self._plan)]
        self.log.info("Not asked for: %s", ", ".join(group.id for group in others) or "nothing")
        if others:
            skipped = [task_id(group, step) for group in others for step in group.steps]
            raise DownstreamTasksSkipped(tasks=skipped)  # type: ignore[no-untyped-call]
