"""Tells others, before a run replaces data and after it: `before_replacing` and `after_replacing`."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from env_sync.airflow.operators.run_context import request_of, run_name
from env_sync.core.cancellation import Cancellation
from env_sync.core.core_dumps import no_core_dumps
from env_sync.core.errors import EnvSyncError, InvalidRequest
from env_sync.core.failure import described
from env_sync.pipeline.announce import Announcement, Event, announce
from env_sync.planning.plan import Plan
from env_sync.status.replacing import replaces


class AnnounceOperator(BaseOperator):
    """Calls every hook of one event, and fails where one did. No sync waits for its success."""

    ui_color = "#f3f2f1"

    def __init__(self, *, plan: Plan, event: Event, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._plan = plan
        self._event = event
        self._cancellation = Cancellation()

    def execute(self, context: Context) -> None:
        """Call the hooks, each once; skipped where the run replaces nothing."""
        # An URL or a command may hold a secret.
        with no_core_dumps():
            self._call(context)

    def _call(self, context: Context) -> None:
        try:
            request = request_of(context, self._plan)
        except InvalidRequest as problem:
            raise AirflowSkipException(f"the run's request was refused: {problem}") from None
        asked = [group.sync for group in self._plan.groups if request.why_not(group, self._plan) is None]
        databases = tuple(sorted({sync.database for sync in asked if replaces(sync)}))
        if not databases:
            raise AirflowSkipException("this run replaces nothing")
        announcement = Announcement(
            event=self._event,
            environment=self._plan.environment,
            run=run_name(context),
            databases=databases,
        )
        settings = self._plan.settings
        hooks = settings.before_replacing if self._event is Event.BEGINS else settings.after_replacing
        failures = []
        for hook in hooks:
            try:
                announce(
                    hook,
                    announcement,
                    cancellation=self._cancellation,
                    log=logging.getLogger("env_sync.announce"),
                )
            except EnvSyncError as problem:
                failures.append(described(problem))
        if failures:
            raise EnvSyncError("; ".join(failures))

    def on_kill(self) -> None:
        """Stop a command that runs."""
        self._cancellation.cancel()
