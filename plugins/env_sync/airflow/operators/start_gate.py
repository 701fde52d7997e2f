"""Lets a group start: at its time, if nothing is against it, and when it has the lease on live."""

from __future__ import annotations

import datetime as dt
import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from env_sync.airflow.operators.run_context import request_of
from env_sync.airflow.operators.step import SKIP, StepOperator
from env_sync.airflow.variables import stored_pause
from env_sync.core.errors import EnvSyncError, InvalidRequest, LeaseHeld, LeaseWaitOver
from env_sync.core.failure import described
from env_sync.core.serialization import from_plain, to_plain
from env_sync.domain.report import Result, Skip
from env_sync.domain.sync import Action, Sync
from env_sync.pipeline.results import Awaited, Started
from env_sync.pipeline.session import Session
from env_sync.pipeline.start_gate import Go, Tonight, Wait, decide
from env_sync.pipeline.wait_for_dump import NotYet, judge
from env_sync.store import Survey

SHORT = dt.timedelta(seconds=60)
"""Waits shorter than this are slept through: a deferral that ends before the scheduler has seen the worker
leave marks the task as failed."""

LOOK_AGAIN = dt.timedelta(seconds=75)
"""How often a gate looks whether what it waits for, a dump or a lease, is there."""


class StartGateOperator(StepOperator):
    """Waits (deferred: no worker is held) for the group's time and for the lease on its live database.

    Between the two it waits for tonight's dump, where the sync is to (`wait_for_dump`). Skips, and says
    why: not selected, disabled, paused, too late. On a run by hand it starts at once, and so it does where
    somebody cleared the group once it was due.
    """

    ui_color = "#f3f2f1"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._waiting_since: dt.datetime | None = None
        self._awaiting_since: dt.datetime | None = None
        self._awaited: Awaited | None = None
        self._waited_for_time = False

    def perform(self, context: Context) -> Any:
        """Decide, wait, decide again, and take the lease. The result is what became of a wait for a dump."""
        try:
            decision = self._wait_to_start(context)
        except EnvSyncError as problem:
            raise self._failure(context, problem) from None
        if isinstance(decision, Skip):
            self._skip(context, decision)
        # Left before the lease is taken, so that the report can give it back whatever happens here.
        started = Started(
            attempt=uuid.uuid4().hex,
            started=dt.datetime.now(dt.UTC),
            undo=request_of(context, self._plan).restore_previous is not None,
        )
        context["ti"].xcom_push(key="started", value=to_plain(started))
        return super().perform(context)

    def resume(
        self,
        context: Context,
        event: Any = None,
        waiting_since: str | None = None,
        awaiting_since: str | None = None,
        awaited: Mapping[str, Any] | None = None,
        waited_for_time: bool = False,
    ) -> Any:
        """Goes on after a wait; everything is looked at again, but for a wait for a dump that was over."""
        self._waiting_since = dt.datetime.fromisoformat(waiting_since) if waiting_since else None
        self._awaiting_since = dt.datetime.fromisoformat(awaiting_since) if awaiting_since else None
        self._awaited = from_plain(Awaited, awaited) if awaited else None
        self._waited_for_time = waited_for_time
        return self.execute(context)

    def work(self, session: Session, context: Context) -> Awaited | None:
        """Take the lease on live, waiting up to `lease_wait` while another sync has it.

        A bucket sync has none: two at the same time do each other no harm.
        """
        if session.group.sync.action is Action.BUCKET_SYNC:
            return self._awaited
        settings, sync = self._plan.settings, session.sync
        session.engine.check_startable(undo=session.request.restore_previous is not None)
        since = self._waiting_since or dt.datetime.now(dt.UTC)
        while True:
            try:
                session.engine.take_lease(at_most=settings.pool_sizes.get(sync.server, settings.pool_size))
                return self._awaited
            except LeaseHeld as held:
                now = dt.datetime.now(dt.UTC)
                if now - since > sync.options.lease_wait:
                    # Not to be tried again: that would wait as long once more.
                    raise LeaseWaitOver(
                        f"{held} Waited for it since {since:%H:%M} UTC, longer than lease_wait "
                        f"({sync.options.lease_wait}); clear the group to try again"
                    ) from None
                self._waiting_since = since
                self._wait(now + LOOK_AGAIN, str(held))

    def _wait_to_start(self, context: Context) -> Skip | Go:
        sync = self._group.sync
        while True:
            decision = self._decide(context)
            if isinstance(decision, Wait):
                self._waited_for_time = True
                self._wait(decision.until, f"{self._group.id} is due")
            elif (
                isinstance(decision, Go)
                and decision.tonight
                and self._awaited is None
                and isinstance(sync, Sync)
            ):
                self._look_for_dump(context, sync, decision.tonight)
            else:
                return decision

    def _look_for_dump(self, context: Context, sync: Sync, tonight: Tonight) -> None:
        """Look once, and wait until it is time to look again. Raises DumpNotThere.

        The lease is not held: whoever pushes this live database meanwhile is not held up.
        """
        since = self._awaiting_since = self._awaiting_since or dt.datetime.now(dt.UTC)
        try:
            session = self.session_for(context, uuid.uuid4().hex)
            seen: Survey | str = session.store.survey(sync.url, sync.path, sync.database)
        except EnvSyncError as problem:
            if not problem.passing:
                raise
            seen = described(problem)
        verdict = judge(
            seen,
            sync=sync,
            settings=self._plan.settings,
            tonight=tonight,
            since=since,
            now=dt.datetime.now(dt.UTC),
        )
        if isinstance(verdict, NotYet):
            self._wait(min(dt.datetime.now(dt.UTC) + LOOK_AGAIN, tonight.until), verdict.what)
            return
        self._awaited = verdict
        if verdict.found:
            self.log.info(
                "%s is there, after %.0f s: %s/%s", verdict.awaited, verdict.waited, sync.url, verdict.found
            )
        for warning in verdict.warnings:
            self.log.warning("%s. Continuing with what there is.", warning)

    def _decide(self, context: Context) -> Skip | Wait | Go:
        try:
            request = request_of(context, self._plan)
        except InvalidRequest as problem:
            return Skip(reason=f"the run's request was refused: {problem}", quiet=True)
        sync = self._group.sync
        reason = request.why_not(self._group, self._plan)
        return decide(
            group=self._group,
            plan=self._plan,
            request=request,
            # Not asked for where the answer cannot matter: a run of one sync has a gate for every other one.
            pause=None if reason else stored_pause(sync.environment, sync.name),
            run_after=context["dag_run"].run_after,
            # What was cleared before its time has a night like any other.
            rerun=self._was_cleared(context) and not self._waited_for_time,
            now=dt.datetime.now(dt.UTC),
        )

    def _was_cleared(self, context: Context) -> bool:
        """Clearing a task raises its `max_tries` by the tries that it had; nothing else does."""
        return (context["ti"].max_tries or 0) > (self.retries or 0)

    def _wait(self, until: dt.datetime, what: str) -> None:
        """Wait until a moment (UTC): defer, or sleep where it is near. Returns only after a sleep."""
        left = until - dt.datetime.now(dt.UTC)
        self.log.info("%s; waiting until %s UTC", what, f"{until:%Y-%m-%d %H:%M:%S}")
        if left > SHORT:
            self.defer(
                trigger=DateTimeTrigger(moment=until),
                method_name="resume",
                kwargs={
                    "waiting_since": self._waiting_since.isoformat() if self._waiting_since else None,
                    "awaiting_since": self._awaiting_since.isoformat() if self._awaiting_since else None,
                    "awaited": to_plain(self._awaited),
                    "waited_for_time": self._waited_for_time,
                },
            )
        end = time.monotonic() + max(left.total_seconds(), 0)
        while (rest := end - time.monotonic()) > 0:
            self._cancellation.check()
            time.sleep(min(rest, 0.5))

    def _skip(self, context: Context, skip: Skip) -> None:
        level = logging.INFO if skip.result is Result.OK else logging.WARNING
        self.log.log(level, "Skipped: %s", skip.reason)
        context["ti"].xcom_push(key=SKIP, value=to_plain(skip))
        raise AirflowSkipException(skip.reason)
