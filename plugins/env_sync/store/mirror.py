"""Mirroring one bucket to another by copies that the server makes: nothing passes through this machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from enum import Enum
from functools import partial
from typing import Any
from urllib.parse import urlencode

from attrs import define, field, frozen

from env_sync.cancellation import Cancellation
from env_sync.errors import Cancelled, DeletionRefused, EnvSyncError, TransferFailed
from env_sync.progress import Progress
from env_sync.store.crew import Crew
from env_sync.store.faults import ABSENT, FAULTS, Request, code_of
from env_sync.store.listing import Item, Pair, list_bucket, side_by_side
from env_sync.store.requests import MEBIBYTE, Requests
from env_sync.store.transfer import MOST_PARTS, abort_upload, parts_of

AT_ONCE = 1024 * MEBIBYTE
"""Bytes of an object that is copied by one request; S3 itself takes 5 GiB, but tells nothing meanwhile."""
PART = 256 * MEBIBYTE
"""Bytes of a part of a larger one, where its own parts cannot be told."""
SMALLEST_PART = 5 * MEBIBYTE
"""S3's own limit."""
MOST_FAILURES = 10
"""After so many objects that could not be copied nothing more is tried: it is no matter of one object."""
TELL_EVERY = 1000
"""After so many keys progress is told also where nothing is to be copied."""
NAMED = 3
"""How many of them the error names."""
TRIES = 3
"""How often an object that changes while it is copied is looked at anew."""
HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
)
"""What a copy in parts has to be told; a copy in one takes it along."""
CHANGED = frozenset({"PreconditionFailed", "412"})


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
    """What a mirror would do, without doing it. Raises what `list_bucket` raises, and DeletionRefused."""
    tally = Tally()
    for pair in _pairs(requests, cancellation, wanted):
        if (item := _count(pair, tally)) is not None:
            tally.bytes += item.size
    if wanted.delete:
        check_deletions(wanted, tally)
    return tally


