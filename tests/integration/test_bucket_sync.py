"""Bucket syncs against real S3 servers: what is copied, what is kept, what is deleted, what is refused."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from airflow.sdk import Connection
from attrs import Factory, define, evolve

from env_sync.airflow.connections import CONNECTIONS
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import (
    AccessRefused,
    BucketOfDumps,
    Cancelled,
    DeletionRefused,
    NoSuchBucket,
    TransferFailed,
)
from env_sync.domain.report import Result
from env_sync.engines.base.contract import Holder
from env_sync.pipeline.bucket_sync import what_would_be_done
from env_sync.pipeline.run import run_group
from env_sync.pipeline.session import Session, open_session
from env_sync.planning.request import Request
from env_sync.store.dump_keys import MANIFESTS
from env_sync.store.dumps import S3Store
from env_sync.store.mirroring.async_requests import QuickRequests
from env_sync.store.mirroring.mirror import Tally, Wanted
from env_sync.store.mirroring.object_requests import Copy, Head, Page
from env_sync.store.retrying import MEBIBYTE, Tuning
from sandbox.faulty_proxy import Busy, Cut, Fault, FaultyProxy, Pass, Stall
from sandbox.s3 import MOTO_PAGE, Account, MotoS3, S3Server, VersityGW
from tests.unit.values import a_bucket_sync, a_plan

pytestmark = pytest.mark.usefixtures("kept_clients")
NO_BUCKET = "no-such-bucket-here"
QUICK = Tuning(workers=8, first_pause=0.01, read_timeout=20)
ODD_KEYS = (
    *(
        "with space",
        "ünïcödé/日本語",
        "plus+sign",
        "per%20cent",
        "quote'\"",
        "a&b=c",
        "#hash?query",
        "tilde~",
    ),
    *("tilde~", "\U0001f600", "deep/" * 30 + "bottom", "new\nline", "x" * 900),
)
ONLY_MOTO_KEYS = ("/leading slash", "a/../b", "a/./c", "double//slash", "folder/", "folder", "back\\slash")


class Watch:
    """A progress that calls `when` each time, and `before` with what begins."""

    def __init__(
        self, when: Callable[[], None] = lambda: None, before: Callable[[str], None] = lambda _: None
    ) -> None:
        self._when = when
        self._before = before
        self.done: list[int] = []

    def start(self, what: str, total: int | None, unit: str) -> None:
        self._before(what)

    def advance(self, done: int) -> None:
        self.done.append(done)
        self._when()

    def finish(self) -> None:
        """Nothing is shown."""


@define
class Buckets:
    """Two buckets of a server."""

    server: S3Server
    source: str
    destination: str
    client: Any = Factory(lambda self: self.server.client(), takes_self=True)

    def put(self, key: str, content: bytes = b"content", **settings: Any) -> None:
        self.client.put_object(Bucket=self.source, Key=key, Body=content, **settings)

    def put_there(self, key: str, content: bytes = b"content") -> None:
        self.client.put_object(Bucket=self.destination, Key=key, Body=content)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.source, Key=key)

    def read(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.destination, Key=key)["Body"].read()
        return content

    def keys(self) -> set[str]:
        return set(self.server.keys(self.destination))

    def store(
        self,
        account: Account | None = None,
        endpoint: str | None = None,
        config: Mapping[str, object] = MappingProxyType({}),
        **parts: Any,
    ) -> S3Store:
        """`config` is added to the connection's `config_kwargs`."""
        read = self.server.airflow_connection(account)
        extra = read["extra"]
        assert isinstance(extra, dict)
        connection = Connection(
            conn_id="env_sync_integration_s3",
            conn_type="aws",
            login=str(read["login"]),
            password=str(read["password"]),
            extra=json.dumps(
                {
                    **extra,
                    "endpoint_url": endpoint or self.server.endpoint,
                    "config_kwargs": {**extra["config_kwargs"], **config},
                }
            ),
        )
        return S3Store(connection, **{"tuning": QUICK, **parts})

    def wanted(self, **fields: Any) -> Wanted:
        wanted = Wanted(
            source=self.source,
            destination=self.destination,
            delete=True,
            max_delete_ratio=0.25,
            copies=8,
            acl="bucket-owner-full-control",
        )
        return evolve(wanted, **fields)

    def mirror(self, **fields: Any) -> Tally:
        return self.store().mirror(self.wanted(**fields))


