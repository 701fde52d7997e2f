"""Quick requests to a server in this process that answers as it is told."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest
from aiohttp import web
from attrs import define, evolve, field
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import Credentials

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import AccessRefused, EnvSyncError, ServerUnreachable, TransferFailed
from env_sync.store.event_loop import run_in_loop
from env_sync.store.mirroring.async_requests import QuickRequests, Way, learn, quick_requests
from env_sync.store.mirroring.object_requests import Copy, Head, Page
from env_sync.store.retrying import Requests, Tuning
from env_sync.store.s3_errors import Access, Request
from env_sync.store.worker_pool import WorkerPool
from sandbox.certificate import make_certificate

T = TypeVar("T")
TUNING = Tuning(first_pause=0.001, longest_pause=0.002, attempts=3, connect_timeout=5, read_timeout=1)
EMPTY_LIST = (
    '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
    "<IsTruncated>false</IsTruncated></ListBucketResult>"
)
COPIED = "<CopyObjectResult><ETag>&quot;1&quot;</ETag></CopyObjectResult>"
CUT = "<CopyObjectResult><ETa"
LATE = "<Error><Code>InternalError</Code><Message>We are sorry.</Message></Error>"
COPY = Copy(
    source="theirs",
    destination="ours",
    key="a key+ü",
    etag='"1"',
    settings={"ACL": "private", "ServerSideEncryption": "aws:kms", "StorageClass": "STANDARD_IA"},
)


def refusal(code: str, status: int) -> web.Response:
    return web.Response(status=status, text=f"<Error><Code>{code}</Code><Message>No.</Message></Error>")


def text(content: str) -> web.Response:
    return web.Response(text=content)


@define
class Server:
    """Answers listings with nothing, and all else with `answers` by turns, the last one again and again."""

    answers: list[Callable[[web.Request], web.StreamResponse | Awaitable[web.StreamResponse]]]
    seen: list[web.Request] = field(factory=list)
    port: int = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and "max-keys" in request.query:
            return text(EMPTY_LIST)
        self.seen.append(request)  # type: ignore[arg-type]
        made = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        given = made(request)  # type: ignore[arg-type]
        return given if isinstance(given, web.StreamResponse) else await given


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts a server with these answers."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runners: list[web.ServerRunner] = []

    async def start(server: Server, tls: ssl.SSLContext | None) -> None:
        runners.append(
            web.ServerRunner(web.Server(server.answer, handler_cancellation=True), shutdown_timeout=0)
        )
        await runners[-1].setup()
        site = web.TCPSite(runners[-1], "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        server.port = runners[-1].addresses[0][1]

    def serve_it(*answers: Any, tls: ssl.SSLContext | None = None) -> Server:
        server = Server(list(answers))
        asyncio.run_coroutine_threadsafe(start(server, tls), loop).result(10)
        return server

    yield serve_it
    for runner in runners:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@cache
def aws_session() -> boto3.session.Session:
    """One, for it takes a while to read what it knows of S3."""
    return boto3.session.Session()


def requests_to(
    port: int,
    *,
    host: str = "127.0.0.1",
    scheme: str = "http",
    verify: bool | str | None = None,
    token: str | None = None,
    **config: Any,
) -> Requests:
    endpoint = f"{scheme}://{host}:{port}"
    client = aws_session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="eu-west-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="a secret",
        aws_session_token=token,
        verify=verify,
        config=Config(retries={"total_max_attempts": 1}, **{"s3": {"addressing_style": "path"}, **config}),
    )
    access = Access(connection_id="connection", identity="somebody", endpoint=endpoint)
    return Requests(client=client, access=access, tuning=TUNING, log=logging.getLogger("env_sync.test"))


def ways_of(requests: Requests, *buckets: str) -> dict[str, Way | None]:
    with WorkerPool(1, Cancellation()) as pool:
        return {bucket: pool.do(partial(learn, requests, pool, bucket)) for bucket in buckets}


def ask(
    requests: Requests, work: Callable[[QuickRequests], Awaitable[T]], *, operation: str = "copy_object"
) -> T:
    """What the work gives, tried again as a mirror does."""
    ways = {bucket: way for bucket, way in ways_of(requests, "theirs", "ours").items() if way}
    assert len(ways) == 2
    request = Request(operation=operation, bucket="ours", key="key")

    async def main() -> T:
        async with quick_requests(requests, ways) as quick:
            return await requests.attempt_in_loop(request, lambda: work(quick))

    return run_in_loop(Cancellation(), main)


def test_a_copy_as_it_is_sent(serve: Callable[..., Server]) -> None:
    server = serve(lambda _: text(COPIED))
    ask(requests_to(server.port, token="a token"), lambda quick: quick.copy(COPY))
    (sent,) = server.seen
    assert (sent.method, sent.raw_path) == ("PUT", "/ours/a%20key%2B%C3%BC")
    wanted = {
        "x-amz-copy-source": "theirs/a%20key%2B%C3%BC",
        "x-amz-copy-source-if-match": '"1"',
        "x-amz-metadata-directive": "COPY",
        "x-amz-tagging-directive": "COPY",
        "x-amz-acl": "private",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-security-token": "a token",
        "content-length": "0",
        "host": f"127.0.0.1:{server.port}",
    }
    assert {name: sent.headers.get(name) for name in wanted} == wanted
    assert sent.headers["user-agent"].startswith("Boto3/")
    assert {"content-type", "accept"} & {name.lower() for name in sent.headers} == set()


def test_what_a_head_tells(serve: Callable[..., Server]) -> None:
    headers = {
        "ETag": '"1-3"',
        "Last-Modified": "Mon, 23 Nov 2026 01:02:03 GMT",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-storage-class": "GLACIER_IR",
    }
    server = serve(lambda _: web.Response(headers=headers, body=b"12345"))
    head = ask(requests_to(server.port), lambda quick: quick.head("theirs", "a/../b"))
    assert head == Head(
        size=5,
        etag='"1-3"',
        last_modified="Mon, 23 Nov 2026 01:02:03 GMT",
        encryption="aws:kms",
        storage_class="GLACIER_IR",
    )
    assert head.modified.isoformat() == "2026-11-23T01:02:03+00:00"
    assert server.seen[0].raw_path == "/theirs/a/../b"


@pytest.mark.parametrize("space", ["", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'])
def test_a_page(serve: Callable[..., Server], space: str) -> None:
    page = (
        f"<ListBucketResult{space}><Name>theirs</Name><EncodingType>url</EncodingType>"
        "<IsTruncated>true</IsTruncated><NextContinuationToken>a/b+c=</NextContinuationToken>"
        "<Contents><Key>a%2Bb+c%0A%C3%BC</Key><LastModified>2026-11-23T01:02:03.123Z</LastModified>"
        "<ETag>&quot;0123&quot;</ETag><Size>7</Size></Contents></ListBucketResult>"
    )
    server = serve(lambda _: text(page))
    found = ask(requests_to(server.port), lambda quick: quick.page("theirs", "x/y+z="))
    (item,) = found.items
    assert (found.token, item.key, item.size, item.etag) == ("a/b+c=", "a+b c\nü", 7, "0123")
    assert item.modified.isoformat() == "2026-11-23T01:02:03.123000+00:00"
    assert server.seen[0].query["continuation-token"] == "x/y+z="
    # As ListObjects answers: what follows would be lost.
    cut = page.replace("<NextContinuationToken>a/b+c=</NextContinuationToken>", "")
    with pytest.raises(ServerUnreachable, match="is not an S3 server"):
        ask(requests_to(serve(lambda _: text(cut)).port), lambda quick: quick.page("theirs", None))
    other = serve(lambda _: text("<html><body>Welcome</body></html>"))
    assert ask(requests_to(other.port), lambda quick: quick.page("theirs", None)) == Page(
        (), None, is_s3=False
    )


async def reset(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def silent(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


@pytest.mark.parametrize(
    "fault",
    [
        lambda _: refusal("SlowDown", 503),
        lambda _: refusal("InternalError", 500),
        lambda _: web.Response(status=502, text="<html>Bad gateway</html"),
        # S3 begins to answer before it has copied.
        lambda _: text(LATE),
        lambda _: text(CUT),
        lambda _: text(""),
        reset,
        silent,
    ],
)
def test_faults_that_pass(serve: Callable[..., Server], fault: Callable[..., Any]) -> None:
    server = serve(fault, lambda _: text(COPIED))
    ask(requests_to(server.port), lambda quick: quick.copy(COPY))
    assert len(server.seen) >= 2


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (lambda _: refusal("AccessDenied", 403), AccessRefused, "s3:PutObject.* on it in the destination"),
        (lambda _: refusal("ExpiredToken", 400), AccessRefused, "refused to .*: ExpiredToken"),
        (lambda _: refusal("RequestTimeTooSkewed", 403), AccessRefused, "this machine's clock is wrong"),
        (lambda _: refusal("SlowDown", 503), TransferFailed, "also after trying again: SlowDown: No."),
        (lambda _: refusal("InvalidRequest", 400), TransferFailed, "failed: InvalidRequest: No."),
        (lambda _: text(LATE), TransferFailed, "also after trying again: InternalError: We are sorry."),
        (reset, TransferFailed, "also after trying again"),
        (lambda _: text("<html/>"), ServerUnreachable, "is not an S3 server"),
    ],
)
def test_faults_that_do_not_pass(
    serve: Callable[..., Server], answer: Callable[..., Any], kind: type[EnvSyncError], says: str
) -> None:
    server = serve(answer)
    with pytest.raises(kind, match=says):
        ask(requests_to(server.port), lambda quick: quick.copy(COPY))


def test_a_head_that_lacks_what_s3_tells(serve: Callable[..., Server]) -> None:
    server = serve(lambda _: text("something"))
    with pytest.raises(ServerUnreachable, match="is not an S3 server"):
        ask(requests_to(server.port), lambda quick: quick.head("theirs", "key"))


def test_a_server_that_is_gone(serve: Callable[..., Server]) -> None:
    server = serve(lambda _: text(COPIED))
    requests = requests_to(server.port)
    way = ways_of(requests, "ours")["ours"]
    assert way is not None
    with pytest.raises(ServerUnreachable, match="No S3 server answers"):
        copy_by(requests, evolve(way, origin="http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("config", "origin", "path"),
    [
        ({"s3": {"addressing_style": "path"}}, "http://s3.example", "/ours"),
        ({"s3": {"addressing_style": "virtual"}}, "http://ours.s3.example", ""),
    ],
)
def test_ways_of_addressing(
    serve: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, Any],
    origin: str,
    path: str,
) -> None:
    server = serve(lambda _: text(COPIED))
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *asked, **more: look_up("127.0.0.1", *asked, **more))
    way = ways_of(requests_to(server.port, host="s3.example", **config), "ours")["ours"]
    assert way is not None
    assert (way.origin, way.path, way.region) == (f"{origin}:{server.port}", path, "eu-west-1")


@pytest.mark.parametrize(
    "config", [{"signature_version": "s3"}, {"signature_version": UNSIGNED}, {"proxies": True}]
)
def test_where_boto3_is_needed(serve: Callable[..., Server], config: dict[str, Any]) -> None:
    server = serve(lambda _: text(COPIED))
    if "proxies" in config:
        config = {"proxies": {"http": f"http://127.0.0.1:{server.port}"}}
    assert ways_of(requests_to(server.port, **config), "ours") == {"ours": None}


def test_credentials_are_asked_for_each_time(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda _: text(COPIED))
    requests = requests_to(server.port)
    ways = {bucket: way for bucket, way in ways_of(requests, "theirs", "ours").items() if way}

    async def main() -> None:
        async with quick_requests(requests, ways) as quick:
            await quick.copy(COPY)
            # As botocore does it where a role is assumed anew.
            monkeypatch.setattr(
                ways["ours"].signer, "_credentials", Credentials("RENEWED", "a secret", "anew")
            )
            await quick.copy(COPY)

    run_in_loop(Cancellation(), main)
    first, second = server.seen
    assert "Credential=AKIDEXAMPLE/" in first.headers["authorization"]
    assert "Credential=RENEWED/" in second.headers["authorization"]
    assert second.headers["x-amz-security-token"] == "anew"


def test_certificates_are_checked_as_botocore_does(serve: Callable[..., Server], tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make_certificate(certificate, key)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    server = serve(lambda _: text(COPIED), tls=tls)
    for verify in (False, str(certificate)):
        ask(requests_to(server.port, scheme="https", verify=verify), lambda quick: quick.copy(COPY))
    way = ways_of(requests_to(server.port, scheme="https", verify=False), "ours")["ours"]
    assert way is not None
    with pytest.raises(ServerUnreachable, match="SSLError"):
        copy_by(requests_to(server.port, scheme="https"), way)


def copy_by(requests: Requests, way: Way) -> None:
    """Make the copy by a way that was learned elsewhere."""

    async def main() -> None:
        async with quick_requests(requests, {"ours": way}) as quick:
            request = Request(operation="copy_object", bucket="ours", key="key")
            await requests.attempt_in_loop(request, lambda: quick.copy(COPY))

    run_in_loop(Cancellation(), main)
