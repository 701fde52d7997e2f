"""Does a step whose work a cluster does, and holds no worker while it waits for it."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import Context

from env_sync.airflow.operators.step import StepOperator
from env_sync.engines.base.contract import Waiting
from env_sync.pipeline.polling import ask, check_limit
from env_sync.pipeline.session import Session

STAY = dt.timedelta(seconds=60)
"""For how long the worker stays: what is done by then needs no deferral."""
LOOK_AGAIN = dt.timedelta(seconds=75)
"""A deferral that ends before the scheduler has seen the worker leave marks the task as failed."""
POLL = 2.0


class WaitingOperator(StepOperator):
    """Asks the cluster until it is done; each time another worker may ask."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._since: dt.datetime | None = None

    def look(self, session: Session, context: Context) -> object | Waiting:
        """Begin the work, or look how far it is."""
        return self.do_once(session, context)

    def resume(self, context: Context, event: Any = None, since: str | None = None) -> Any:
        """Go on after a deferral; `since` is when the first look was."""
        self._since = dt.datetime.fromisoformat(since) if since else None
        return self.execute(context)

    def work(self, session: Session, context: Context) -> object:
        """Ask, stay a while, then leave until it is time to ask again."""
        begun = self._since is not None
        since = self._since or dt.datetime.now(dt.UTC)
        leave = time.monotonic() + STAY.total_seconds()
        while True:
            done = ask(lambda: self.look(session, context), begun=begun)
            if not isinstance(done, Waiting):
                return done
            begun = True
            check_limit(session, self._step, since, done)
            if time.monotonic() > leave:
                self.log.info("%s; looking again in %s seconds", done.what, LOOK_AGAIN.seconds)
                self.defer(
                    trigger=DateTimeTrigger(moment=dt.datetime.now(dt.UTC) + LOOK_AGAIN),
                    method_name="resume",
                    kwargs={"since": since.isoformat()},
                )
            end = time.monotonic() + POLL
            while time.monotonic() < end:
                self._cancellation.check()
                time.sleep(0.2)
