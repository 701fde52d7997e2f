"""Two buckets side by side: what each lists, in order, matched key by key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from attrs import frozen

from env_sync.core.errors import TransferFailed
from env_sync.store.mirroring.object_requests import Item, ObjectRequests, Page
from env_sync.store.retrying import Requests
from env_sync.store.s3_errors import Request, no_s3


@frozen
class Pair:
    """One key: what the source and the destination have of it; one of the two at least."""

    source: Item | None
    destination: Item | None


async def list_bucket(requests: Requests, objects: ObjectRequests, bucket: str) -> AsyncIterator[Item]:
    """Everything in a bucket, in the order of its keys; two pages at a time in memory.

    The next page is fetched while one is read. Raises NoSuchBucket, AccessRefused, ServerUnreachable,
    TransferFailed.
    """
    request = Request(operation="list_objects_v2", bucket=bucket, key="")

    def fetch(token: str | None) -> asyncio.Task[Page]:
        return asyncio.create_task(requests.attempt_in_loop(request, lambda: objects.page(bucket, token)))

    coming = fetch(None)
    try:
        while True:
            page = await coming
            if not page.is_s3:
                raise no_s3(requests.access)
            if page.token is not None:
                coming = fetch(page.token)
            for item in page.items:
                yield item
            if page.token is None:
                return
    finally:
        coming.cancel()


async def side_by_side(source: AsyncIterator[Item], destination: AsyncIterator[Item]) -> AsyncIterator[Pair]:
    """Walk two listings that are in order at the same time.

    Raises TransferFailed where one is not in order: what is matched wrongly could be deleted.
    """
    theirs, ours = _in_order(source, "source"), _in_order(destination, "destination")
    first, second = await asyncio.gather(anext(theirs, None), anext(ours, None))
    while first is not None or second is not None:
        if second is None or (first is not None and place(first.key) < place(second.key)):
            yield Pair(first, None)
            first = await anext(theirs, None)
        elif first is None or place(second.key) < place(first.key):
            yield Pair(None, second)
            second = await anext(ours, None)
        else:
            yield Pair(first, second)
            first, second = await anext(theirs, None), await anext(ours, None)


async def _in_order(items: AsyncIterator[Item], which: str) -> AsyncGenerator[Item]:
    last: Item | None = None
    async for item in items:
        if last is not None and place(item.key) <= place(last.key):
            raise TransferFailed(
                f"The server lists the {which} bucket out of order: {item.key!r} after {last.key!r}. The two "
                "cannot be compared that way, and nothing was deleted. Use a general purpose bucket"
            )
        last = item
        yield item


def place(key: str) -> bytes:
    """Where a key stands in a listing: S3 orders keys by the bytes of their UTF-8."""
    return key.encode("utf-8", "surrogatepass")