@pytest.fixture(params=["s3", "moto"])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def buckets(server: S3Server, request: pytest.FixtureRequest) -> Buckets:
    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20]
    made = Buckets(server, f"mirror-{name}-source", f"mirror-{name}-destination")
    server.create_buckets([made.source, made.destination])
    return made


@pytest.fixture
def moto_buckets(moto: MotoS3, request: pytest.FixtureRequest) -> Buckets:
    """The same on the server that tells of ACLs and encryption."""
    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20]
    made = Buckets(moto, f"mirror-{name}-source", f"mirror-{name}-destination")
    moto.create_buckets([made.source, made.destination])
    return made


def test_only_what_differs_is_copied(buckets: Buckets) -> None:
    for number in range(25):
        buckets.put(f"key {number}", b"%d" % number)
    buckets.put("empty", b"")
    first = buckets.mirror()
    assert (first.copied, first.same, first.deleted, first.bytes) == (26, 0, 0, 40)
    second = buckets.mirror()
    assert (second.copied, second.same, second.bytes) == (0, 26, 0)
    # Of the same length, and of another.
    buckets.put("key 3", b"x")
    buckets.put("key 4", b"longer")
    third = buckets.mirror()
    assert (third.copied, third.same) == (2, 24)
    assert (buckets.read("key 3"), buckets.read("key 4"), buckets.read("empty")) == (b"x", b"longer", b"")
    # Somebody changed the copy.
    buckets.put_there("key 5", b"y")
    assert buckets.mirror().copied == 1
    assert buckets.read("key 5") == b"5"


def test_odd_keys(buckets: Buckets) -> None:
    keys = {*ODD_KEYS, *(ONLY_MOTO_KEYS if isinstance(buckets.server, MotoS3) else ())}
    keys -= {"x" * 900, "new\nline"} if isinstance(buckets.server, VersityGW) else {"new\nline"}
    for key in keys:
        buckets.put(key, key.encode())
    for key in ("gone with space", "gone/ünïcödé%2F+"):
        buckets.put_there(key)
    assert buckets.mirror(max_delete_ratio=1.0).copied == len(keys)
    assert buckets.keys() == keys
    for key in keys:
        assert buckets.read(key) == key.encode()
    assert buckets.mirror().copied == 0


def test_more_than_a_page(buckets: Buckets) -> None:
    page = MOTO_PAGE if isinstance(buckets.server, MotoS3) else 1000
    extra = page // 10
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(buckets.put, [f"{number:05}" for number in range(page + 50)]))
        list(pool.map(buckets.put_there, [f"{number:05}x" for number in range(extra)]))
    tally = buckets.mirror(copies=16, max_delete_ratio=1.0)
    assert (tally.copied, tally.deleted) == (page + 50, extra)
    assert len(buckets.keys()) == page + 50


def test_what_the_source_lacks_is_deleted_where_that_is_wanted(buckets: Buckets) -> None:
    for number in range(10):
        buckets.put(f"{number}")
    for key in ("extra 1", "extra 2"):
        buckets.put_there(key)
    kept = buckets.mirror(delete=False)
    assert (kept.copied, kept.extra, kept.deleted) == (10, 2, 0)
    tally = buckets.mirror()
    assert (tally.copied, tally.deleted) == (0, 2)
    assert buckets.keys() == {f"{number}" for number in range(10)}


def test_too_much_is_not_deleted(buckets: Buckets) -> None:
    for number in range(10):
        buckets.put(f"{number}")
    buckets.mirror()
    for number in range(3):
        buckets.remove(f"{number}")
    buckets.put("new")
    with pytest.raises(
        DeletionRefused, match=r"3 of the 10 objects .* 30%, more than max_delete_ratio \(25%\)"
    ):
        buckets.mirror()
    assert buckets.keys() == {"new", *(f"{number}" for number in range(10))}
    assert buckets.mirror(max_delete_ratio=0.5).deleted == 3


def test_an_empty_source_deletes_nothing(buckets: Buckets) -> None:
    buckets.put_there("kept")
    with pytest.raises(DeletionRefused, match="the source is empty"):
        buckets.mirror(max_delete_ratio=0.99)
    assert buckets.keys() == {"kept"}
    assert buckets.mirror(max_delete_ratio=1.0).deleted == 1


