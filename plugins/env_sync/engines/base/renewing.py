"""A lease that is renewed while a step is at work."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

from env_sync.core.errors import EnvSyncError, LeaseLost

LAST = 5.0
"""Seconds that the end of a step waits for a renewal that is under way."""


@contextlib.contextmanager
def renewing(renew: Callable[[], None], every: float, log: logging.Logger) -> Iterator[None]:
    """Call `renew` every so many seconds, from a thread of its own, while the block runs.

    It raises LeaseLost where the lease is another's now, which ends it, and any other EnvSyncError where it
    is to be tried again.
    """
    done = threading.Event()

    def work() -> None:
        while not done.wait(every):
            try:
                renew()
            except LeaseLost as lost:
                # The step itself finds out before it does anything that matters, and at its end.
                log.error("%s", lost)
                return
            except EnvSyncError as problem:
                log.warning("The lease could not be renewed, and is tried again: %s", problem)

    thread = threading.Thread(target=work, name="env_sync lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        # A server that does not answer must not hold the step's end back; the thread dies with it.
        thread.join(timeout=LAST)
