"""The store against real S3 servers: what is written, what is chosen, what is refused."""

import contextlib
import datetime as dt
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest
from airflow.sdk import Connection
from botocore.exceptions import EndpointConnectionError

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import (
    AccessRefused,
    Cancelled,
    ConnectionMissing,
    DiskFull,
    DumpDamaged,
    DumpTooSmall,
    NoSuchBucket,
    NothingToRestore,
    ServerUnreachable,
    TransferFailed,
)
from env_sync.domain.manifest import Manifest
from env_sync.store import dump_key, manifest_key
from env_sync.store.dumps import S3Store
from env_sync.store.retrying import MEBIBYTE, Tuning
from env_sync.store.transfer import sha256_of, writing
from env_sync.store.worker_pool import WorkerPool
from sandbox.faulty_proxy import Busy, Cut, Fault, FaultyProxy, Garble, Pass, Stall
from sandbox.s3 import MOTO_PAGE, MotoS3, S3Server, VersityGW

WHEN = dt.datetime(2026, 11, 23, 1, 2, 3, tzinfo=dt.UTC)
PATH = "postgresql"
pytestmark = pytest.mark.usefixtures("kept_clients")
QUICK = Tuning(part_size=5 * MEBIBYTE, workers=3, first_pause=0.01, read_timeout=20, room_left=0)


class WatchedProgress:
    """Keeps what it is told, and calls `when` as soon as so many bytes are done."""

    def __init__(self, when: Callable[[], None] = lambda: None, at: int = 1) -> None:
        self.told: list[int] = []
        self.total: int | None = None
        self.finished = False
        self._when = when
        self._at = at

    def start(self, what: str, total: int | None, unit: str) -> None:
        self.total = total

    def advance(self, done: int) -> None:
        self.told.append(done)
        if done >= self._at:
            self._when()

    def finish(self) -> None:
        self.finished = True


@pytest.fixture(params=["s3", "moto"])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def bucket(server: S3Server, request: pytest.FixtureRequest) -> Iterator[str]:
    name = "store-" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20]
    server.create_buckets([name])
    yield name
    server.empty(name)


def connection(server: S3Server, account: Any = None, **extra: object) -> Connection:
    read = server.airflow_connection(account, **extra)
    return Connection(
        conn_id="env_sync_staging_s3",
        conn_type="aws",
        login=str(read["login"]),
        password=str(read["password"]),
        extra=json.dumps(read["extra"]),
    )


def store(server: S3Server, **parts: Any) -> S3Store:
    return S3Store(connection(server), **{"tuning": QUICK, **parts})


def make_dump(
    tmp_path: Path, size: int = 1000, *, database: str = "licensify", when: dt.datetime = WHEN
) -> tuple[Path, Manifest]:
    file = tmp_path / f"{database}-{when:%d%H%M%S}-{size}"
    file.write_bytes(os.urandom(size))
    return file, Manifest(
        environment="staging",
        sync="push_licensify",
        run="r",
        dbms="postgresql",
        database=database,
        engine_version="16.2",
        server_version="16.2",
        key=dump_key(PATH, when, database),
        size=size,
        sha256=sha256_of(file, Cancellation()),
        started=when,
        finished=when,
        data_time=when,
        born_in="production",
        parents=(),
        transformations=(),
    )


@contextlib.contextmanager
def heard(one: S3Store, event: str, listener: Callable[..., None]) -> Iterator[None]:
    """Has a listener told of an event of the store's client, for the length of a block."""
    events = one._requests.client.meta.events
    events.register(event, listener)
    try:
        yield
    finally:
        events.unregister(event, listener)


def uploads_under_way(server: S3Server, bucket: str) -> list[Any]:
    return list(server.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []))


