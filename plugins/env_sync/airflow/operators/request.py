"""Fails a run that was asked for something impossible, before any sync starts."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from env_sync.airflow.operators.run_context import request_of
from env_sync.core.errors import InvalidRequest
from env_sync.planning.plan import Plan
from env_sync.planning.request import ALL


class RequestOperator(BaseOperator):
    """Checks the trigger form's values; every start gate checks them too, and lets nothing through."""

    ui_color = "#f3f2f1"

    def __init__(self, *, plan: Plan, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._plan = plan

    def execute(self, context: Context) -> Any:
        """Say what is asked for. Raises AirflowFailException for what cannot be done."""
        try:
            request = request_of(context, self._plan)
        except InvalidRequest as problem:
            raise AirflowFailException(str(problem)) from None
        if request.nightly:
            answer = "the nightly run: every sync that is present, at its time"
        elif request.restore_previous:
            answer = f"previous of {request.restore_previous} is made live again"
        elif request.only:
            dump = f", the dump of {request.timestamp}" if request.timestamp else ""
            answer = f"a run by hand of {', '.join(request.only)}{dump}"
        else:
            answer = (
                f"nothing was selected, so nothing runs: trigger again and choose syncs in `only`, or `{ALL}`"
            )
        self.log.info(answer)
        return answer