def test_a_source_that_is_emptied_meanwhile(buckets: Buckets) -> None:
    for number in range(20):
        buckets.put(f"{number}")
    buckets.mirror()
    buckets.remove("0")

    def empty(what: str) -> None:
        if what.startswith("Delete from"):
            buckets.server.empty(buckets.source)

    tally = buckets.store(progress=Watch(before=empty)).mirror(buckets.wanted())
    # What went meanwhile was not judged: the next run refuses to delete it.
    assert (tally.extra, tally.deleted) == (1, 1)
    assert buckets.keys() == {f"{number}" for number in range(1, 20)}
    with pytest.raises(DeletionRefused, match="the source is empty"):
        buckets.mirror()


def test_only_what_the_source_lacked_both_times_is_deleted(buckets: Buckets) -> None:
    """The source's application is at work between the two looks: it writes some anew, and makes one again."""
    kept, stale = [f"img/{number:03}" for number in range(50)], ["a b", "old/1", "old/ü", "zz"]
    for key in kept:
        buckets.put(key)
    buckets.mirror()
    for key in stale:
        buckets.put_there(key)

    def rewrite(what: str) -> None:
        if what.startswith("Delete from"):
            for key in kept[:10]:
                buckets.remove(key)
            buckets.put("old/1")

    tally = buckets.store(progress=Watch(before=rewrite)).mirror(buckets.wanted())
    assert (tally.extra, tally.deleted) == (4, 3)
    assert buckets.keys() == {*kept, "old/1"}


def test_a_bucket_of_dumps_is_never_mirrored_whatever_its_name(buckets: Buckets) -> None:
    buckets.put("a")
    store = buckets.store()
    store.look_at_mirrored(buckets.source)
    buckets.put(f"{MANIFESTS}postgresql/2026-11-22T220500Z-signon.json")
    with pytest.raises(BucketOfDumps, match="holds dumps of Env Sync"):
        store.look_at_mirrored(buckets.source)
    store.look_at_mirrored(buckets.destination)


@pytest.mark.parametrize("key", ["pg/2026-11-22T01:02:03-signon.gz", "2026-11-22T010203Z-signon.gz"])
def test_nor_are_dumps_that_another_program_put_there(moto_buckets: Buckets, key: str) -> None:
    buckets = moto_buckets
    buckets.put("2026-11-22T010203Z-signon.txt")
    buckets.put("old/2026-11-22T010203Z.gz")
    assert buckets.mirror().copied == 2
    for put in (buckets.put_there, buckets.put):
        put(key, b"ada@home.example")
        for what in (buckets.store().compare, buckets.store().mirror):
            with pytest.raises(BucketOfDumps, match="by its name a dump") as refused:
                what(buckets.wanted(max_delete_ratio=1))
            assert key in str(refused.value)
        there = buckets.keys()
        assert (key in there) == (put == buckets.put_there)
        buckets.client.delete_object(Bucket=buckets.destination, Key=key)


def test_a_large_object_is_copied_in_parts(buckets: Buckets) -> None:
    content = os.urandom(12 * MEBIBYTE)
    buckets.put("large", content, ContentType="text/x-large", Metadata={"colour": "blue"}, Tagging="a=b%20c")
    assert buckets.mirror(at_once=8 * MEBIBYTE, part=5 * MEBIBYTE).copied == 1
    assert buckets.read("large") == content
    client = buckets.client
    head = client.head_object(Bucket=buckets.destination, Key="large")
    assert head["ETag"].strip('"').endswith("-3")
    assert (head["ContentType"], head["Metadata"]) == ("text/x-large", {"colour": "blue"})
    tags = client.get_object_tagging(Bucket=buckets.destination, Key="large")["TagSet"]
    assert tags == [{"Key": "a", "Value": "b c"}]