@pytest.mark.parametrize("size", [0, 1, 1000, 5 * MEBIBYTE, 5 * MEBIBYTE + 1, 23_000_000])
def test_round_trip(server: S3Server, bucket: str, tmp_path: Path, size: int) -> None:
    file, manifest = make_dump(tmp_path, size)
    up, down = WatchedProgress(), WatchedProgress()

    assert store(server, progress=up).upload_dump(bucket, file, manifest)
    choice = store(server).choose(bucket, PATH, "licensify")
    sha256 = store(server, progress=down).download_dump(bucket, choice, tmp_path / "dump")

    assert (tmp_path / "dump").read_bytes() == file.read_bytes()
    assert sha256 == manifest.sha256
    assert (choice.manifest, choice.size, choice.notes) == (manifest, size, ())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["dump", file.name])
    assert (tmp_path / "dump").stat().st_mode & 0o777 == 0o600
    for progress in (up, down):
        assert (progress.total, progress.told[-1], progress.finished) == (size, size, True)
        assert max(progress.told) <= size
    assert uploads_under_way(server, bucket) == []


def test_what_is_written_and_in_which_order(server: S3Server, bucket: str, tmp_path: Path) -> None:
    file, manifest = make_dump(tmp_path, 6 * MEBIBYTE)
    written: list[str] = []
    one = store(server)

    def note(model: Any, params: dict[str, Any], **_: object) -> None:
        written.append(f"{model.name} {params['url_path']}")

    with heard(one, "before-call.s3", note):
        one.upload_dump(bucket, file, manifest)

    key = "postgresql/2026-11-23T010203Z-licensify.gz"
    assert manifest.key == key
    assert server.keys(bucket) == sorted(
        [
            key,
            "env_sync_manifests/postgresql/2026-11-23T010203Z-licensify.json",
            "postgresql/latest-licensify.txt",
        ]
    )
    pointer = server.client().get_object(Bucket=bucket, Key="postgresql/latest-licensify.txt")
    assert pointer["Body"].read() == key.encode()
    order = [line.partition(" ")[0] for line in written]
    assert order == [
        "CreateMultipartUpload",
        "UploadPart",
        "UploadPart",
        "CompleteMultipartUpload",
        "HeadObject",
        "PutObject",
        "GetObject",
        "PutObject",
    ]
    assert written[5].endswith(".json")
    assert written[7].endswith(".txt")


@pytest.mark.parametrize("size", [10, 6 * MEBIBYTE])
def test_encryption_and_acl(moto: MotoS3, tmp_path: Path, size: int) -> None:
    moto.create_buckets(["with-acl"])
    moto.empty("with-acl")
    file, manifest = make_dump(tmp_path, size)
    store(moto).upload_dump("with-acl", file, manifest, acl="public-read")
    client = moto.client()
    for key in moto.keys("with-acl"):
        assert client.head_object(Bucket="with-acl", Key=key)["ServerSideEncryption"] == "AES256"
        grants = client.get_object_acl(Bucket="with-acl", Key=key)["Grants"]
        assert any("AllUsers" in grant["Grantee"].get("URI", "") for grant in grants)


def test_pointer_only_moves_forward(server: S3Server, bucket: str, tmp_path: Path) -> None:
    newer = make_dump(tmp_path, when=WHEN + dt.timedelta(days=1))
    older = make_dump(tmp_path)
    assert store(server).upload_dump(bucket, *newer)
    assert not store(server).upload_dump(bucket, *older)
    assert store(server).upload_dump(bucket, *newer)
    assert store(server).read_pointer(bucket, PATH, "licensify") == newer[1].key
    assert store(server).choose(bucket, PATH, "licensify").key == newer[1].key
    assert (
        store(server).choose(bucket, PATH, "licensify", timestamp="2026-11-23T01:02:03").manifest == older[1]
    )


def test_pointer_that_names_nothing_sensible_is_replaced(
    server: S3Server, bucket: str, tmp_path: Path
) -> None:
    server.client().put_object(Bucket=bucket, Key=f"{PATH}/latest-licensify.txt", Body=b"\xff nonsense\n")
    file, manifest = make_dump(tmp_path)
    assert store(server).upload_dump(bucket, file, manifest)
    assert store(server).read_pointer(bucket, PATH, "licensify") == manifest.key


