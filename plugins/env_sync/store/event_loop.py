"""Many requests at the same time in one thread: an event loop that a cancelled step can walk away from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from env_sync.core.cancellation import Cancellation
from env_sync.store.worker_pool import LOOK_EVERY, WorkerPool

T = TypeVar("T")


def run_in_loop(
    cancellation: Cancellation,
    main: Callable[[], Coroutine[Any, Any, T]],
    on_look: Callable[[], None] = lambda: None,
) -> T:
    """Run a coroutine in a thread of its own, and give what it gives.

    Raises Cancelled as soon as the step is. `on_look` runs in the caller meanwhile, several times a second,
    and once more at the end.
    """
    with WorkerPool(1, cancellation, on_look) as pool:
        return pool.do(lambda: asyncio.run(_watched(pool, main())))


async def _watched(pool: WorkerPool, work: Coroutine[Any, Any, T]) -> T:
    """The work, given up at the pool's stop."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            pool.check()
            await asyncio.wait([task], timeout=LOOK_EVERY)
    finally:
        task.cancel()
    return task.result()


async def in_parallel(items: AsyncIterator[T], work: Callable[[T], Awaitable[None]], size: int) -> None:
    """Do the work for every item, for at most `size` at the same time.

    The first error ends all, and is raised. No more than `size` items are read ahead.
    """
    waiting: asyncio.Queue[T | None] = asyncio.Queue(size)

    async def read() -> None:
        async for item in items:
            await waiting.put(item)
        for _ in range(size):
            await waiting.put(None)

    async def do() -> None:
        while (item := await waiting.get()) is not None:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            for _ in range(size):
                group.create_task(do())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
