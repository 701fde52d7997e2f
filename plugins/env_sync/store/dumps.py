"""Dumps in the buckets of an S3 server: found, chosen, uploaded and downloaded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from botocore.config import Config
from botocore.exceptions import ValidationError

from env_sync.core.addresses import address_of
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import (
    BucketOfDumps,
    ConnectionMalformed,
    ConnectionMissing,
    DumpDamaged,
    TransferFailed,
)
from env_sync.core.progress import LogProgress, Progress
from env_sync.domain.manifest import Manifest, from_json, to_json
from env_sync.planning.timestamps import parse_timestamp
from env_sync.store.dump_choice import Choice, StoredDump, Survey, choose
from env_sync.store.dump_keys import (
    MANIFESTS,
    dump_of_manifest,
    folder,
    manifest_key,
    parse_dump_key,
    pointer_key,
)
from env_sync.store.mirroring.mirror import Tally, Wanted, compare, mirror
from env_sync.store.retrying import MEBIBYTE, Requests, Tuning, refuse_cut_answer
from env_sync.store.s3_errors import ABSENT, Access, Request, code_of, no_s3, replaced
from env_sync.store.transfer import Download, Upload, count_what_is_sent
from env_sync.store.worker_pool import WorkerPool

if TYPE_CHECKING:
    from airflow.sdk import Connection

LARGEST_POINTER = 4096
LARGEST_MANIFEST = 4 * MEBIBYTE
MOST_OTHERS = 1000
"""How many other databases' names a survey keeps, for the error where there is no dump of the one wanted."""
SHA256 = "env-sync-sha256"
"""Metadata of an uploaded object, by which the upload is known again."""