def test_exact_names_both_styles_and_what_is_still_being_written(server: S3Server, bucket: str) -> None:
    put = server.client().put_object
    for key in (
        "2026-11-20T01:02:03-licensify.gz",
        "2026-11-21T01:02:03-licensify.gz",
        "2026-11-25T01:02:03-licensify-refdata.gz",
        "2026-11-25T010203Z-not-licensify.gz",
        "2026-11-25T010203Z-naïve +%.gz",
    ):
        put(Bucket=bucket, Key=f"{PATH}/{key}", Body=b"12345")
    one = store(server)
    assert one.choose(bucket, PATH, "licensify").key == f"{PATH}/2026-11-21T01:02:03-licensify.gz"
    assert one.choose(bucket, PATH, "licensify-refdata").timestamp_text == "2026-11-25T010203Z"
    assert one.choose(bucket, PATH, "naïve +%").size == 5

    put(
        Bucket=bucket,
        Key=f"{PATH}/latest-licensify.txt",
        Body=f"{PATH}/2026-11-20T01:02:03-licensify.gz".encode(),
    )
    choice = one.choose(bucket, PATH, "licensify")
    assert choice.key == f"{PATH}/2026-11-20T01:02:03-licensify.gz"
    assert "2026-11-21T01:02:03-licensify.gz" in choice.notes[0]


def test_dumps_of_the_script_have_no_manifest_and_are_fetched(
    server: S3Server, bucket: str, tmp_path: Path
) -> None:
    key = f"{PATH}/2026-11-20T01:02:03-licensify.gz"
    server.client().put_object(Bucket=bucket, Key=key, Body=b"hello")
    choice = store(server).choose(bucket, PATH, "licensify")
    assert choice.manifest is None
    assert store(server).download_dump(bucket, choice, tmp_path / "d") == hashlib.sha256(b"hello").hexdigest()
    assert store(server).read_manifest(bucket, key) is None


def test_the_newest_manifest_under_a_path(server: S3Server, bucket: str, tmp_path: Path) -> None:
    one = store(server)
    assert one.newest_manifest(bucket, PATH, "licensify") is None
    for database, day in (("licensify", 1), ("licensify", 0), ("licensify-2", 2)):
        file, manifest = make_dump(tmp_path, database=database, when=WHEN + dt.timedelta(days=day))
        one.upload_dump(bucket, file, manifest)
    newest = one.newest_manifest(bucket, PATH, "licensify")
    assert newest is not None
    assert (newest.database, newest.started) == ("licensify", WHEN + dt.timedelta(days=1))
    # A lifecycle rule may have taken its dump.
    server.client().delete_object(Bucket=bucket, Key=newest.key)
    assert one.newest_manifest(bucket, PATH, "licensify") == newest
    assert one.newest_manifest(bucket, f"{PATH}/below", "licensify") is None
    place = manifest_key(newest.key)
    server.client().put_object(Bucket=bucket, Key=place, Body=b"{")
    with pytest.raises(DumpDamaged, match=place):
        one.newest_manifest(bucket, PATH, "licensify")


def test_more_keys_than_one_page_has(moto: MotoS3) -> None:
    moto.create_buckets(["many"])
    client = moto.client()
    keys = [
        f"{PATH}/{WHEN + dt.timedelta(hours=hour):%Y-%m-%dT%H%M%SZ}-{name}.gz"
        for hour in range(MOTO_PAGE)  # twice as many keys as a page has
        for name in ("licensify", "other")
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: client.put_object(Bucket="many", Key=key, Body=b"x"), keys))
    dumps = store(moto).list_dumps("many", PATH, "licensify")
    assert [dump.key for dump in dumps] == sorted((key for key in keys if "licensify" in key), reverse=True)


