"""Does one step of a sync; the base of the operators that do more."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, AirflowTaskTimeout
from attrs import frozen

from env_sync.airflow.connections import CONNECTIONS
from env_sync.airflow.operators.run_context import holder_of, request_of, started, task_id
from env_sync.airflow.variables import stored_pause
from env_sync.core.cancellation import Cancellation
from env_sync.core.core_dumps import no_core_dumps
from env_sync.core.errors import Cancelled, EnvSyncError, PauseActive
from env_sync.core.failure import described
from env_sync.core.progress import LogProgress
from env_sync.core.serialization import from_plain, to_plain
from env_sync.domain.leftovers import Swept
from env_sync.domain.report import Skip
from env_sync.domain.sync import Sync
from env_sync.pipeline.session import Session, open_session, other_roots, work_folder, work_root
from env_sync.pipeline.steps import Reads, step_of
from env_sync.pipeline.sweep import sweep
from env_sync.planning.plan import Group, Plan

ERROR = "error"
SKIP = "skip"
SPENT = "spent"
SWEPT = "swept"


@frozen(kw_only=True)
class SweptBy:
    """What a step found, and in which attempt at its group that was."""

    attempt: str
    swept: Swept


class StepOperator(BaseOperator):
    """Does one step of one group, as the table of steps has it under the task's name.

    :param group: the group of the plan.
    :param plan: the plan that it belongs to.
    """

    template_fields: Sequence[str] = ("environment", "sync_name", "database", "server", "dumps")
    ui_color = "#e8f0f8"
    ui_fgcolor = "#0b0c0c"

    def __init__(self, *, group: Group, plan: Plan, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        sync = group.sync
        self.environment = sync.environment
        self.sync_name = sync.name
        self.database = sync.database
        self.server = sync.server
        self.dumps = f"{sync.url}/{sync.path}" if isinstance(sync, Sync) else sync.source_bucket
        self._group = group
        self._plan = plan
        self._cancellation = Cancellation()

    def work(self, session: Session, context: Context) -> object:
        """Do the step and give its result."""
        return self.do_once(session, context)

    def do_once(self, session: Session, context: Context) -> object:
        """What the table says, given what the steps before left. Raises EnvSyncError where they did not."""
        return step_of(self._group.sync, self._step).do(session, lambda reads: self._left_by(context, reads))

    def execute(self, context: Context) -> Any:
        """Do the task; the kernel dumps nothing of it, whatever it dies of.

        Whoever does it otherwise overrides `perform`.
        """
        with no_core_dumps():
            return self.perform(context)

    def perform(self, context: Context) -> Any:
        """Do the step; its result is plain data in XCom, its error a message there without row values."""
        self.sweep(context)
        return self._do(context)

    def sweep(self, context: Context) -> None:
        """Remove from this worker what ended attempts left there, and leave word for the report.

        A sweep that fails fails no step.
        """
        try:
            swept = sweep(
                {work_root(group.sync) for group in self._plan.groups},
                own=work_folder(self._group.sync, holder_of(context, self._group, "")),
                airflow=context["ti"],
                log=self._logger,
                now=dt.datetime.now(dt.UTC),
                others=other_roots(group.sync for group in self._plan.groups),
            )
            if swept:
                self._leave_swept(context, swept)
        except Exception as problem:  # noqa: BLE001 - the same
            self._logger.warning(
                "Checking this worker for leftovers of ended attempts failed: %s", described(problem)
            )

    def _leave_swept(self, context: Context, swept: Swept) -> None:
        start = started(context, self._group)
        # A gate that waits for the lease is at work several times.
        earlier = context["ti"].xcom_pull(task_ids=task_id(self._group, self._step), key=SWEPT)
        if earlier is not None:
            swept = from_plain(SweptBy, earlier).swept + swept
        left = SweptBy(attempt=start.attempt if start else "", swept=swept)
        context["ti"].xcom_push(key=SWEPT, value=to_plain(left))

    def _do(self, context: Context) -> Any:
        session = None
        try:
            session = self.open_session(context)
            if self._step not in session.request.steps(self._group):
                self.log.info(
                    "Nothing to do: this run makes previous live again, and that needs no %s", self._step
                )
                return None
            result = self.work(session, context)
            self._cancellation.check()
        except PauseActive as pause:
            skip = Skip(reason=str(pause))
            context["ti"].xcom_push(key=SKIP, value=to_plain(skip))
            raise AirflowSkipException(skip.reason) from None
        except AirflowTaskTimeout:
            self._leave_error(
                context, f"it took longer than its time limit, {self.execution_timeout}; it was stopped"
            )
            raise
        except Exception as problem:  # noqa: BLE001 - raised again without any value of a row
            raise self._failure(context, problem) from None
        finally:
            if session is not None:
                context["ti"].xcom_push(key=SPENT, value=to_plain(session.stopwatch.take()))
        return to_plain(result)

    def on_kill(self) -> None:
        """Stop the work; called by Airflow's signal handler."""
        self._cancellation.cancel()

    def open_session(self, context: Context) -> Session:
        """The session of this step. Raises EnvSyncError where the start gate let nothing through."""
        start = started(context, self._group)
        if start is None:
            raise EnvSyncError(
                f"The start gate of {self._group.id} did not let this run through (it was marked by hand?), "
                "so nothing is done. Clear the whole group to run it."
            )
        return self.session_for(context, start.attempt)

    def session_for(self, context: Context, attempt: str) -> Session:
        """The session of this step for an attempt at its group. Raises what `open_session` of steps does."""
        sync = self._group.sync
        return open_session(
            group=self._group,
            settings=self._plan.settings,
            request=request_of(context, self._plan),
            holder=holder_of(context, self._group, attempt),
            connections=CONNECTIONS,
            pause=lambda: stored_pause(sync.environment, sync.name),
            cancellation=self._cancellation,
            progress=LogProgress(self._logger),
            log=self._logger,
        )

    def _left_by(self, context: Context, reads: Reads) -> object | None:
        """The result of an earlier step of this group; None where it left none."""
        result = context["ti"].xcom_pull(task_ids=task_id(self._group, reads.step))
        return None if result is None else from_plain(reads.kind, result)

    @property
    def _step(self) -> str:
        return self.task_id.rpartition(".")[2]

    @property
    def _logger(self) -> logging.Logger:
        return logging.getLogger(f"env_sync.{self._group.sync.action}")

    def _failure(self, context: Context, problem: Exception) -> Exception:
        """Leave the message for the report, and give what to raise: only what may pass is tried again.

        Whatever a cancelled step dies of, its program's end for one, it was cancelled.
        """
        if self._cancellation.cancelled and not isinstance(problem, Cancelled):
            problem = Cancelled()
        message = described(problem)
        self._leave_error(context, message)
        if isinstance(problem, EnvSyncError) and not problem.passing:
            return AirflowFailException(message)
        return EnvSyncError(message)

    def _leave_error(self, context: Context, message: str) -> None:
        context["ti"].xcom_push(key=ERROR, value=message)
