"""Steps that ask a cluster again and again until it is done: nobody has to stay at work meanwhile."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import TypeVar

from env_sync.core.errors import EnvSyncError, ServerUnreachable
from env_sync.engines.base.contract import Waiting
from env_sync.pipeline.session import Session

FIRST, LONGEST = 0.5, 5.0
"""Seconds between two looks, at first and at most, where a process stays at work."""

T = TypeVar("T")


def ask(work: Callable[[], T | Waiting], *, begun: bool) -> T | Waiting:
    """Ask once. A cluster that does not answer, once it was `begun`, is no verdict: it is asked again."""
    try:
        return work()
    except ServerUnreachable as problem:
        if not begun:
            raise
        return Waiting(str(problem))


def check_limit(session: Session, step: str, since: dt.datetime, waiting: Waiting) -> None:
    """Raises EnvSyncError where a step has waited for longer than its time limit; `since` is UTC."""
    limit = session.group.sync.options.timeouts[step]
    if dt.datetime.now(dt.UTC) - since > limit:
        raise EnvSyncError(
            f"{step} waited since {since:%H:%M} UTC, longer than its limit ({limit}): {waiting.what}. Look "
            "at the cluster; live is untouched."
        )


def wait_here(session: Session, step: str, work: Callable[[], T | Waiting]) -> T:
    """Ask until there is a result, staying at work. Raises Cancelled."""
    since, pause, begun = dt.datetime.now(dt.UTC), FIRST, False
    while True:
        done = ask(work, begun=begun)
        if not isinstance(done, Waiting):
            return done
        check_limit(session, step, since, done)
        begun = True
        end = time.monotonic() + pause
        while time.monotonic() < end:
            session.cancellation.check()
            time.sleep(0.1)
        pause = min(pause * 1.5, LONGEST)