def test_small_dump_is_refused_until_asked_for(server: S3Server, bucket: str, tmp_path: Path) -> None:
    store(server).upload_dump(bucket, *make_dump(tmp_path, 1000))
    small = make_dump(tmp_path, 499, when=WHEN + dt.timedelta(days=1))
    store(server).upload_dump(bucket, *small)
    with pytest.raises(DumpTooSmall, match="2026-11-24T010203Z"):
        store(server).choose(bucket, PATH, "licensify")
    assert (
        store(server).choose(bucket, PATH, "licensify", timestamp="2026-11-24T010203Z").manifest == small[1]
    )


def test_nothing_there_says_what_is(server: S3Server, bucket: str, tmp_path: Path) -> None:
    store(server).upload_dump(bucket, *make_dump(tmp_path, database="licensify-refdata"))
    with pytest.raises(
        NothingToRestore, match=rf"s3://{bucket}/{PATH}/ .* licensify, but dumps of licensify-refdata"
    ):
        store(server).choose(bucket, PATH, "licensify")


def test_file_that_is_not_the_manifests_is_not_uploaded(
    server: S3Server, bucket: str, tmp_path: Path
) -> None:
    file, manifest = make_dump(tmp_path)
    for wrong in (attrs.evolve(manifest, size=1), attrs.evolve(manifest, database="other")):
        with pytest.raises(DumpDamaged):
            store(server).upload_dump(bucket, file, wrong)
    assert server.keys(bucket) == []


def test_manifest_of_another_format_or_of_another_dump(server: S3Server, bucket: str, tmp_path: Path) -> None:
    file, manifest = make_dump(tmp_path)
    store(server).upload_dump(bucket, file, manifest)
    place = manifest_key(manifest.key)
    text = server.client().get_object(Bucket=bucket, Key=place)["Body"].read().decode()
    for wrong in (
        text.replace('"format": 1', '"format": 2'),
        text[:-20],
        text.replace("T010203Z-", "T010204Z-"),
    ):
        server.client().put_object(Bucket=bucket, Key=place, Body=wrong.encode())
        with pytest.raises(DumpDamaged, match=place):
            store(server).choose(bucket, PATH, "licensify")


def test_other_bytes_than_were_pushed_are_found_out(server: S3Server, bucket: str, tmp_path: Path) -> None:
    file, manifest = make_dump(tmp_path)
    store(server).upload_dump(bucket, file, manifest)
    server.client().put_object(Bucket=bucket, Key=manifest.key, Body=os.urandom(1000))
    choice = store(server).choose(bucket, PATH, "licensify")
    (tmp_path / "got").write_bytes(b"from an earlier attempt")
    with pytest.raises(DumpDamaged, match=manifest.sha256):
        store(server).download_dump(bucket, choice, tmp_path / "got")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("how", ["replaced", "deleted"])
def test_object_that_changes_while_it_is_read(
    server: S3Server, bucket: str, tmp_path: Path, how: str
) -> None:
    file, manifest = make_dump(tmp_path, 40_000_000)
    store(server).upload_dump(bucket, file, manifest)
    choice = store(server).choose(bucket, PATH, "licensify")
    changed: list[str] = []

    def change() -> None:
        if changed:
            return
        changed.append(how)
        if how == "deleted":
            server.client().delete_object(Bucket=bucket, Key=manifest.key)
        else:
            server.client().put_object(Bucket=bucket, Key=manifest.key, Body=os.urandom(1000))

    reading = store(server, progress=WatchedProgress(change), tuning=attrs.evolve(QUICK, workers=1))
    with pytest.raises(TransferFailed, match=f"{how} while it was read"):
        reading.download_dump(bucket, choice, tmp_path / "got")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_object_that_was_replaced_before_it_is_read(server: S3Server, bucket: str, tmp_path: Path) -> None:
    file, manifest = make_dump(tmp_path)
    store(server).upload_dump(bucket, file, manifest)
    choice = store(server).choose(bucket, PATH, "licensify")
    server.client().put_object(Bucket=bucket, Key=manifest.key, Body=os.urandom(1000))
    with pytest.raises(TransferFailed, match="replaced"):
        store(server).download_dump(bucket, choice, tmp_path / "got")


