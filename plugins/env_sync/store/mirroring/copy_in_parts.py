"""Copying one large object in parts, each of which the server copies itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from attrs import frozen

from env_sync.core.cancellation import Cancellation
from env_sync.store.retrying import MEBIBYTE, Requests
from env_sync.store.s3_errors import ABSENT, CHANGED, FAULTS, Request, code_of
from env_sync.store.transfer import MOST_PARTS, abort_upload, parts_of
from env_sync.store.worker_pool import WorkerPool

SMALLEST_PART = 5 * MEBIBYTE
"""S3's own limit."""
HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
)
"""What a copy in parts has to be told; a copy in one takes it along."""


@frozen(kw_only=True)
class CopyInParts:
    """One object of more than one part. `part` is the bytes of each, where its own parts cannot be told.

    `settings` are the ACL, encryption and storage class of the copy, by boto3's names.
    """

    requests: Requests
    cancellation: Cancellation
    source: str
    destination: str
    key: str
    etag: str
    settings: Mapping[str, str]
    part: int

    def run(self, pool: WorkerPool) -> bool:
        """Copy it, in one of the pool's threads; False where it is gone or another one by now."""
        head = self._attempt(pool, "head_object", self.source, ABSENT | CHANGED, IfMatch=self.etag)
        if head is None:
            return False
        size = head["ContentLength"]
        begun = self.requests.make(
            pool,
            "create_multipart_upload",
            bucket=self.destination,
            key=self.key,
            **self.settings,
            **{name: head[name] for name in HEADERS if name in head},
            **({"Metadata": head["Metadata"]} if head.get("Metadata") else {}),
            **self._tags(pool, head),
        )
        upload = str(begun["UploadId"])
        try:
            sent = []
            for part in parts_of(size, self._part_size(pool, head)):
                answer = self._attempt(
                    pool,
                    "upload_part_copy",
                    self.destination,
                    ABSENT | CHANGED,
                    UploadId=upload,
                    PartNumber=part.number,
                    CopySource={"Bucket": self.source, "Key": self.key},
                    CopySourceIfMatch=self.etag,
                    CopySourceRange=f"bytes={part.start}-{part.start + part.size - 1}",
                )
                if answer is None:
                    self._abort(upload)
                    return False
                sent.append({"PartNumber": part.number, "ETag": answer["CopyPartResult"]["ETag"]})
            self.requests.make(
                pool,
                "complete_multipart_upload",
                bucket=self.destination,
                key=self.key,
                UploadId=upload,
                MultipartUpload={"Parts": sent},
            )
        except BaseException:
            self._abort(upload)
            raise
        return True

    def _abort(self, upload: str) -> None:
        abort_upload(self.requests, self.destination, self.key, upload, self.cancellation)

    def _part_size(self, pool: WorkerPool, head: Mapping[str, Any]) -> int:
        """That of its own parts, where they can be told, so that the copy has the same ETag."""
        count = parts_in(self.etag)
        if count <= 1:
            return self.part
        first = self._attempt(pool, "head_object", self.source, None, PartNumber=1)
        size = int(first["ContentLength"]) if first else 0
        fits = SMALLEST_PART <= size < head["ContentLength"] and -(-head["ContentLength"] // size) == count
        return size if fits and count <= MOST_PARTS else self.part

    def _tags(self, pool: WorkerPool, head: Mapping[str, Any]) -> dict[str, str]:
        if head.get("TagCount") == 0:
            return {}
        answer = self._attempt(pool, "get_object_tagging", self.source, frozenset({"NoSuchTagSet", "404"}))
        tags = answer["TagSet"] if answer else []
        return {"Tagging": urlencode([(tag["Key"], tag["Value"]) for tag in tags])} if tags else {}

    def _attempt(
        self,
        pool: WorkerPool,
        operation: str,
        bucket: str,
        expected: frozenset[str] | None,
        **parameters: Any,
    ) -> Any:
        """One request; None where the server says one of what is `expected` (anything, for None)."""
        method: Callable[..., Any] = getattr(self.requests.client, operation)

        def once() -> Any:
            try:
                return method(Bucket=bucket, Key=self.key, **parameters)
            except FAULTS as fault:
                code = code_of(fault)
                if code and (expected is None or code in expected):
                    return None
                raise

        return self.requests.attempt(pool, Request(operation=operation, bucket=bucket, key=self.key), once)


def parts_in(etag: str) -> int:
    """In how many parts an object was sent, by its ETag; 1 where that does not say."""
    bare = etag.strip('"')
    count = bare.rpartition("-")[2] if "-" in bare else ""
    return int(count) if count.isdecimal() else 1
