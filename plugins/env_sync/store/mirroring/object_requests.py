"""The requests that a mirror makes for every page and every object, by boto3, in threads.

`QuickRequests` makes the same ones with much less work; these serve where it cannot.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Mapping
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Protocol

from attrs import frozen
from botocore.parsers import ResponseParserError

from env_sync.store.worker_pool import WorkerPool


@frozen(kw_only=True)
class Item:
    """One object as a listing tells it. `size` in bytes, `modified` in UTC."""

    key: str
    size: int
    etag: str
    modified: dt.datetime


@frozen
class Page:
    """A page of a listing, in the order of the keys; `token` asks for the next one, None for the last.

    `is_s3` is False where something else answered, such as a web page.
    """

    items: tuple[Item, ...]
    token: str | None
    is_s3: bool = True


@frozen(kw_only=True)
class Head:
    """One object as the server tells it now. `size` in bytes; `etag` with its quotes; the rest as in headers.

    `encryption` and `storage_class` are empty where the server names none.
    """

    size: int
    etag: str
    last_modified: str
    encryption: str
    storage_class: str

    @property
    def modified(self) -> dt.datetime:
        """When it was written, in UTC, to the second."""
        return parsedate_to_datetime(self.last_modified)


@frozen(kw_only=True)
class Copy:
    """A copy that the server is to make; only while the source's ETag is `etag`.

    `settings` are the ACL, encryption and storage class, by boto3's names.
    """

    source: str
    destination: str
    key: str
    etag: str
    settings: Mapping[str, str]


def following(token: str | None) -> str:
    """The token of a page that is not the last. Raises ResponseParserError where there is none.

    Servers that answer as ListObjects does, without V2, send none: what follows would be lost.
    """
    if not token:
        raise ResponseParserError("the listing is not whole, and does not say how to go on")
    return token


class ObjectRequests(Protocol):
    """Single requests, not tried again; each raises what is in `faults.FAULTS`."""

    async def page(self, bucket: str, token: str | None) -> Page:
        """A page of what is in the bucket."""

    async def head(self, bucket: str, key: str) -> Head:
        """One object."""

    async def copy(self, copy: Copy) -> None:
        """Copy an object with its headers, metadata and tags."""

    async def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""


@frozen
class ThreadedRequests:
    """These requests by boto3, in the threads of a pool."""

    client: Any
    pool: WorkerPool

    async def page(self, bucket: str, token: str | None) -> Page:
        """See ObjectRequests."""
        asked = {"Bucket": bucket} | ({"ContinuationToken": token} if token else {})
        answer = await self._do(lambda: self.client.list_objects_v2(**asked))
        token = answer.get("NextContinuationToken")
        return Page(
            items=tuple(
                Item(
                    key=item["Key"],
                    size=item["Size"],
                    etag=item["ETag"].strip('"'),
                    modified=item["LastModified"],
                )
                for item in answer.get("Contents", ())
            ),
            token=following(token) if answer.get("IsTruncated") else None,
            is_s3="Name" in answer,
        )

    async def head(self, bucket: str, key: str) -> Head:
        """See ObjectRequests."""
        answer = await self._do(lambda: self.client.head_object(Bucket=bucket, Key=key))
        return Head(
            size=answer["ContentLength"],
            etag=answer["ETag"],
            last_modified=format_datetime(answer["LastModified"].astimezone(dt.UTC), usegmt=True),
            encryption=answer.get("ServerSideEncryption", ""),
            storage_class=answer.get("StorageClass", ""),
        )

    async def copy(self, copy: Copy) -> None:
        """See ObjectRequests."""
        await self._do(
            lambda: self.client.copy_object(
                Bucket=copy.destination,
                Key=copy.key,
                CopySource={"Bucket": copy.source, "Key": copy.key},
                CopySourceIfMatch=copy.etag,
                MetadataDirective="COPY",
                TaggingDirective="COPY",
                **copy.settings,
            )
        )

    async def delete(self, bucket: str, key: str) -> None:
        """See ObjectRequests."""
        await self._do(lambda: self.client.delete_object(Bucket=bucket, Key=key))

    async def _do(self, work: Callable[[], Any]) -> Any:
        return await asyncio.wrap_future(self.pool.start(work))