class S3Store:
    """The buckets that one Airflow connection (of type `aws`) reaches; one step's view of them.

    Every method may raise NoSuchBucket, AccessRefused, ServerUnreachable, TransferFailed and Cancelled.
    Uploads and downloads are for one thread at a time; what only looks may be called by several.
    """

    def __init__(
        self,
        connection: Connection | str,
        *,
        cancellation: Cancellation | None = None,
        progress: Progress | None = None,
        log: logging.Logger | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        """`connection` is an Airflow connection or its id. Raises ConnectionMissing; sends nothing yet."""
        self._cancellation = cancellation or Cancellation()
        self._log = log or logging.getLogger(__name__)
        self._progress = progress or LogProgress(self._log)
        self._requests = _requests(connection, tuning or Tuning(), self._log)

    def compare(self, wanted: Wanted) -> Tally:
        """What mirroring would do; writes nothing. Raises DeletionRefused as well."""
        return compare(self._requests, self._cancellation, wanted)

    def mirror(self, wanted: Wanted) -> Tally:
        """Mirror one bucket to another, as `mirror.mirror` says. Raises DeletionRefused as well."""
        return mirror(self._requests, self._cancellation, self._progress, wanted)

    def look_at_bucket(self, bucket: str) -> None:
        """See whether the bucket is there and may be listed; returns where both are so, else raises."""
        with WorkerPool(1, self._cancellation) as pool:
            pool.do(lambda: self._requests.look(pool, bucket))

    def look_at_mirrored(self, bucket: str) -> None:
        """The same for a bucket of a bucket sync. Raises BucketOfDumps where Env Sync keeps dumps in it.

        Whatever it is called: they would be carried down as they are, past every transformation.
        """
        request = Request(operation="list_objects_v2", bucket=bucket, key=MANIFESTS)

        def first() -> Any:
            return self._requests.client.list_objects_v2(Bucket=bucket, Prefix=MANIFESTS, MaxKeys=1)

        with WorkerPool(1, self._cancellation) as pool:
            pool.do(lambda: self._requests.look(pool, bucket))
            if pool.do(lambda: self._requests.attempt(pool, request, first)).get("Contents"):
                raise BucketOfDumps(
                    f"s3://{bucket} holds dumps of Env Sync (there is something below {MANIFESTS}), and "
                    "those are never mirrored: name another bucket, or push and pull the databases. Nothing "
                    "was copied"
                )

    def read_head(self, bucket: str, choice: Choice, count: int) -> bytes:
        """The first `count` bytes of the chosen dump, fewer where it has not as many.

        Raises TransferFailed where it is gone or was replaced since it was chosen.
        """
        with WorkerPool(1, self._cancellation) as pool:
            head = pool.do(lambda: self._requests.make(pool, "head_object", bucket=bucket, key=choice.key))
            if head["ETag"].strip('"') != choice.etag.strip('"'):
                raise replaced(bucket, choice.key)
            if not head["ContentLength"]:
                return b""  # there is no first byte to ask for

            def once() -> bytes:
                answer = self._requests.client.get_object(
                    Bucket=bucket, Key=choice.key, Range=f"bytes=0-{count - 1}"
                )
                with closing(answer["Body"]) as body:
                    return bytes(body.read(count))

            request = Request(operation="get_object", bucket=bucket, key=choice.key)
            return pool.do(lambda: self._requests.attempt(pool, request, once))

    def list_dumps(self, bucket: str, path: str, database: str) -> tuple[StoredDump, ...]:
        """The dumps of exactly this database under this path, newest first, whole or not."""
        return self._dumps(bucket, path, database)[0]

    def survey(self, bucket: str, path: str, database: str) -> Survey:
        """The dumps of exactly this database, and the evidence that they are whole."""
        # The evidence first, so that the dump that it speaks of is among those that are listed after.
        described = frozenset(
            dump_of_manifest(item["Key"]) for item in self._list(bucket, MANIFESTS + folder(path))
        )
        pointer = self.read_pointer(bucket, path, database)
        dumps, others = self._dumps(bucket, path, database)
        return Survey(
            bucket=bucket,
            path=path,
            database=database,
            dumps=dumps,
            described=described & {dump.key for dump in dumps},
            pointer=pointer,
            others=others,
        )

    def choose(
        self,
        bucket: str,
        path: str,
        database: str,
        *,
        timestamp: str | None = None,
        min_size_ratio: float = 0.5,
    ) -> Choice:
        """The newest whole dump of exactly this database, or the one of `timestamp`, with its manifest.

        Raises InvalidRequest for a timestamp that is none, NothingToRestore and DumpTooSmall (see
        `choice.choose`), and DumpDamaged where manifest and dump contradict each other.
        """
        asked = parse_timestamp(timestamp) if timestamp else None
        survey = self.survey(bucket, path, database)
        choice = choose(survey, asked=asked, min_size_ratio=min_size_ratio)
        if choice.key not in survey.described:
            return choice
        manifest = self.read_manifest(bucket, choice.key)
        if manifest is None:
            return choice
        said = (manifest.key, manifest.database, manifest.size)
        if said != (choice.key, database, choice.size):
            raise DumpDamaged(
                f"s3://{bucket}/{manifest_key(choice.key)} describes {manifest.key} of {manifest.database} "
                f"with {manifest.size} bytes, but s3://{bucket}/{choice.key} has {choice.size} bytes. "
                "Restore another dump by its timestamp, or push again"
            )
        return attrs.evolve(choice, manifest=manifest)

    def read_pointer(self, bucket: str, path: str, database: str) -> str | None:
        """The key that the pointer names, without whitespace around it; None where there is no pointer."""
        content = self._read(bucket, pointer_key(path, database), LARGEST_POINTER)
        return None if content is None else content.decode("utf-8", errors="replace").strip()

    def read_manifest(self, bucket: str, key: str) -> Manifest | None:
        """The manifest of the dump with this key, or None where it has none. Raises DumpDamaged."""
        place = manifest_key(key)
        content = self._read(bucket, place, LARGEST_MANIFEST)
        return None if content is None else from_json(content, key=f"s3://{bucket}/{place}")

    def newest_manifest(self, bucket: str, path: str, database: str) -> Manifest | None:
        """The newest manifest of exactly this database under this path, be its dump there or not.

        Raises DumpDamaged.
        """
        described = [dump_of_manifest(item["Key"]) for item in self._list(bucket, MANIFESTS + folder(path))]
        named = [
            (name.timestamp, key)
            for key in described
            if (name := parse_dump_key(path, key)) and name.database == database
        ]
        return self.read_manifest(bucket, max(named)[1]) if named else None

    def upload_dump(self, bucket: str, file: Path, manifest: Manifest, *, acl: str | None = None) -> bool:
        """Upload a dump to `manifest.key`, then its manifest, then the pointer; whether the pointer moved.

        The pointer stays where it names a later dump. `acl` is a canned ACL for all three. An upload that
        fails or is cancelled before its end leaves nothing; after that the dump is whole, and doing it again
        is harmless. Raises DumpDamaged where the file is not the one that the manifest describes.
        """
        path = manifest.key.rpartition("/")[0]
        name = parse_dump_key(path, manifest.key)
        if name is None or name.database != manifest.database:
            raise DumpDamaged(
                f"{manifest.key} is not the key of a dump of {manifest.database}; dump it again"
            )
        if (size := file.stat().st_size) != manifest.size:
            raise DumpDamaged(f"{file} has {size} bytes, its manifest says {manifest.size}; dump it again")
        settings = {"ServerSideEncryption": "AES256", **({"ACL": acl} if acl else {})}
        Upload(
            requests=self._requests,
            file=file,
            bucket=bucket,
            key=manifest.key,
            settings={**settings, "ContentType": "application/gzip", "Metadata": {SHA256: manifest.sha256}},
            cancellation=self._cancellation,
            progress=self._progress,
        ).run()
        self._check_arrived(bucket, manifest)
        self._write(bucket, manifest_key(manifest.key), to_json(manifest), "application/json", settings)
        pointer = self.read_pointer(bucket, path, manifest.database)
        named = parse_dump_key(path, pointer) if pointer else None
        if named is not None and named.database == manifest.database and named.timestamp > name.timestamp:
            self._log.info("The pointer stays: it names %s, which is newer than %s", pointer, manifest.key)
            return False
        self._write(bucket, pointer_key(path, manifest.database), manifest.key, "text/plain", settings)
        return True

    def download_dump(self, bucket: str, choice: Choice, file: Path) -> str:
        """Download the chosen dump to `file`, which appears when it is whole and as described; its SHA-256.

        It is written to `<file>.part` first, readable by this user alone, and nothing stays after an error.
        Raises DiskFull, and DumpDamaged where its size or its checksum is not what its manifest says.
        """
        part = file.with_name(f"{file.name}.part")
        part.unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        try:
            sha256 = Download(
                requests=self._requests,
                bucket=bucket,
                key=choice.key,
                size=choice.size,
                etag=choice.etag,
                file=part,
                cancellation=self._cancellation,
                progress=self._progress,
            ).run()
            if choice.manifest is not None and sha256 != choice.manifest.sha256:
                raise DumpDamaged(
                    f"s3://{bucket}/{choice.key} has the SHA-256 {sha256}, its manifest says "
                    f"{choice.manifest.sha256}. Restore another dump by its timestamp, or push again"
                )
            part.rename(file)
        finally:
            part.unlink(missing_ok=True)
        return sha256

    def _dumps(self, bucket: str, path: str, database: str) -> tuple[tuple[StoredDump, ...], tuple[str, ...]]:
        """The dumps of the database, newest first, and the names of other databases, sorted."""
        dumps: list[StoredDump] = []
        others: set[str] = set()
        for item in self._list(bucket, folder(path)):
            name = parse_dump_key(path, item["Key"])
            if name is None:
                continue
            if name.database != database:
                if len(others) < MOST_OTHERS:
                    others.add(name.database)
                continue
            dumps.append(
                StoredDump(
                    key=item["Key"],
                    database=database,
                    timestamp=name.timestamp,
                    size=item["Size"],
                    etag=item["ETag"],
                )
            )
        dumps.sort(key=lambda dump: (dump.timestamp, dump.key), reverse=True)
        return tuple(dumps), tuple(sorted(others))

    def _list(self, bucket: str, prefix: str) -> Iterator[Any]:
        """What stands directly under a prefix, a page at a time in memory."""
        request = Request(operation="list_objects_v2", bucket=bucket, key=prefix)
        asked = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/"}
        while True:
            with WorkerPool(1, self._cancellation) as pool:
                page = pool.do(
                    lambda: self._requests.attempt(
                        pool, request, lambda: self._requests.client.list_objects_v2(**asked)
                    )
                )
            if "Name" not in page:  # a web page parses as an empty answer
                raise no_s3(self._requests.access)
            yield from page.get("Contents", ())
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def _read(self, bucket: str, key: str, most: int) -> bytes | None:
        """A small object, None where it is not there. Raises DumpDamaged where it is not small."""

        def once() -> bytes | None:
            try:
                answer = self._requests.client.get_object(Bucket=bucket, Key=key)
            except self._requests.client.exceptions.ClientError as fault:
                if code_of(fault) in ABSENT:
                    return None
                raise
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] > most:
                    raise DumpDamaged(
                        f"s3://{bucket}/{key} has {answer['ContentLength']} bytes: no push wrote that. "
                        "Remove it, and push again"
                    )
                return bytes(body.read())

        request = Request(operation="get_object", bucket=bucket, key=key)
        with WorkerPool(1, self._cancellation) as pool:
            return pool.do(lambda: self._requests.attempt(pool, request, once))

    def _write(self, bucket: str, key: str, text: str, content_type: str, settings: dict[str, str]) -> None:
        content = text.encode()
        with WorkerPool(1, self._cancellation) as pool:
            pool.do(
                lambda: self._requests.make(
                    pool,
                    "put_object",
                    bucket=bucket,
                    key=key,
                    Body=content,
                    ContentType=content_type,
                    **settings,
                )
            )

    def _check_arrived(self, bucket: str, manifest: Manifest) -> None:
        with WorkerPool(1, self._cancellation) as pool:
            head = pool.do(lambda: self._requests.make(pool, "head_object", bucket=bucket, key=manifest.key))
        if head["ContentLength"] != manifest.size or head["Metadata"].get(SHA256) != manifest.sha256:
            raise TransferFailed(
                f"s3://{bucket}/{manifest.key} has {head['ContentLength']} bytes after an upload of "
                f"{manifest.size}, or is another object: something else writes there too. "
                "Neither manifest nor pointer was written. Run the push again"
            )


