"""Fails where the configuration has problems, so that nobody can overlook them."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from env_sync.core.plural import plural
from env_sync.planning.plan import Plan


class ConfigProblemsOperator(BaseOperator):
    """Lists every problem of the configuration and fails; the good syncs run all the same."""

    ui_color = "#f8e0e0"

    def __init__(self, *, plan: Plan, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._plan = plan

    def execute(self, context: Context) -> Any:
        """List the problems, then fail; or be skipped in a run by hand."""
        problems = [str(problem) for problem in self._plan.problems]
        for problem in problems:
            self.log.error(problem)
        context["ti"].xcom_push(key="problems", value=problems)
        count = plural(len(problems), "configuration problem")
        if context["dag_run"].run_type != "scheduled":
            raise AirflowSkipException(f"{count}, listed above. A run by hand goes on regardless.")
        raise AirflowFailException(
            f"{count}, listed above: fix hieradata. The syncs that are not affected run anyway."
        )