def test_replaced_object_is_found_out_where_a_server_knows_no_if_match(
    server: S3Server, bucket: str, tmp_path: Path
) -> None:
    file, manifest = make_dump(tmp_path)
    store(server).upload_dump(bucket, file, manifest)
    one = store(server)
    choice = one.choose(bucket, PATH, "licensify")
    server.client().put_object(Bucket=bucket, Key=manifest.key, Body=os.urandom(1000))

    def forget_if_match(params: dict[str, Any], **_: object) -> None:
        del params["headers"]["If-Match"]

    with (
        heard(one, "before-call.s3.GetObject", forget_if_match),
        pytest.raises(TransferFailed, match="replaced"),
    ):
        one.download_dump(bucket, choice, tmp_path / "got")


def test_no_room_is_said_before_anything_is_fetched(server: S3Server, bucket: str, tmp_path: Path) -> None:
    file, manifest = make_dump(tmp_path)
    store(server).upload_dump(bucket, file, manifest)
    choice = store(server).choose(bucket, PATH, "licensify")
    with pytest.raises(DiskFull, match="free"):
        store(server, tuning=Tuning(room_left=2**60)).download_dump(bucket, choice, tmp_path / "got")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_disk_that_becomes_full_while_it_is_written() -> None:
    full = Path("/dev/full")
    with pytest.raises(DiskFull, match="became full"), full.open("wb", buffering=0) as file, writing(full):
        file.write(b"x")


def test_cancelled_upload_leaves_nothing(server: S3Server, bucket: str, tmp_path: Path) -> None:
    file, manifest = make_dump(tmp_path, 40_000_000)
    cancellation = Cancellation()
    progress = WatchedProgress(cancellation.cancel)
    with pytest.raises(Cancelled):
        store(server, cancellation=cancellation, progress=progress).upload_dump(bucket, file, manifest)
    assert not progress.finished
    assert server.keys(bucket) == []
    assert uploads_under_way(server, bucket) == []


def test_cancelled_download_leaves_nothing(server: S3Server, bucket: str, tmp_path: Path) -> None:
    file, manifest = make_dump(tmp_path, 40_000_000)
    store(server).upload_dump(bucket, file, manifest)
    cancellation = Cancellation()
    one = store(server, cancellation=cancellation, progress=WatchedProgress(cancellation.cancel))
    choice = store(server).choose(bucket, PATH, "licensify")
    with pytest.raises(Cancelled):
        one.download_dump(bucket, choice, tmp_path / "got")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_cancel_does_not_wait_for_a_server_that_hangs(server: S3Server, bucket: str, tmp_path: Path) -> None:
    file, manifest = make_dump(tmp_path, 12_000_000)
    cancellation = Cancellation()
    with FaultyProxy(server.port, lambda _: Stall(after=1_000_000)) as proxy:
        one = S3Store(
            connection(server, endpoint_url=proxy.endpoint),
            cancellation=cancellation,
            tuning=attrs.evolve(QUICK, read_timeout=3600),
            progress=WatchedProgress(lambda: cancellation.cancel() if proxy.stalled.is_set() else None, at=0),
        )
        with pytest.raises(Cancelled):
            one.upload_dump(bucket, file, manifest)
        assert proxy.stalled.is_set()
    assert server.keys(bucket) == []


