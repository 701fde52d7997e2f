"""Two buckets side by side: what each lists, in order, matched key by key."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import frozen

from env_sync.cancellation import Cancellation
from env_sync.errors import TransferFailed
from env_sync.store.crew import Crew
from env_sync.store.faults import Request, no_s3
from env_sync.store.requests import Requests


@frozen(kw_only=True)
class Item:
    """One object as a listing tells it. `size` in bytes, `modified` in UTC."""

    key: str
    size: int
    etag: str
    modified: dt.datetime


@frozen
class Pair:
    """One key: what the source and the destination have of it; one of the two at least."""

    source: Item | None
    destination: Item | None


def list_bucket(requests: Requests, cancellation: Cancellation, bucket: str) -> Iterator[Item]:
    """Everything in a bucket, in the order of its keys, a page at a time in memory.

    Raises NoSuchBucket, AccessRefused, ServerUnreachable, TransferFailed, Cancelled.
    """
    request = Request(operation="list_objects_v2", bucket=bucket, key="")
    asked: dict[str, Any] = {"Bucket": bucket}
    while True:
        with Crew(1, cancellation) as crew:
            page = crew.do(
                lambda: requests.attempt(crew, request, lambda: requests.client.list_objects_v2(**asked))
            )
        if "Name" not in page:  # a web page parses as an empty answer
            raise no_s3(requests.access)
        for item in page.get("Contents", ()):
            yield Item(
                key=item["Key"],
                size=item["Size"],
                etag=item["ETag"].strip('"'),
                modified=item["LastModified"],
            )
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]


def side_by_side(source: Iterable[Item], destination: Iterable[Item]) -> Iterator[Pair]:
    """Walk two listings that are in order at the same time.

    Raises TransferFailed where one is not in order: what is matched wrongly could be deleted.
    """
    theirs, ours = _in_order(source, "source"), _in_order(destination, "destination")
    first, second = next(theirs, None), next(ours, None)
    while first is not None or second is not None:
        if second is None or (first is not None and _place(first) < _place(second)):
            yield Pair(first, None)
            first = next(theirs, None)
        elif first is None or _place(second) < _place(first):
            yield Pair(None, second)
            second = next(ours, None)
        else:
            yield Pair(first, second)
            first, second = next(theirs, None), next(ours, None)


def _in_order(items: Iterable[Item], which: str) -> Iterator[Item]:
    last: Item | None = None
    for item in items:
        if last is not None and _place(item) <= _place(last):
            raise TransferFailed(
                f"The server lists the {which} bucket out of order: {item.key!r} after {last.key!r}. The two "
                "cannot be compared that way, and nothing was deleted. Use a general purpose bucket"
            )
        last = item
        yield item


def _place(item: Item) -> bytes:
    """S3 orders keys by the bytes of their UTF-8."""
    return item.key.encode("utf-8", "surrogatepass")
