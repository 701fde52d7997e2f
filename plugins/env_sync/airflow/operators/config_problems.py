"""Fails where the configuration has problems, so that nobody can overlook them."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

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
        if context["dag_run"].run_type != "scheduled":
            raise AirflowSkipException(
                f"{len(problems)} problems of the configuration, listed above; a run by hand is not held up "
                "by them"
            )
        raise AirflowFailException(
            f"{len(problems)} problems of the configuration, listed above: mend them in hieradata. The "
            "syncs that they do not concern run all the same."
        )