def test_upload_that_fails_leaves_nothing(server: S3Server, bucket: str, tmp_path: Path) -> None:
    file, manifest = make_dump(tmp_path, 40_000_000)
    progress = WatchedProgress(lambda: os.truncate(file, 1000))
    with pytest.raises(TransferFailed, match="became shorter"):
        store(server, progress=progress, tuning=attrs.evolve(QUICK, workers=1)).upload_dump(
            bucket, file, manifest
        )
    assert server.keys(bucket) == []
    assert uploads_under_way(server, bucket) == []


def spoil(number: int) -> Fault:
    """Of four new connections one is refused, one cut early, one cut in the middle of a part."""
    return (Busy(), Pass(), Cut(after=20_000), Cut(after=3_000_000))[number % 4]


def test_transfer_survives_busy_server_and_cut_connections(
    server: S3Server, bucket: str, tmp_path: Path
) -> None:
    file, manifest = make_dump(tmp_path, 60_000_000)
    tuning = attrs.evolve(QUICK, attempts=30, longest_pause=0.1)
    up, down = WatchedProgress(), WatchedProgress()
    with FaultyProxy(server.port, spoil) as proxy:
        bad = connection(server, endpoint_url=proxy.endpoint)
        assert S3Store(bad, tuning=tuning, progress=up).upload_dump(bucket, file, manifest)
        choice = S3Store(bad, tuning=tuning).choose(bucket, PATH, "licensify")
        S3Store(bad, tuning=tuning, progress=down).download_dump(bucket, choice, tmp_path / "got")
        assert min(proxy.counts[name] for name in ("Busy", "Cut", "Pass")) > 0
    assert (tmp_path / "got").read_bytes() == file.read_bytes()
    assert up.told[-1] == down.told[-1] == manifest.size
    assert max(up.told + down.told) <= manifest.size