def test_an_object_that_was_sent_in_parts_stays_the_same(buckets: Buckets) -> None:
    client = buckets.client
    upload = client.create_multipart_upload(Bucket=buckets.source, Key="parts")["UploadId"]
    parts = []
    for number, size in enumerate((6 * MEBIBYTE, 6 * MEBIBYTE, 1000), 1):
        answer = client.upload_part(
            Bucket=buckets.source, Key="parts", UploadId=upload, PartNumber=number, Body=os.urandom(size)
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(
        Bucket=buckets.source, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    assert buckets.mirror().copied == 1
    assert buckets.mirror().same == 1
    source = client.get_object(Bucket=buckets.source, Key="parts")["Body"].read()
    assert buckets.read("parts") == source


def test_metadata_headers_and_tags_are_kept(buckets: Buckets) -> None:
    buckets.put(
        "object",
        ContentType="image/x-odd",
        CacheControl="max-age=7",
        ContentDisposition="attachment",
        Metadata={"colour": "blue"},
        Tagging="team=env%20sync",
    )
    assert buckets.mirror().copied == 1
    client = buckets.client
    head = client.head_object(Bucket=buckets.destination, Key="object")
    assert head["ContentType"] == "image/x-odd"
    assert head["CacheControl"] == "max-age=7"
    assert head["ContentDisposition"] == "attachment"
    assert head["Metadata"] == {"colour": "blue"}
    tags = client.get_object_tagging(Bucket=buckets.destination, Key="object")["TagSet"]
    assert tags == [{"Key": "team", "Value": "env sync"}]


@pytest.mark.parametrize("parts", [False, True])
def test_acl_and_encryption(moto_buckets: Buckets, parts: bool) -> None:
    buckets = moto_buckets
    content = os.urandom(6 * MEBIBYTE)
    buckets.put("plain", content)
    buckets.put("kms", content, ServerSideEncryption="aws:kms", SSEKMSKeyId="theirs")
    at_once = MEBIBYTE if parts else 100 * MEBIBYTE
    assert buckets.mirror(at_once=at_once, part=5 * MEBIBYTE).copied == 2
    client = buckets.client
    plain, kms = (client.head_object(Bucket=buckets.destination, Key=key) for key in ("plain", "kms"))
    assert plain["ServerSideEncryption"] == "AES256"
    assert kms["ServerSideEncryption"] == "aws:kms"
    assert kms.get("SSEKMSKeyId") != "theirs"
    grants = client.get_object_acl(Bucket=buckets.destination, Key="plain")["Grants"]
    assert "FULL_CONTROL" in {grant["Permission"] for grant in grants}
    assert buckets.mirror().copied == 0


def test_objects_that_change_and_vanish_meanwhile(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a", "b", "c"):
        buckets.put(key, b"old")
    head = QuickRequests.head
    seen: list[str] = []

    async def disturbed(requests: QuickRequests, bucket: str, key: str) -> Head:
        if key == "b":
            buckets.remove("b")
        found = await head(requests, bucket, key)
        if key == "c" and key not in seen:
            # Between the look and the copy.
            buckets.put("c", b"brand new")
        seen.append(key)
        return found

    monkeypatch.setattr(QuickRequests, "head", disturbed)
    tally = buckets.mirror()
    assert (tally.copied, tally.vanished, tally.deleted) == (2, 1, 0)
    assert buckets.keys() == {"a", "c"}
    if isinstance(buckets.server, VersityGW):
        assert seen.count("c") == 2
    assert buckets.read("c") == b"brand new"


def test_what_cannot_be_copied_stops_the_deletions_and_a_rerun_goes_on(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        buckets.put(f"{number}")
    buckets.put_there("extra")
    copy_object = QuickRequests.copy

    async def refused(requests: QuickRequests, copy: Copy) -> None:
        await copy_object(requests, evolve(copy, source=NO_BUCKET) if copy.key == "3" else copy)

    says = r"1 object could not be copied .*\(7 were\): '3': There is no bucket"
    with monkeypatch.context() as patch:
        patch.setattr(QuickRequests, "copy", refused)
        with pytest.raises(TransferFailed, match=says):
            buckets.mirror()
    assert {"extra"} <= buckets.keys()
    tally = buckets.mirror()
    assert (tally.copied, tally.same, tally.deleted) == (1, 7, 1)


def test_ten_failures_are_enough(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(200):
        buckets.put(f"{number}")
    copy_object = QuickRequests.copy
    tried: list[str] = []

    async def refused(requests: QuickRequests, copy: Copy) -> None:
        tried.append(copy.key)
        await copy_object(requests, evolve(copy, source=NO_BUCKET))

    monkeypatch.setattr(QuickRequests, "copy", refused)
    with pytest.raises(TransferFailed, match="10 objects could not be copied"):
        buckets.mirror()
    assert len(tried) < 60


def test_a_server_that_is_busy_and_cuts_connections(buckets: Buckets) -> None:
    for number in range(30):
        buckets.put(f"{number}")
    faults: dict[int, Fault] = {0: Busy(), 2: Cut(after=100), 3: Busy(), 5: Cut(after=10)}
    with FaultyProxy(buckets.server.port, lambda number: faults.get(number, Pass())) as proxy:
        tally = buckets.store(endpoint=proxy.endpoint).mirror(buckets.wanted())
        assert proxy.counts["Busy"] > 0
    assert tally.copied == 30
    assert len(buckets.keys()) == 30


def test_a_mirror_that_is_cancelled(buckets: Buckets) -> None:
    for number in range(60):
        buckets.put(f"{number:02}")
    buckets.put_there("extra")
    cancellation = Cancellation()
    store = buckets.store(cancellation=cancellation, progress=Watch(cancellation.cancel))
    with pytest.raises(Cancelled):
        store.mirror(buckets.wanted())
    assert {"extra"} <= buckets.keys()
    tally = buckets.mirror(max_delete_ratio=1.0)
    assert tally.copied + tally.same == 60
    assert tally.deleted == 1


def test_a_mirror_that_is_cancelled_while_the_server_is_silent(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets.put("key")
    cancellation, begun = Cancellation(), threading.Event()
    page = QuickRequests.page

    async def begin(requests: QuickRequests, bucket: str, token: str | None) -> Page:
        begun.set()
        return await page(requests, bucket, token)

    monkeypatch.setattr(QuickRequests, "page", begin)
    with FaultyProxy(buckets.server.port, lambda _: Stall(after=0) if begun.is_set() else Pass()) as proxy:

        def cancel() -> None:
            if proxy.stalled.wait(20):
                cancellation.cancel()

        before = set(threading.enumerate())
        store = buckets.store(endpoint=proxy.endpoint, cancellation=cancellation, progress=Watch(cancel))
        with pytest.raises(Cancelled):
            store.mirror(buckets.wanted())
        # Requests on their way are given up, not waited for.
        left = [each for each in set(threading.enumerate()) - before if each.name == "env-sync-store"]
        for thread in left:
            thread.join(QUICK.read_timeout / 4)
        assert not any(thread.is_alive() for thread in left)
    assert buckets.keys() == set()


def test_boto3_mirrors_through_a_proxy(moto_buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    buckets = moto_buckets
    monkeypatch.setattr(QuickRequests, "head", None)
    keys = [f"{number} with ünïcödé" for number in range(20)]
    for key in keys:
        buckets.put(key, key.encode(), ContentType="image/x-odd")
    for key in ("extra 1", "extra 2"):
        buckets.put_there(key)
    # The server understands what is asked of a proxy.
    store = buckets.store(config={"proxies": {"http": buckets.server.endpoint}})
    tally = store.mirror(buckets.wanted(max_delete_ratio=1.0))
    assert (tally.copied, tally.deleted) == (20, 2)
    assert buckets.keys() == set(keys)
    head = buckets.client.head_object(Bucket=buckets.destination, Key=keys[7])
    assert (head["ContentType"], head["ServerSideEncryption"]) == ("image/x-odd", "AES256")
    again = store.mirror(buckets.wanted())
    assert (again.copied, again.same) == (0, 20)


def test_two_at_the_same_time_do_no_harm(buckets: Buckets) -> None:
    for number in range(40):
        buckets.put(f"{number}", b"%d" % number)
    for number in range(5):
        buckets.put_there(f"extra {number}")
    started: list[Tally] = []

    def second() -> None:
        if not started:
            started.append(Tally())
            started.append(buckets.mirror(max_delete_ratio=1.0))

    tally = buckets.store(progress=Watch(second)).mirror(buckets.wanted(max_delete_ratio=1.0))
    assert buckets.keys() == {f"{number}" for number in range(40)}
    assert (tally.copied, started[1].deleted) == (40, 5)


def test_two_accounts(s3: VersityGW, request: pytest.FixtureRequest) -> None:
    theirs, ours = s3.create_account("mirror-theirs"), s3.create_account("mirror-ours")
    buckets = Buckets(s3, "mirror-of-theirs", "mirror-of-ours")
    s3.create_buckets([buckets.source], theirs)
    s3.create_buckets([buckets.destination], ours)
    s3.client(theirs).put_object(Bucket=buckets.source, Key="a", Body=b"theirs")
    with pytest.raises(AccessRefused, match=f"s3://{buckets.source}"):
        buckets.store(ours).look_at_bucket(buckets.source)
    with pytest.raises(AccessRefused):
        buckets.store(ours).mirror(buckets.wanted())
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": [ours.access_key],
                "Action": ["s3:ListBucket", "s3:GetObject", "s3:GetObjectTagging"],
                "Resource": [f"arn:aws:s3:::{buckets.source}", f"arn:aws:s3:::{buckets.source}/*"],
            }
        ],
    }
    s3.client(theirs).put_bucket_policy(Bucket=buckets.source, Policy=json.dumps(policy))
    assert buckets.store(ours).mirror(buckets.wanted()).copied == 1
    body = s3.client(ours).get_object(Bucket=buckets.destination, Key="a")["Body"].read()
    assert body == b"theirs"
    # Theirs stays theirs: nothing can be written to it.
    s3.client(ours).put_object(Bucket=buckets.destination, Key="b", Body=b"ours")
    turned = buckets.wanted(source=buckets.destination, destination=buckets.source)
    with pytest.raises((AccessRefused, TransferFailed)):
        buckets.store(ours).mirror(turned)
    assert s3.keys(buckets.source) == ["a"]


# As a sync


@pytest.fixture
def open_sync(
    moto_buckets: Buckets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Session]:
    """Opens the session of a bucket sync of these buckets."""
    server = moto_buckets.server
    connection = server.airflow_connection(environment="integration")
    monkeypatch.setenv("AIRFLOW_CONN_ENV_SYNC_INTEGRATION_S3", json.dumps(connection))
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path))

    def open_it(**fields: Any) -> Session:
        sync = a_bucket_sync(
            source_bucket=moto_buckets.source, destination_bucket=moto_buckets.destination, **fields
        )
        plan = a_plan(sync)
        return open_session(
            group=plan.groups[0],
            settings=plan.settings,
            request=Request(nightly=False, only=(sync.name,)),
            holder=Holder(run="run", group=sync.name, attempt="first"),
            connections=CONNECTIONS,
            pause=lambda: None,
            cancellation=Cancellation(),
            progress=Watch(),
            log=logging.getLogger("env_sync.test"),
        )

    return open_it


def test_a_whole_sync_and_its_report(moto_buckets: Buckets, open_sync: Callable[..., Session]) -> None:
    for number in range(5):
        moto_buckets.put(f"{number}", b"12345")
    moto_buckets.put_there("extra")
    assert what_would_be_done(open_sync()).startswith("would copy 5 of 5 objects (0.0 MB)")
    assert "leave 1 object " in what_would_be_done(open_sync())
    assert moto_buckets.keys() == {"extra"}
    said: list[str] = []
    report = run_group(open_sync(), said.append)
    assert said == ["start_gate", "bucket_sync", "report"]
    assert report.result is Result.OK, report.line()
    assert "5 objects copied, 0 deleted, 0 unchanged, 1 that the source lacks left there" in report.what
    assert (report.bytes, report.action) == (25, "bucket_sync")
    report = run_group(open_sync(delete=True), said.append)
    assert "0 objects copied, 1 deleted, 5 unchanged" in report.what


def test_an_empty_source_is_a_warning_or_refused(
    moto_buckets: Buckets, open_sync: Callable[..., Session]
) -> None:
    report = run_group(open_sync(delete=True), lambda _: None)
    assert report.result is Result.WARNING
    assert "are empty" in report.why[0]
    moto_buckets.put_there("kept")
    report = run_group(open_sync(delete=True), lambda _: None)
    assert report.result is Result.CRITICAL
    assert "DeletionRefused" in report.why[0]
    assert moto_buckets.keys() == {"kept"}
    with pytest.raises(DeletionRefused):
        what_would_be_done(open_sync(delete=True))


def test_a_bucket_that_is_not_there(moto_buckets: Buckets, open_sync: Callable[..., Session]) -> None:
    session = open_sync()
    sync = session.bucket_sync
    missing = "no-such-bucket-anywhere"
    for wrong_sync in (evolve(sync, source_bucket=missing), evolve(sync, destination_bucket=missing)):
        wrong = evolve(session.group, sync=wrong_sync)
        report = run_group(evolve(session, group=wrong), lambda _: None)
        assert report.result is Result.CRITICAL
        assert "NoSuchBucket: There is no bucket no-such-bucket-anywhere" in report.why[0]
        with pytest.raises(NoSuchBucket):
            what_would_be_done(evolve(session, group=wrong))
