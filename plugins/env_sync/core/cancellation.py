"""Cancelling a step: Airflow's signal handler only calls `on_kill`, so the work itself must look and stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from env_sync.core.errors import Cancelled


class Cancellation:
    """Tells the work of one step that it was cancelled, and stops what it waits for.

    `cancel` may be called from a signal handler at any instant, more than once. It runs every
    callback that is registered at that moment (kill a child process, cancel a query), newest first.
    """

    def __init__(self) -> None:
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether the step was cancelled."""
        return self._cancelled

    def cancel(self) -> None:
        """Mark the step as cancelled and stop what it waits for."""
        self._cancelled = True
        for callback in reversed(self._callbacks):
            callback()

    def reset(self) -> None:
        """Forget the cancel: it was obeyed, and must not stop what puts things right after it as well."""
        self._cancelled = False

    def check(self) -> None:
        """Raise `Cancelled` if the step was cancelled; the work calls it between its parts."""
        if self._cancelled:
            raise Cancelled

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Have `callback` run if a cancel comes while the block runs; raises `Cancelled` before and after."""
        self.check()
        self._callbacks.append(callback)
        try:
            self.check()
            yield
        finally:
            self._callbacks.remove(callback)
        self.check()