@pytest.mark.parametrize("size", [1_000_000, 12_000_000])
def test_bytes_that_change_on_their_way_are_sent_again(
    s3: VersityGW, tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    s3.create_buckets(["garbled"])
    s3.empty("garbled")
    file, manifest = make_dump(tmp_path, size)
    with FaultyProxy(s3.port, lambda number: Garble(after=500_000) if number == 0 else Pass()) as proxy:
        one = S3Store(connection(s3, endpoint_url=proxy.endpoint), tuning=attrs.evolve(QUICK, workers=1))
        assert one.upload_dump("garbled", file, manifest)
    assert "XAmzContentSHA256Mismatch; trying again" in caplog.text
    choice = store(s3).choose("garbled", PATH, "licensify")
    assert store(s3).download_dump("garbled", choice, tmp_path / "got") == manifest.sha256


def test_bodies_are_signed_over_https_too(moto: MotoS3) -> None:
    extra = {"endpoint_url": "https://127.0.0.1:1", "config_kwargs": {"s3": {"addressing_style": "path"}}}
    client = S3Store(connection(moto, **extra), tuning=QUICK)._requests.client
    signed: list[str] = []
    client.meta.events.register(
        "before-send.s3", lambda request, **_: signed.append(request.headers["X-Amz-Content-SHA256"].decode())
    )
    with pytest.raises(EndpointConnectionError):
        client.put_object(Bucket="any", Key="key", Body=b"x")
    assert signed == [hashlib.sha256(b"x").hexdigest()]


def test_server_that_stays_busy_is_an_error_in_the_end(s3: VersityGW) -> None:
    with FaultyProxy(s3.port, lambda _: Busy()) as proxy:
        one = S3Store(connection(s3, endpoint_url=proxy.endpoint), tuning=attrs.evolve(QUICK, attempts=3))
        with pytest.raises(TransferFailed, match="also after trying again: SlowDown"):
            one.list_dumps("any", PATH, "licensify")
        assert proxy.counts == {"Busy": 3}


@pytest.mark.parametrize("size", [0, 5, 64, 1000])
def test_the_first_bytes_of_a_dump_are_read_alone(
    server: S3Server, bucket: str, tmp_path: Path, size: int
) -> None:
    file, manifest = make_dump(tmp_path, size)
    store(server).upload_dump(bucket, file, manifest)
    choice = store(server).choose(bucket, PATH, "licensify")
    assert store(server).read_head(bucket, choice, 64) == file.read_bytes()[:64]


def test_first_bytes_of_a_dump_that_was_replaced_or_is_gone(
    server: S3Server, bucket: str, tmp_path: Path
) -> None:
    file, manifest = make_dump(tmp_path)
    store(server).upload_dump(bucket, file, manifest)
    choice = store(server).choose(bucket, PATH, "licensify")
    server.client().put_object(Bucket=bucket, Key=choice.key, Body=b"other")
    with pytest.raises(TransferFailed, match="was replaced"):
        store(server).read_head(bucket, choice, 64)
    server.client().delete_object(Bucket=bucket, Key=choice.key)
    with pytest.raises(TransferFailed, match="is not there"):
        store(server).read_head(bucket, choice, 64)


def test_a_look_at_a_bucket(server: S3Server, bucket: str) -> None:
    store(server).look_at_bucket(bucket)
    with pytest.raises((NoSuchBucket, AccessRefused)):
        store(server).look_at_bucket(f"{bucket}-not")


def test_several_threads_may_look_at_the_same_time(server: S3Server, bucket: str, tmp_path: Path) -> None:
    file, manifest = make_dump(tmp_path)
    store(server).upload_dump(bucket, file, manifest)
    shared = store(server)

    def look(_: int) -> bytes:
        return shared.read_head(bucket, shared.choose(bucket, PATH, "licensify"), 64)

    with ThreadPoolExecutor(max_workers=8) as pool:
        assert set(pool.map(look, range(40))) == {file.read_bytes()[:64]}


def test_no_such_bucket(server: S3Server, tmp_path: Path) -> None:
    for ask in (
        lambda: store(server).choose("not-there", PATH, "licensify"),
        lambda: store(server).upload_dump("not-there", *make_dump(tmp_path, 10)),
        lambda: store(server).upload_dump("not-there", *make_dump(tmp_path, 6 * MEBIBYTE)),
    ):
        with pytest.raises(NoSuchBucket) as error:
            ask()
        for part in ("not-there", server.endpoint, "env_sync_staging_s3"):
            assert part in str(error.value)
    with pytest.raises(NoSuchBucket):
        store(server).choose("No Such!", PATH, "licensify")


def test_access_across_accounts_is_refused(s3: VersityGW, tmp_path: Path) -> None:
    owner, stranger = s3.create_account("store-owner"), s3.create_account("store-stranger")
    s3.create_buckets(["store-private"], owner)
    file, manifest = make_dump(tmp_path, 6 * MEBIBYTE)
    S3Store(connection(s3, owner), tuning=QUICK).upload_dump("store-private", file, manifest)
    choice = S3Store(connection(s3, owner), tuning=QUICK).choose("store-private", PATH, "licensify")
    refused = S3Store(connection(s3, stranger), tuning=QUICK)
    asks: list[tuple[str, Callable[[], object]]] = [
        ("s3:ListBucket", lambda: refused.choose("store-private", PATH, "licensify")),
        ("s3:GetObject", lambda: refused.download_dump("store-private", choice, tmp_path / "got")),
        ("s3:PutObject", lambda: refused.upload_dump("store-private", file, manifest)),
    ]
    for grant, ask in asks:
        with pytest.raises(AccessRefused) as error:
            ask()
        said = str(error.value)
        for part in (grant, "store-private", "env_sync_staging_s3", "ending in nger", "AccessDenied"):
            assert part in said
        assert stranger.secret_key not in said
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_wrong_secret_is_refused_without_being_shown(s3: VersityGW) -> None:
    wrong = attrs.evolve(s3.root, secret_key="mistyped-secret")
    with pytest.raises(AccessRefused, match="SignatureDoesNotMatch") as error:
        S3Store(connection(s3, wrong), tuning=QUICK).list_dumps("any", PATH, "licensify")
    assert "mistyped-secret" not in str(error.value)


def test_nobody_answers(s3: VersityGW) -> None:
    with FaultyProxy(s3.port, lambda _: Pass()) as proxy:
        gone = proxy.endpoint
    one = S3Store(connection(s3, endpoint_url=gone), tuning=attrs.evolve(QUICK, attempts=2))
    with pytest.raises(ServerUnreachable, match=f"{gone}.*env_sync_staging_s3"):
        one.list_dumps("any", PATH, "licensify")


def test_web_server_is_no_empty_bucket(tmp_path: Path) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "13")
            self.end_headers()
            self.wfile.write(b"<html></html>")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        extra = json.dumps({"endpoint_url": f"http://127.0.0.1:{web.server_port}"})
        wrong = Connection(conn_id="c", conn_type="aws", login="a", password="b", extra=extra)
        with pytest.raises(ServerUnreachable, match="not an S3 server"):
            S3Store(wrong, tuning=QUICK).choose("any", PATH, "licensify")
        web.shutdown()


