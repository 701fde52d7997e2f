"""A pool of threads for slow requests, which a cancelled step can leave behind within a second.

Own threads rather than a ThreadPoolExecutor: its threads are joined when the interpreter ends, so that one
that hangs on a silent server would hold up the end of a cancelled task for the whole read timeout.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Self, TypeVar

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import Cancelled

T = TypeVar("T")

LOOK_EVERY = 0.2
"""Seconds between two looks at the cancellation, which a signal handler may set at any instant."""
LINGER = 0.5
"""Seconds that a pool is given to put its work down when it is stopped."""


class WorkerPool:
    """At most `size` threads; leaving the block stops them. `on_look` runs in the caller, at every look."""

    def __init__(
        self, size: int, cancellation: Cancellation, on_look: Callable[[], None] = lambda: None
    ) -> None:
        self._size = size
        self._cancellation = cancellation
        self._on_look = on_look
        self._stopped = threading.Event()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.abandoned = False
        """True once the caller has gone on although threads still hang."""

    def __enter__(self) -> Self:
        self._cancellation.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Have every thread stop at its next look, and wait for them, but not for ever."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        for _ in self._threads:
            self._jobs.put(None)
        end = time.monotonic() + LINGER
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0))
        self.abandoned = any(thread.is_alive() for thread in self._threads)

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Have a thread do the work; in the order in which it was given."""
        future: Future[T] = Future()
        self._jobs.put(lambda: self._do(work, future))
        if len(self._threads) < self._size:
            thread = threading.Thread(target=self._work, daemon=True, name="env-sync-store")
            self._threads.append(thread)
            thread.start()
        return future

    def wait(self, future: Future[T]) -> T:
        """The result of the work, or what it raised; raises Cancelled as soon as the step is."""
        while True:
            done = wait([future], timeout=LOOK_EVERY).done
            self._cancellation.check()
            self._on_look()
            if done:
                return future.result()

    def do(self, work: Callable[[], T]) -> T:
        """Have a thread do the work, and wait for it."""
        return self.wait(self.start(work))

    def check(self) -> None:
        """For the threads: raise Cancelled where the work is to be put down."""
        if self._stopped.is_set() or self._cancellation.cancelled:
            raise Cancelled

    def pause(self, seconds: float) -> None:
        """For the threads: wait, but not beyond the stop."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            self._stopped.wait(min(left, LOOK_EVERY))
        self.check()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _do(self, work: Callable[[], T], future: Future[T]) -> None:
        try:
            self.check()
            future.set_result(work())
        except BaseException as problem:  # noqa: BLE001 - it is raised again where the result is waited for
            future.set_exception(problem)


def run_detached(work: Callable[[WorkerPool], None], seconds: float) -> bool:
    """Have a thread do the work, cancelled or not, and wait so many seconds; whether it ended well in time.

    The thread goes on with it for as long as the process lives.
    """
    pool = WorkerPool(1, Cancellation())
    future = pool.start(lambda: work(pool))
    done = wait([future], timeout=seconds).done
    return bool(done) and future.exception() is None