def _requests(connection: Connection | str, tuning: Tuning, log: logging.Logger) -> Requests:
    # Imported here, as it takes a second: keys and choices are wanted where no server is asked.
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    if isinstance(connection, str):
        # S3Hook itself would fall back to whatever credentials this machine has.
        try:
            connection = BaseHook.get_connection(connection)
        except AirflowNotFoundException:
            raise ConnectionMissing(
                f"Airflow has no connection {connection}; add it under Admin, Connections, of type aws"
            ) from None
    hook = S3Hook(aws_conn_id=connection.conn_id)
    hook.conn_config = AwsConnectionWrapper(conn=connection)
    config = Config(
        connect_timeout=tuning.connect_timeout,
        read_timeout=tuning.read_timeout,
        max_pool_connections=tuning.workers + 2,
        tcp_keepalive=True,
        retries={"total_max_attempts": 1, "mode": "standard"},
        # The checksums that botocore adds by default come in trailers, which S3 servers other than Amazon's
        # may refuse. The SHA-256 of a body is part of the signature (also over HTTPS, below): all compare it.
        # Object Lock wants a checksum too: config_kwargs in the connection's extra bring it back.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    ).merge(hook.config)
    config = config.merge(Config(s3={"payload_signing_enabled": True, **(config.s3 or {})}))
    try:
        client = hook.get_client_type(region_name=hook.region_name, config=config)
    except (ValueError, ValidationError) as problem:
        # What they say quotes the value: a region or a URL, with whatever somebody wrote into it.
        raise ConnectionMalformed(
            f"Connection {connection.conn_id} is malformed: endpoint_url or region_name in its extra cannot "
            f"be used ({type(problem).__name__}). Their values are not shown. Nothing was touched."
        ) from None
    client.meta.events.register("before-send.s3", count_what_is_sent)
    client.meta.events.register("after-call.s3", refuse_cut_answer)
    access = Access(
        connection_id=connection.conn_id,
        identity=_identity(hook.conn_config),
        endpoint=address_of(client.meta.endpoint_url),
    )
    return Requests(client=client, access=access, tuning=tuning, log=log)


def _identity(config: Any) -> str:
    """Whose the connection is, as far as may be shown: the role, or the end of the access key's id."""
    if config.role_arn:
        return f"role {config.role_arn}"
    if config.aws_access_key_id:
        return f"access key ending in {config.aws_access_key_id[-4:]}"
    return "this machine's own credentials"