@pytest.mark.parametrize(
    ("operation", "lacking"),
    [
        ("head_object", "Content-Length"),
        ("head_object", "ETag"),
        ("head_object", "Last-Modified"),
        ("get_object", "Content-Length"),
        ("get_object", "ETag"),
    ],
)
def test_an_answer_whose_headers_were_cut_is_asked_for_again(operation: str, lacking: str) -> None:
    """The client takes the headers that came for all of them."""
    cut = 0

    class Object(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            nonlocal cut
            lines = [
                "HTTP/1.1 200 OK",
                "Content-Length: 4",
                'ETag: "e"',
                "Last-Modified: Mon, 23 Nov 2026 01:02:03 GMT",
            ]
            if cut < 2:
                cut += 1
                kept = [line for line in lines if not line.startswith(lacking)]
                self.wfile.write("\r\n".join(kept).encode() + b"\r\n")
            else:
                self.wfile.write("\r\n".join([*lines, "", "" if self.command == "HEAD" else "body"]).encode())
            self.close_connection = True

        def do_GET(self) -> None:
            self.do_HEAD()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Object) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        extra = json.dumps({"endpoint_url": f"http://127.0.0.1:{web.server_port}"})
        one = Connection(conn_id="c", conn_type="aws", login="a", password="b", extra=extra)
        requests = S3Store(one, tuning=QUICK)._requests
        with WorkerPool(1, Cancellation()) as pool:
            answer = pool.do(lambda: requests.make(pool, operation, bucket="any", key="any"))
        web.shutdown()
    assert answer["ContentLength"] == 4
    assert cut == 2


def test_connection_that_airflow_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_ENV_SYNC_NOWHERE_S3", raising=False)
    with pytest.raises(ConnectionMissing, match="env_sync_nowhere_s3"):
        S3Store("env_sync_nowhere_s3")


def test_connection_by_its_id(moto: MotoS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENV_SYNC_SOMEWHERE_S3", json.dumps(moto.airflow_connection()))
    moto.create_buckets(["by-id"])
    assert S3Store("env_sync_somewhere_s3", tuning=QUICK).list_dumps("by-id", PATH, "licensify") == ()


def test_short_answer_is_not_taken_for_a_whole_manifest(s3: VersityGW, tmp_path: Path) -> None:
    s3.create_buckets(["short-answers"])
    file, manifest = make_dump(tmp_path)
    manifest = attrs.evolve(manifest, run="r" * 100_000)
    store(s3).upload_dump("short-answers", file, manifest)
    with FaultyProxy(s3.port, lambda number: Cut(after=50_000) if number < 2 else Pass()) as proxy:
        one = S3Store(connection(s3, endpoint_url=proxy.endpoint), tuning=QUICK)
        assert one.read_manifest("short-answers", manifest.key) == manifest
        assert proxy.counts == {"Cut": 2, "Pass": 1}
