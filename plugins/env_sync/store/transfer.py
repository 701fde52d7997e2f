"""Sending and fetching one file in parts, several at the same time, each tried again by itself."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.disk import is_full
from env_sync.core.errors import Cancelled, DiskFull, TransferFailed
from env_sync.core.progress import Progress
from env_sync.store.retrying import MEBIBYTE, Requests
from env_sync.store.s3_errors import Request, replaced
from env_sync.store.worker_pool import WorkerPool, run_detached

MOST_PARTS = 10_000
"""S3's limit for one upload."""
CHUNK = 256 * 1024
ABORT_WITHIN = 20.0
"""Seconds that a failed upload waits for the server to forget its parts."""
ABORT_WITHIN_CANCELLED = 0.8
"""The same for a cancelled one, which has to be gone within two seconds."""


@frozen(kw_only=True)
class Part:
    """A range of a file, in bytes; parts count from 1."""

    number: int
    start: int
    size: int


def parts_of(size: int, part_size: int) -> list[Part]:
    """A file's parts, larger than `part_size` where they would be too many; one for an empty file."""
    if size > part_size * MOST_PARTS:
        part_size = -(-size // (MOST_PARTS * MEBIBYTE)) * MEBIBYTE
    starts = range(0, max(size, 1), part_size)
    return [
        Part(number=number, start=start, size=min(part_size, size - start))
        for number, start in enumerate(starts, 1)
    ]


def sha256_of(file: Path, cancellation: Cancellation) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises Cancelled."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(MEBIBYTE):
            cancellation.check()
            digest.update(chunk)
    return digest.hexdigest()


class Tally:
    """Bytes done so far, counted by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = 0

    @property
    def done(self) -> int:
        """How many bytes, in all."""
        return self._done

    def add(self, size: int) -> None:
        """Count so many bytes more, or fewer."""
        with self._lock:
            self._done += size


class PartBody(io.RawIOBase):
    """A part of a file as the body of a request, which can be put down in the middle.

    botocore reads a body twice, first to sign it: only what is read after `begin` counts.
    """

    def __init__(self, file: Path, part: Part, pool: WorkerPool, tally: Tally) -> None:
        self._path = file
        self._part = part
        self._pool = pool
        self._tally = tally
        self._file = file.open("rb", buffering=0)
        self._at = 0
        self._counted = 0
        self._counting = False
        self.seek(0)

    def __len__(self) -> int:
        return self._part.size

    def begin(self) -> None:
        """From now on, what is read is sent."""
        self._counting = True

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """How many bytes of the part have been read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the part, as with any file."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._part.size}[whence]
        self._file.seek(self._part.start + self._at)
        self.forget()
        return self._at

    def forget(self) -> None:
        """Take back what was counted: it will be sent again."""
        self._tally.add(-self._counted)
        self._counted = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the part. Raises Cancelled, and TransferFailed where the file has shrunk."""
        self._pool.check()
        left = self._part.size - self._at
        wanted = left if size < 0 else min(size, left)
        chunk = self._file.read(wanted) if wanted else b""
        if wanted and not chunk:
            raise TransferFailed(f"{self._path} became shorter while it was uploaded. Run the sync again")
        self._at += len(chunk)
        if self._counting:
            self._counted += len(chunk)
            self._tally.add(len(chunk))
        return chunk

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def count_what_is_sent(request: Any, **_: Any) -> None:
    """For botocore's event `before-send`, which comes after a request was signed."""
    if isinstance(request.body, PartBody):
        request.body.begin()


@frozen(kw_only=True)
class Upload:
    """One file on its way into a bucket; `settings` are boto3's arguments for the object (SSE, ACL, ...)."""

    requests: Requests
    file: Path
    bucket: str
    key: str
    settings: dict[str, Any]
    cancellation: Cancellation
    progress: Progress

    def run(self) -> None:
        """Upload it whole, or leave nothing in the bucket."""
        tally = Tally()
        size = self.file.stat().st_size
        parts = parts_of(size, self.requests.tuning.part_size)
        self.progress.start(f"Upload s3://{self.bucket}/{self.key}", size, "bytes")
        workers = min(self.requests.tuning.workers, len(parts))
        with WorkerPool(workers, self.cancellation, lambda: self.progress.advance(tally.done)) as pool:
            if len(parts) == 1:
                pool.do(lambda: self._send(pool, "put_object", parts[0], tally, self.settings))
            else:
                self._in_parts(pool, parts, tally)
        self.progress.advance(size)
        self.progress.finish()

    def _in_parts(self, pool: WorkerPool, parts: list[Part], tally: Tally) -> None:
        upload = pool.do(lambda: self._begin(pool))
        try:
            sending = [pool.start(partial(self._send_part, pool, upload, part, tally)) for part in parts]
            sent = []
            for part, future in zip(parts, sending, strict=True):
                sent.append({"PartNumber": part.number, "ETag": pool.wait(future)["ETag"]})
            pool.do(lambda: self._complete(pool, upload, sent))
        except BaseException:
            pool.stop()
            abort_upload(self.requests, self.bucket, self.key, upload, self.cancellation)
            raise

    def _begin(self, pool: WorkerPool) -> str:
        answer = self.requests.make(
            pool, "create_multipart_upload", bucket=self.bucket, key=self.key, **self.settings
        )
        upload = str(answer["UploadId"])
        try:
            pool.check()
        except Cancelled:  # nobody waits for the answer any more
            _forget(self.requests, self.bucket, self.key, upload)
            raise
        return upload

    def _send_part(self, pool: WorkerPool, upload: str, part: Part, tally: Tally) -> Any:
        try:
            return self._send(
                pool, "upload_part", part, tally, {"UploadId": upload, "PartNumber": part.number}
            )
        finally:
            if pool.abandoned:  # it hung, and may have arrived after all, after the abort
                _forget(self.requests, self.bucket, self.key, upload)

    def _send(
        self, pool: WorkerPool, operation: str, part: Part, tally: Tally, settings: dict[str, Any]
    ) -> Any:
        def once() -> Any:
            with PartBody(self.file, part, pool, tally) as body:
                try:
                    return method(Bucket=self.bucket, Key=self.key, Body=body, **settings)
                except BaseException:
                    body.forget()
                    raise

        method = getattr(self.requests.client, operation)
        request = Request(operation=operation, bucket=self.bucket, key=self.key)
        return self.requests.attempt(pool, request, once)

    def _complete(self, pool: WorkerPool, upload: str, sent: list[dict[str, Any]]) -> None:
        asked = 0

        def once() -> None:
            nonlocal asked
            asked += 1
            try:
                client.complete_multipart_upload(
                    Bucket=self.bucket, Key=self.key, UploadId=upload, MultipartUpload={"Parts": sent}
                )
            except client.exceptions.NoSuchUpload:
                # An earlier attempt may have succeeded and only its answer got lost: S3Store looks.
                if asked == 1:
                    raise

        client = self.requests.client
        request = Request(operation="complete_multipart_upload", bucket=self.bucket, key=self.key)
        self.requests.attempt(pool, request, once)


def abort_upload(requests: Requests, bucket: str, key: str, upload: str, cancellation: Cancellation) -> None:
    """Have the server forget the parts of an upload that failed; whoever was cancelled waits only briefly."""
    request = Request(operation="abort_multipart_upload", bucket=bucket, key=key)
    seconds = ABORT_WITHIN_CANCELLED if cancellation.cancelled else ABORT_WITHIN
    if run_detached(
        lambda pool: requests.attempt(pool, request, lambda: _forget(requests, bucket, key, upload)), seconds
    ):
        return
    requests.log.warning(
        "The server did not confirm that upload %s of s3://%s/%s was aborted; its parts take up room, "
        "unseen, until a lifecycle rule of the bucket (AbortIncompleteMultipartUpload) removes them",
        *(upload, bucket, key),
    )


def _forget(requests: Requests, bucket: str, key: str, upload: str) -> None:
    client = requests.client
    try:
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    except client.exceptions.NoSuchUpload:
        return


@frozen(kw_only=True)
class Download:
    """One object on its way to a file: exactly the version with this ETag. `size` in bytes."""

    requests: Requests
    bucket: str
    key: str
    size: int
    etag: str
    file: Path
    cancellation: Cancellation
    progress: Progress

    def run(self) -> str:
        """Fetch it whole into `file`, readable by this user alone; its SHA-256.

        What was fetched so far stays in `file` after an error: the caller removes it. Raises DiskFull,
        TransferFailed (also where the object was replaced or deleted meanwhile), AccessRefused, Cancelled.
        """
        check_room(self.file, self.size, self.requests.tuning.room_left)
        with writing(self.file), open(self.file, "xb", opener=_private) as file:
            file.truncate(self.size)
        self.progress.start(f"Download s3://{self.bucket}/{self.key}", self.size, "bytes")
        tally = Tally()
        digest = hashlib.sha256()
        tuning = self.requests.tuning
        parts = parts_of(self.size, tuning.part_size) if self.size else []
        with (
            WorkerPool(tuning.workers, self.cancellation, lambda: self.progress.advance(tally.done)) as pool,
            self.file.open("rb", buffering=0) as written,
        ):
            # Few parts ahead of the digest, so that it reads them back while they are still in memory.
            under_way: deque[tuple[Part, Future[None]]] = deque()
            for part in parts:
                under_way.append((part, pool.start(partial(self._fetch, pool, part, tally))))
                if len(under_way) >= 2 * tuning.workers:
                    self._digest_next(pool, under_way, written, digest.update)
            while under_way:
                self._digest_next(pool, under_way, written, digest.update)
        self.progress.advance(self.size)
        self.progress.finish()
        return digest.hexdigest()

    def _digest_next(
        self,
        pool: WorkerPool,
        under_way: deque[tuple[Part, Future[None]]],
        written: io.FileIO,
        update: Callable[[bytes], None],
    ) -> None:
        part, future = under_way.popleft()
        pool.wait(future)
        left = part.size
        while left:
            chunk = written.read(min(left, MEBIBYTE))
            if not chunk:
                raise TransferFailed(f"{self.file} became shorter while it was written. Run the sync again")
            update(chunk)
            left -= len(chunk)

    def _fetch(self, pool: WorkerPool, part: Part, tally: Tally) -> None:
        done = 0

        def once() -> None:
            nonlocal done
            first, last = part.start + done, part.start + part.size - 1
            answer = self.requests.client.get_object(
                Bucket=self.bucket, Key=self.key, Range=f"bytes={first}-{last}", IfMatch=self.etag
            )
            self._check_answer(answer, last - first + 1)
            # Not `with answer["Body"]`: that gives the stream beneath, which takes a short answer for whole.
            with closing(answer["Body"]) as body, self.file.open("r+b", buffering=0) as file:
                file.seek(first)
                while chunk := body.read(min(CHUNK, part.size - done)):
                    pool.check()
                    with writing(self.file):
                        _write_all(file, chunk)
                    done += len(chunk)
                    tally.add(len(chunk))

        request = Request(operation="get_object", bucket=self.bucket, key=self.key)
        while done < part.size:
            before = done
            self.requests.attempt(pool, request, once)
            if done == before:
                raise TransferFailed(f"{request}: the server sent nothing. Run the sync again")

    def _check_answer(self, answer: Any, size: int) -> None:
        """Servers that know no If-Match or no ranges must not pass either."""
        if answer["ETag"].strip('"') != self.etag.strip('"'):
            raise replaced(self.bucket, self.key)
        if answer["ContentLength"] != size:
            raise TransferFailed(
                f"{self.requests.access.endpoint} sent {answer['ContentLength']} bytes of "
                f"s3://{self.bucket}/{self.key} where {size} were asked for: it cannot send parts of objects"
            )


def check_room(file: Path, size: int, room_left: int) -> None:
    """Raise DiskFull where the file system of `file` has no room for `size` bytes and some more."""
    free = shutil.disk_usage(file.parent).free
    if free < size + room_left:
        raise DiskFull(
            f"{file.parent} has {free / 1e6:.0f} MB free, a dump of {size / 1e6:.0f} MB does not fit. "
            "Make room there, or have the work folder elsewhere"
        )


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Tell of a failed write to the work folder as what it is, not as a broken connection."""
    try:
        yield
    except OSError as problem:
        if is_full(problem):
            raise DiskFull(
                f"{file.parent} became full while a dump was written. Make room there, "
                "or have the work folder elsewhere"
            ) from problem
        raise TransferFailed(f"{file} cannot be written: {problem.strerror}") from problem


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write_all(file: io.FileIO, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]