def mirror(requests: Requests, cancellation: Cancellation, progress: Progress, wanted: Wanted) -> Tally:
    """Copy what differs, then delete what the source lacks, where that is wanted.

    A rerun goes on from where this stopped: only what differs is looked at. Raises what `list_bucket` raises,
    TransferFailed where objects could not be copied, and DeletionRefused; nothing is deleted then.
    """
    tally = Tally()
    copier = _Copier(requests, cancellation, wanted)
    progress.start(f"Mirror s3://{wanted.source} to s3://{wanted.destination}", None, "items")
    seen = 0
    with Crew(wanted.copies, cancellation, lambda: progress.advance(seen)) as crew:
        under_way: deque[Future[_Copied]] = deque()
        for pair in _pairs(requests, cancellation, wanted):
            seen += 1
            if seen % TELL_EVERY == 0:
                progress.advance(seen)
            item = _count(pair, tally)
            if item is None:
                continue
            under_way.append(crew.start(partial(copier.copy, crew, item, pair.destination)))
            if len(under_way) >= 2 * wanted.copies:
                _count_copied(crew.wait(under_way.popleft()), tally, wanted)
        while under_way:
            _count_copied(crew.wait(under_way.popleft()), tally, wanted)
    progress.advance(seen)
    if tally.failures:
        raise _failed(tally, wanted)
    if wanted.delete and tally.extra:
        check_deletions(wanted, tally)
        _delete(requests, cancellation, progress, wanted, tally)
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
    own: then a copy may have another one, and what was written later and is as long counts as the copy.
    """
    if source.size != destination.size:
        return False
    if source.etag == destination.etag:
        return True
    told_by_content = _is_md5(source.etag) and _is_md5(destination.etag)
    return not told_by_content and destination.modified >= source.modified


def _is_md5(etag: str) -> bool:
    return len(etag) == 32 and "-" not in etag


def _pairs(requests: Requests, cancellation: Cancellation, wanted: Wanted) -> Iterator[Pair]:
    return side_by_side(
        list_bucket(requests, cancellation, wanted.source),
        list_bucket(requests, cancellation, wanted.destination),
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
        f"{len(tally.failures)} objects could not be copied to s3://{wanted.destination} ({tally.copied} "
        f"were): {shown}. Nothing was deleted. Run the sync again: it goes on with what differs"
    )


def _delete(
    requests: Requests, cancellation: Cancellation, progress: Progress, wanted: Wanted, tally: Tally
) -> None:
    """Walk both buckets once more, so that nothing is deleted which came to the source meanwhile."""
    progress.start(f"Delete from s3://{wanted.destination} what the source lacks", tally.extra, "items")
    allowed = tally.extra

    def delete(key: str) -> None:
        requests.make(crew, "delete_object", bucket=wanted.destination, key=key)

    with Crew(wanted.copies, cancellation, lambda: progress.advance(tally.deleted)) as crew:
        under_way: deque[Future[None]] = deque()

        def one_is_done() -> None:
            crew.wait(under_way.popleft())
            tally.deleted += 1

        for pair in _pairs(requests, cancellation, wanted):
            if pair.source is not None or pair.destination is None:
                continue
            if allowed == 0:
                # More than was judged: the source lost some meanwhile, or is being emptied.
                raise DeletionRefused(
                    f"s3://{wanted.source} lost objects while it was mirrored: {tally.extra} were to be "
                    "deleted, and by now it would be more. Look at the source, and run the sync again"
                )
            allowed -= 1
            under_way.append(crew.start(partial(delete, pair.destination.key)))
            if len(under_way) >= 2 * wanted.copies:
                one_is_done()
        while under_way:
            one_is_done()


@frozen
class _Copier:
    """Copies single objects; in the threads of a crew."""

    requests: Requests
    cancellation: Cancellation
    wanted: Wanted

    def copy(self, crew: Crew, item: Item, there: Item | None) -> _Copied:
        """Copy the source's object as it is now; `there` is what the destination has. Raises Cancelled."""
        key = item.key
        try:
            for _ in range(TRIES):
                if (copied := self._once(crew, key, there)) is not None:
                    return copied
        except Cancelled:
            raise
        except EnvSyncError as problem:
            return _Copied(What.FAILED, failure=f"{key!r}: {problem}")
        return _Copied(What.FAILED, failure=f"{key!r} changed again and again while it was copied")

    def _once(self, crew: Crew, key: str, there: Item | None) -> _Copied | None:
        """What became of it; None where it changed meanwhile."""
        head = self._attempt(crew, "head_object", self.wanted.source, key, ABSENT)
        if head is None:
            return _Copied(What.VANISHED)
        if there is not None and _is_copied_with_a_key(head, there):
            return _Copied(What.SAME)
        size = head["ContentLength"]
        if size > self.wanted.at_once or (_parts_in(_bare(head["ETag"])) > 1 and size > SMALLEST_PART):
            done = self._in_parts(crew, key, head)
        else:
            done = self._whole(crew, key, head)
        return _Copied(What.COPIED, size=size) if done else None

    def _whole(self, crew: Crew, key: str, head: Mapping[str, Any]) -> bool:
        answer = self._attempt(
            crew,
            "copy_object",
            self.wanted.destination,
            key,
            ABSENT | CHANGED,
            CopySource={"Bucket": self.wanted.source, "Key": key},
            CopySourceIfMatch=head["ETag"],
            MetadataDirective="COPY",
            TaggingDirective="COPY",
            **self._settings(head),
        )
        return answer is not None

    def _in_parts(self, crew: Crew, key: str, head: Mapping[str, Any]) -> bool:
        size = head["ContentLength"]
        begun = self.requests.make(
            crew,
            "create_multipart_upload",
            bucket=self.wanted.destination,
            key=key,
            **self._settings(head),
            **{name: head[name] for name in HEADERS if name in head},
            **({"Metadata": head["Metadata"]} if head.get("Metadata") else {}),
            **self._tags(crew, key, head),
        )
        upload = str(begun["UploadId"])
        try:
            sent = []
            for part in parts_of(size, self._part_size(crew, key, head)):
                answer = self._attempt(
                    crew,
                    "upload_part_copy",
                    self.wanted.destination,
                    key,
                    ABSENT | CHANGED,
                    UploadId=upload,
                    PartNumber=part.number,
                    CopySource={"Bucket": self.wanted.source, "Key": key},
                    CopySourceIfMatch=head["ETag"],
                    CopySourceRange=f"bytes={part.start}-{part.start + part.size - 1}",
                )
                if answer is None:
                    abort_upload(self.requests, self.wanted.destination, key, upload, self.cancellation)
                    return False
                sent.append({"PartNumber": part.number, "ETag": answer["CopyPartResult"]["ETag"]})
            self.requests.make(
                crew,
                "complete_multipart_upload",
                bucket=self.wanted.destination,
                key=key,
                UploadId=upload,
                MultipartUpload={"Parts": sent},
            )
        except BaseException:
            abort_upload(self.requests, self.wanted.destination, key, upload, self.cancellation)
            raise
        return True

    def _settings(self, head: Mapping[str, Any]) -> dict[str, Any]:
        """Who may read the copy, and how it is encrypted: a key of the source's account is not named."""
        encryption = head.get("ServerSideEncryption") or "AES256"
        settings = {"ACL": self.wanted.acl, "ServerSideEncryption": encryption}
        return settings | ({"StorageClass": head["StorageClass"]} if head.get("StorageClass") else {})

    def _part_size(self, crew: Crew, key: str, head: Mapping[str, Any]) -> int:
        """That of its own parts, where they can be told, so that the copy has the same ETag."""
        count = _parts_in(_bare(head["ETag"]))
        if count <= 1:
            return self.wanted.part
        first = self._attempt(crew, "head_object", self.wanted.source, key, None, PartNumber=1)
        size = int(first["ContentLength"]) if first else 0
        fits = SMALLEST_PART <= size < head["ContentLength"] and -(-head["ContentLength"] // size) == count
        return size if fits and count <= MOST_PARTS else self.wanted.part

    def _tags(self, crew: Crew, key: str, head: Mapping[str, Any]) -> dict[str, str]:
        if head.get("TagCount") == 0:
            return {}
        answer = self._attempt(
            crew, "get_object_tagging", self.wanted.source, key, frozenset({"NoSuchTagSet", "404"})
        )
        tags = answer["TagSet"] if answer else []
        return {"Tagging": urlencode([(tag["Key"], tag["Value"]) for tag in tags])} if tags else {}

    def _attempt(
        self,
        crew: Crew,
        operation: str,
        bucket: str,
        key: str,
        expected: frozenset[str] | None,
        **parameters: Any,
    ) -> Any:
        """One request; None where the server says one of what is `expected` (anything, for None)."""
        method: Callable[..., Any] = getattr(self.requests.client, operation)

        def once() -> Any:
            try:
                return method(Bucket=bucket, Key=key, **parameters)
            except FAULTS as fault:
                code = code_of(fault)
                if code and (expected is None or code in expected):
                    return None
                raise

        return self.requests.attempt(crew, Request(operation=operation, bucket=bucket, key=key), once)


def _is_copied_with_a_key(source: Mapping[str, Any], there: Item) -> bool:
    """Whether what is there copies an object whose ETag says nothing, as it is encrypted with a key."""
    return (
        str(source.get("ServerSideEncryption", "")).startswith("aws:kms")
        and source["ContentLength"] == there.size
        and source["LastModified"] <= there.modified
    )


def _bare(etag: str) -> str:
    return etag.strip('"')


def _parts_in(etag: str) -> int:
    """In how many parts an object was sent, by its ETag; 1 where that does not say."""
    count = etag.rpartition("-")[2] if "-" in etag else ""
    return int(count) if count.isdecimal() else 1
