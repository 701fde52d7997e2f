"""Requests to an S3 server: tried again with growing pauses, and failures told in our words."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from attrs import frozen
from botocore.exceptions import ConnectionClosedError

from env_sync.store.s3_errors import (
    FAULTS,
    Access,
    Request,
    code_of,
    explain,
    inner_error,
    is_transient,
    no_s3,
)
from env_sync.store.worker_pool import WorkerPool

T = TypeVar("T")

MEBIBYTE = 1024 * 1024

_HEADERS = {"HeadObject": ("ContentLength", "ETag", "LastModified"), "GetObject": ("ContentLength", "ETag")}
"""What botocore reads of the headers with which each server answers, and what is asked of an answer here."""


def refuse_cut_answer(http_response: Any, parsed: Mapping[str, Any], model: Any, **_: Any) -> None:
    """For botocore's event `after-call`; raises ConnectionClosedError where headers of an object are lacking.

    A connection that ends amid the headers of an answer ends them: http.client takes those that came for all.
    """
    if http_response.status_code < 300 and any(name not in parsed for name in _HEADERS.get(model.name, ())):
        raise ConnectionClosedError(endpoint_url=http_response.url)


@frozen(kw_only=True)
class Tuning:
    """How requests are made. Sizes in bytes, times in seconds."""

    part_size: int = 16 * MEBIBYTE
    """Of a part of an upload or download; S3 wants at least 5 MiB, but for the last one."""
    workers: int = 8
    """How many parts are on their way at the same time."""
    attempts: int = 7
    first_pause: float = 0.5
    """Doubles with each attempt, up to `longest_pause`."""
    longest_pause: float = 15.0
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    room_left: int = 64 * MEBIBYTE
    """What a download leaves free on the disk, at least."""


@frozen(kw_only=True)
class Requests:
    """Makes requests through a boto3 client, whose own retries are off: its pauses could not be cancelled."""

    client: Any
    access: Access
    tuning: Tuning
    log: logging.Logger

    def attempt(self, pool: WorkerPool, request: Request, work: Callable[[], T]) -> T:
        """Do the work until it succeeds; in one of the pool's threads.

        Faults that pass are tried again, others are raised as `faults.explain` says; Cancelled at a stop.
        """
        attempt = 1
        while True:
            pool.check()
            try:
                return work()
            except FAULTS as fault:
                pool.check()
                if inner := inner_error(fault):
                    raise inner from fault
                pause = self._pause_after(fault, request, attempt)
            pool.pause(pause)
            attempt += 1

    async def attempt_in_loop(self, request: Request, work: Callable[[], Awaitable[T]]) -> T:
        """The same in an event loop, which cancels it at a stop."""
        attempt = 1
        while True:
            try:
                return await work()
            except FAULTS as fault:
                pause = self._pause_after(fault, request, attempt)
            await asyncio.sleep(pause)
            attempt += 1

    def make(self, pool: WorkerPool, operation: str, *, bucket: str, key: str, **parameters: Any) -> Any:
        """One request about a key, by its boto3 name, and the answer; errors as with `attempt`."""
        request = Request(operation=operation, bucket=bucket, key=key)
        method = getattr(self.client, operation)
        return self.attempt(pool, request, lambda: method(Bucket=bucket, Key=key, **parameters))

    def look(self, pool: WorkerPool, bucket: str) -> None:
        """See whether the bucket is there and may be listed; errors as with `attempt`."""
        request = Request(operation="list_objects_v2", bucket=bucket, key="")
        page = self.attempt(pool, request, lambda: self.client.list_objects_v2(Bucket=bucket, MaxKeys=1))
        if "Name" not in page:  # a web page parses as an empty answer
            raise no_s3(self.access)

    def _pause_after(self, fault: BaseException, request: Request, attempt: int) -> float:
        """Seconds to wait before the next attempt; raises what the fault means where there is none."""
        if attempt >= self.tuning.attempts or not is_transient(fault):
            raise explain(fault, request, self.access) from fault
        pause = min(self.tuning.first_pause * 2.0 ** (attempt - 1), self.tuning.longest_pause)
        # So that those that failed together do not come back together.
        pause *= random.uniform(0.5, 1)
        self.log.warning(
            "%s: %s; trying again in %.1f s (attempt %d of %d)",
            *(request, _short(fault), pause, attempt + 1, self.tuning.attempts),
        )
        return pause


def _short(fault: BaseException) -> str:
    return code_of(fault) or type(fault).__name__
