"""Mirroring one bucket to another by copies that the server makes: nothing passes through this machine."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from attrs import define, field, frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import BucketOfDumps, Cancelled, DeletionRefused, EnvSyncError, TransferFailed
from env_sync.core.plural import plural
from env_sync.core.progress import Progress
from env_sync.store.dump_keys import is_dump_key
from env_sync.store.event_loop import in_parallel, run_in_loop
from env_sync.store.mirroring.compared_keys import ComparedKeys
from env_sync.store.mirroring.copy_in_parts import SMALLEST_PART, CopyInParts, parts_in
from env_sync.store.mirroring.listing import Pair, list_bucket, side_by_side
from env_sync.store.mirroring.object_requests import Copy, Head, Item, ObjectRequests, ThreadedRequests
from env_sync.store.retrying import MEBIBYTE, Requests
from env_sync.store.s3_errors import ABSENT, CHANGED, FAULTS, Request, code_of
from env_sync.store.worker_pool import WorkerPool

T = TypeVar("T")

AT_ONCE = 1024 * MEBIBYTE
"""Bytes of an object that is copied by one request; S3 itself takes 5 GiB, but tells nothing meanwhile."""
PART = 256 * MEBIBYTE
"""Bytes of a part of a larger one, where its own parts cannot be told."""
MOST_FAILURES = 10
"""After so many objects that could not be copied nothing more is tried: it is no matter of one object."""
NAMED = 3
"""How many of them the error names."""
TRIES = 3
"""How often an object that changes while it is copied is looked at anew."""
THREADS = 32
"""For what is copied in parts, and where requests are made by boto3: more would only wait for each other."""


@frozen(kw_only=True)
class Wanted:
    """What to mirror, and how. `max_delete_ratio` is a share of what is in the destination."""

    source: str
    destination: str
    delete: bool
    max_delete_ratio: float
    copies: int
    acl: str
    at_once: int = AT_ONCE
    part: int = PART


@define
class Tally:
    """Counts of objects; `bytes` is of what was copied, or would be."""

    source: int = 0
    destination: int = 0
    same: int = 0
    differ: int = 0
    copied: int = 0
    bytes: int = 0
    extra: int = 0
    """In the destination alone."""
    deleted: int = 0
    vanished: int = 0
    """Gone from the source since it was listed."""
    failures: list[str] = field(factory=list)


class What(Enum):
    """What became of one object."""

    COPIED = "copied"
    SAME = "same"
    VANISHED = "vanished"
    FAILED = "failed"


@frozen
class _Copied:
    """What became of one object; `size` in bytes."""

    what: What
    size: int = 0
    failure: str = ""


def compare(requests: Requests, cancellation: Cancellation, wanted: Wanted) -> Tally:
    """What a mirror would do, without doing it.

    Raises what `list_bucket` raises, BucketOfDumps at the first dump, and DeletionRefused.
    """
    tally = Tally()

    async def look(objects: ObjectRequests, threads: WorkerPool) -> None:
        async for pair in _pairs(requests, objects, wanted):
            _refuse_dump(pair, wanted)
            if (item := _count(pair, tally)) is not None:
                tally.bytes += item.size

    _with_objects(requests, cancellation, wanted, look)
    if wanted.delete:
        check_deletions(wanted, tally)
    return tally


def mirror(requests: Requests, cancellation: Cancellation, progress: Progress, wanted: Wanted) -> Tally:
    """Copy what differs, then delete what the source lacks, where that is wanted.

    A rerun goes on from where this stopped: only what differs is looked at. Raises what `list_bucket` raises,
    BucketOfDumps at the first dump, TransferFailed where objects could not be copied, and DeletionRefused;
    nothing is deleted then.
    """
    with tempfile.TemporaryFile("w+", encoding="ascii") as file:
        return _mirror(requests, cancellation, progress, wanted, ComparedKeys(file))


def _mirror(
    requests: Requests, cancellation: Cancellation, progress: Progress, wanted: Wanted, compared: ComparedKeys
) -> Tally:
    tally = Tally()
    progress.start(f"Mirror s3://{wanted.source} to s3://{wanted.destination}", None, "items")

    async def copy_all(objects: ObjectRequests, threads: WorkerPool) -> None:
        copier = _Copier(requests, objects, threads, cancellation, wanted)

        async def differing() -> AsyncIterator[tuple[Item, Item | None]]:
            async for pair in _pairs(requests, objects, wanted):
                _refuse_dump(pair, wanted)
                if (item := _count(pair, tally)) is not None:
                    yield item, pair.destination
                elif pair.source is None and pair.destination is not None and wanted.delete:
                    compared.add(pair.destination.key)

        async def copy(pair: tuple[Item, Item | None]) -> None:
            _count_copied(await copier.copy(*pair), tally, wanted)

        await in_parallel(differing(), copy, wanted.copies)

    _with_objects(
        requests, cancellation, wanted, copy_all, lambda: progress.advance(tally.source + tally.extra)
    )
    cancellation.check()
    if tally.failures:
        raise _failed(tally, wanted)
    if wanted.delete and tally.extra:
        check_deletions(wanted, tally)
        _delete(requests, cancellation, progress, wanted, tally, compared)
    progress.finish()
    return tally


def check_deletions(wanted: Wanted, tally: Tally) -> None:
    """Raises DeletionRefused where more would be deleted than the setting allows."""
    if not tally.extra or wanted.max_delete_ratio >= 1:
        return
    share = tally.extra / tally.destination
    if tally.source and share <= wanted.max_delete_ratio:
        return
    why = (
        f"that is {share:.0%}, more than max_delete_ratio ({wanted.max_delete_ratio:.0%})"
        if tally.source
        else "the source is empty"
    )
    raise DeletionRefused(
        f"{tally.extra} of the {tally.destination} objects in s3://{wanted.destination} are not in "
        f"s3://{wanted.source} and would be deleted: {why}. Nothing was deleted. Look at the source; if they "
        "may go, set max_delete_ratio of the sync higher (1 allows everything) and run it again"
    )


def is_same(source: Item, destination: Item) -> bool:
    """Whether the destination's object is a copy of the source's, as far as listings tell.

    An ETag is the MD5 of the content, unless the object was sent in parts or is encrypted with a key of its
    own: then a copy may have another one, and what was written later and is as long counts as the copy. A
    copy in as many parts has the parts of its source, and so its ETag: a later time alone says little of one,
    for S3 gives an object in parts the time at which it was begun.
    """
    if source.size != destination.size:
        return False
    if source.etag == destination.etag:
        return True
    parts = parts_in(source.etag)
    told_by_content = (_is_md5(source.etag) and _is_md5(destination.etag)) or (
        parts > 1 and parts == parts_in(destination.etag)
    )
    return not told_by_content and destination.modified >= source.modified


def _is_md5(etag: str) -> bool:
    return len(etag) == 32 and "-" not in etag


def _with_objects(
    requests: Requests,
    cancellation: Cancellation,
    wanted: Wanted,
    work: Callable[[ObjectRequests, WorkerPool], Coroutine[Any, Any, None]],
    on_look: Callable[[], None] = lambda: None,
) -> None:
    """Do the work in an event loop, with requests to the two buckets, and threads for what is slow.

    Raises Cancelled as soon as the step is.
    """
    # Imported here, as no other step needs aiohttp.
    from env_sync.store.mirroring.async_requests import learn, quick_requests

    with WorkerPool(min(wanted.copies, THREADS), cancellation) as threads:
        buckets = (wanted.source, wanted.destination)
        ways = {bucket: threads.do(partial(learn, requests, threads, bucket)) for bucket in buckets}
        quick = {bucket: way for bucket, way in ways.items() if way is not None}

        async def main() -> None:
            if len(quick) == len(ways):
                async with quick_requests(requests, quick) as objects:
                    await work(objects, threads)
            else:
                await work(ThreadedRequests(requests.client, threads), threads)

        run_in_loop(cancellation, main, on_look)


def _pairs(requests: Requests, objects: ObjectRequests, wanted: Wanted) -> AsyncIterator[Pair]:
    return side_by_side(
        list_bucket(requests, objects, wanted.source),
        list_bucket(requests, objects, wanted.destination),
    )


def _refuse_dump(pair: Pair, wanted: Wanted) -> None:
    """Raises BucketOfDumps where this is a dump by its key, whoever put it there."""
    for item, bucket in ((pair.source, wanted.source), (pair.destination, wanted.destination)):
        if item is not None and is_dump_key(item.key):
            raise BucketOfDumps(
                f"s3://{bucket} holds {item.key!r}, by its name a dump, and dumps are never mirrored: name "
                "another bucket, push and pull the databases, or take it out of there. It was neither copied "
                "nor deleted"
            )


def _count(pair: Pair, tally: Tally) -> Item | None:
    """Count a key; gives the object that is to be copied."""
    source, destination = pair.source, pair.destination
    tally.source += source is not None
    tally.destination += destination is not None
    if source is None:
        tally.extra += 1
        return None
    if destination is not None and is_same(source, destination):
        tally.same += 1
        return None
    tally.differ += 1
    return source


def _count_copied(copied: _Copied, tally: Tally, wanted: Wanted) -> None:
    """Count what became of an object. Raises TransferFailed where too many failed."""
    tally.copied += copied.what is What.COPIED
    tally.vanished += copied.what is What.VANISHED
    tally.same += copied.what is What.SAME
    tally.bytes += copied.size
    if copied.what is What.FAILED:
        tally.failures.append(copied.failure)
        if len(tally.failures) >= MOST_FAILURES:
            raise _failed(tally, wanted)


def _failed(tally: Tally, wanted: Wanted) -> TransferFailed:
    shown = "; ".join(tally.failures[:NAMED])
    return TransferFailed(
        f"{plural(len(tally.failures), 'object')} could not be copied to s3://{wanted.destination} "
        f"({tally.copied} were): {shown}. Nothing was deleted. Run the sync again; it continues with the rest"
    )


def _delete(
    requests: Requests,
    cancellation: Cancellation,
    progress: Progress,
    wanted: Wanted,
    tally: Tally,
    compared: ComparedKeys,
) -> None:
    """Walk both buckets once more, and delete what the source lacked both times.

    What came to the source meanwhile stays. What went from it meanwhile was not among those of which the
    share was checked: the next run looks at it.
    """
    compared.rewind()
    progress.start(f"Delete from s3://{wanted.destination} what the source lacks", tally.extra, "items")

    async def delete_all(objects: ObjectRequests, threads: WorkerPool) -> None:
        async def extra() -> AsyncIterator[str]:
            async for pair in _pairs(requests, objects, wanted):
                there = pair.destination
                if pair.source is None and there is not None and compared.has(there.key):
                    yield there.key

        async def delete(key: str) -> None:
            request = Request(operation="delete_object", bucket=wanted.destination, key=key)
            await requests.attempt_in_loop(request, lambda: objects.delete(wanted.destination, key))
            tally.deleted += 1

        await in_parallel(extra(), delete, wanted.copies)

    _with_objects(requests, cancellation, wanted, delete_all, lambda: progress.advance(tally.deleted))


@frozen
class _Copier:
    """Copies single objects; in an event loop, those in parts in the threads of a pool."""

    requests: Requests
    objects: ObjectRequests
    threads: WorkerPool
    cancellation: Cancellation
    wanted: Wanted

    async def copy(self, item: Item, there: Item | None) -> _Copied:
        """Copy the source's object as it is now; `there` is what the destination has. Raises Cancelled."""
        key = item.key
        try:
            for _ in range(TRIES):
                if (copied := await self._once(key, there)) is not None:
                    return copied
        except Cancelled:
            raise
        except EnvSyncError as problem:
            return _Copied(What.FAILED, failure=f"{key!r}: {problem}")
        return _Copied(What.FAILED, failure=f"{key!r} changed again and again while it was copied")

    async def _once(self, key: str, there: Item | None) -> _Copied | None:
        """What became of it; None where it changed meanwhile."""
        head = await self._attempt(
            "head_object", self.wanted.source, key, ABSENT, lambda: self.objects.head(self.wanted.source, key)
        )
        if head is None:
            return _Copied(What.VANISHED)
        if there is not None and _is_copied_with_a_key(head, there):
            return _Copied(What.SAME)
        if head.size > self.wanted.at_once or (parts_in(head.etag) > 1 and head.size > SMALLEST_PART):
            done = await self._in_parts(key, head)
        else:
            done = await self._whole(key, head)
        return _Copied(What.COPIED, size=head.size) if done else None

    async def _whole(self, key: str, head: Head) -> bool:
        copy = Copy(
            source=self.wanted.source,
            destination=self.wanted.destination,
            key=key,
            etag=head.etag,
            settings=self._settings(head),
        )

        async def once() -> bool:
            await self.objects.copy(copy)
            return True

        return bool(await self._attempt("copy_object", self.wanted.destination, key, ABSENT | CHANGED, once))

    async def _in_parts(self, key: str, head: Head) -> bool:
        copy = CopyInParts(
            requests=self.requests,
            cancellation=self.cancellation,
            source=self.wanted.source,
            destination=self.wanted.destination,
            key=key,
            etag=head.etag,
            settings=self._settings(head),
            part=self.wanted.part,
        )
        return await asyncio.wrap_future(self.threads.start(lambda: copy.run(self.threads)))

    def _settings(self, head: Head) -> dict[str, str]:
        """Who may read the copy, and how it is encrypted: a key of the source's account is not named."""
        settings = {"ACL": self.wanted.acl, "ServerSideEncryption": head.encryption or "AES256"}
        return settings | ({"StorageClass": head.storage_class} if head.storage_class else {})

    async def _attempt(
        self,
        operation: str,
        bucket: str,
        key: str,
        expected: frozenset[str],
        work: Callable[[], Awaitable[T]],
    ) -> T | None:
        """One request; None where the server says one of what is `expected`."""

        async def once() -> T | None:
            try:
                return await work()
            except FAULTS as fault:
                if code_of(fault) in expected:
                    return None
                raise

        return await self.requests.attempt_in_loop(Request(operation=operation, bucket=bucket, key=key), once)


def _is_copied_with_a_key(source: Head, there: Item) -> bool:
    """Whether what is there copies an object whose ETag says nothing, as it is encrypted with a key."""
    return (
        source.encryption.startswith("aws:kms")
        and source.size == there.size
        and source.modified <= there.modified
    )
