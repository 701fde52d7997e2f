"""The requests that a mirror makes for every page and every object, with much less work than boto3.

boto3 takes some 4 ms of a core for each, most of it to turn parameters and answers into one another, and its
threads share one core. These go over aiohttp, in one thread, and know only what a mirror asks. Where a bucket
is and how it is reached is botocore's to say: `learn` looks at a request that botocore makes.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree import ElementTree

import aiohttp
from attrs import frozen
from botocore.awsrequest import AWSRequest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import get_cert_path
from botocore.parsers import ResponseParserError
from urllib3.util.ssl_ import create_urllib3_context
from yarl import URL

from env_sync.store.mirroring.object_requests import Copy, Head, Item, Page, following
from env_sync.store.retrying import Requests
from env_sync.store.worker_pool import WorkerPool

HEADERS = {
    "ACL": "x-amz-acl",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "StorageClass": "x-amz-storage-class",
}
"""What boto3 calls these headers."""
AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type")
"""Headers that aiohttp would add."""
_SIGNED_FOR = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/(?P<region>[^/]+)/s3/aws4_request,")


@frozen(kw_only=True)
class Way:
    """How a bucket is reached: `origin` such as https://host:port, and what stands before a key in paths."""

    origin: str
    path: str
    region: str
    user_agent: str
    signer: Any
    """botocore's, which knows the credentials and renews those that lapse."""


def learn(requests: Requests, pool: WorkerPool, bucket: str) -> Way | None:
    """Have botocore look at the bucket, and see where to, and how it signs; in one of the pool's threads.

    None where it is signed in another way or goes through a proxy. Raises what `Requests.look` raises.
    """
    sent: list[Any] = []
    signers: list[Any] = []

    # botocore gives them by these names.
    def note_signer(request_signer: Any, **_: Any) -> None:
        signers.append(request_signer)

    def note_request(request: Any, **_: Any) -> None:
        sent.append(request)

    events = requests.client.meta.events
    noted: dict[str, Callable[..., None]] = {
        "before-sign.s3.ListObjectsV2": note_signer,
        "before-send.s3.ListObjectsV2": note_request,
    }
    for event, note in noted.items():
        events.register(event, note)
    try:
        requests.look(pool, bucket)
    finally:
        for event, note in noted.items():
            events.unregister(event, note)
    # The last one: botocore may have been sent to another region.
    url = urlsplit(sent[-1].url)
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value
        for name, value in sent[-1].headers.items()
    }
    found = _SIGNED_FOR.match(headers.get("authorization", ""))
    if found is None or _session_of(requests)._proxy_config.proxy_url_for(sent[-1].url):
        return None
    return Way(
        origin=f"{url.scheme}://{url.netloc}",
        path=url.path.rstrip("/"),
        region=found["region"],
        user_agent=headers.get("user-agent", ""),
        signer=signers[-1],
    )


@frozen(kw_only=True)
class Answer:
    """A whole answer."""

    headers: Mapping[str, str]
    body: bytes


@frozen
class QuickRequests:
    """See ObjectRequests; for the buckets whose ways are given."""

    session: aiohttp.ClientSession
    ways: Mapping[str, Way]

    async def page(self, bucket: str, token: str | None) -> Page:
        """See ObjectRequests."""
        asked = f"continuation-token={quote(token, safe='-_.~')}&" if token else ""
        query = f"{asked}encoding-type=url&list-type=2"
        answer = await self._send("ListObjectsV2", "GET", bucket, "", query=query)
        return _page(_parsed("ListObjectsV2", answer.body))

    async def head(self, bucket: str, key: str) -> Head:
        """See ObjectRequests."""
        headers = (await self._send("HeadObject", "HEAD", bucket, key)).headers
        try:
            return Head(
                size=int(headers["Content-Length"]),
                etag=headers["ETag"],
                last_modified=headers["Last-Modified"],
                encryption=headers.get("x-amz-server-side-encryption", ""),
                storage_class=headers.get("x-amz-storage-class", ""),
            )
        except (KeyError, ValueError) as fault:
            raise ResponseParserError("the answer lacks what S3 tells of an object") from fault

    async def copy(self, copy: Copy) -> None:
        """See ObjectRequests."""
        headers = {
            "x-amz-copy-source": quote(f"{copy.source}/{copy.key}", safe="/~"),
            "x-amz-copy-source-if-match": copy.etag,
            "x-amz-metadata-directive": "COPY",
            "x-amz-tagging-directive": "COPY",
            **{HEADERS[name]: value for name, value in copy.settings.items()},
        }
        answer = await self._send("CopyObject", "PUT", copy.destination, copy.key, headers=headers)
        if _name(_parsed("CopyObject", answer.body)) != "CopyObjectResult":
            raise ResponseParserError("the answer to a copy is none of S3's")

    async def delete(self, bucket: str, key: str) -> None:
        """See ObjectRequests."""
        await self._send("DeleteObject", "DELETE", bucket, key)

    async def _send(
        self,
        operation: str,
        method: str,
        bucket: str,
        key: str,
        *,
        query: str = "",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """One request and its answer. Raises ClientError for a refusal, as botocore does."""
        way = self.ways[bucket]
        url = f"{way.origin}{way.path}/{quote(key, safe='/~')}{'?' if query else ''}{query}"
        signed = AWSRequest(method=method, url=url, headers={**headers, "user-agent": way.user_agent})
        way.signer.get_auth_instance("s3", way.region, "s3v4").add_auth(signed)
        with _faults_of_botocore(way.origin):
            # Encoded: "a/../b" is a key, and stays what was signed.
            async with self.session.request(
                method, URL(url, encoded=True), headers=dict(signed.headers), allow_redirects=False
            ) as answer:
                body = await answer.read()
        if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise _refusal(operation, answer.status, str(answer.reason), body)
        return Answer(headers=answer.headers, body=body)


@contextlib.asynccontextmanager
async def quick_requests(requests: Requests, ways: Mapping[str, Way]) -> AsyncIterator[QuickRequests]:
    """The requests, in the event loop that runs; their connections are closed at the end."""
    tuning = requests.tuning
    # How many are made at the same time is for the caller to say.
    connector = aiohttp.TCPConnector(limit=0, ssl=_tls_of(requests), socket_factory=_socket)
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=tuning.connect_timeout, sock_read=tuning.read_timeout
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=AUTOMATIC,
    ) as session:
        yield QuickRequests(session, ways)


def _session_of(requests: Requests) -> Any:
    """The HTTP session of botocore: it alone knows what came of connection, environment and AWS's own files.

    Of botocore's own attributes only this one and what is read of it here is private.
    """
    return requests.client._endpoint.http_session


def _tls_of(requests: Requests) -> ssl.SSLContext:
    session = _session_of(requests)
    verify = session._verify
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if verify else ssl.CERT_NONE)
    if verify:
        context.load_verify_locations(cafile=get_cert_path(verify))
    if session._cert_file:
        context.load_cert_chain(session._cert_file, session._key_file)
    return context


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    made = socket.socket(*address[:3])
    # A copy of a large object is silent for long.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made


@contextlib.contextmanager
def _faults_of_botocore(origin: str) -> Iterator[None]:
    """Raise what botocore would where aiohttp has a fault, so that `faults` knows it."""
    try:
        yield
    except aiohttp.ClientSSLError as fault:
        raise SSLError(endpoint_url=origin, error=fault) from fault
    except aiohttp.ConnectionTimeoutError as fault:
        raise ConnectTimeoutError(endpoint_url=origin, error=fault) from fault
    except aiohttp.ClientConnectorError as fault:
        raise EndpointConnectionError(endpoint_url=origin, error=fault) from fault
    except aiohttp.SocketTimeoutError as fault:
        raise ReadTimeoutError(endpoint_url=origin, error=fault) from fault
    except aiohttp.ClientError as fault:
        raise HTTPClientError(error=fault) from fault


def _parsed(operation: str, body: bytes) -> ElementTree.Element:
    """The body of an answer that says that all is well.

    Raises ClientError where S3 had begun to answer before it failed: there is an error in it, or it is cut.
    """
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        root = None
    if root is None or _name(root) == "Error":
        raise _refusal(operation, HTTPStatus.INTERNAL_SERVER_ERROR, "the answer was cut", body)
    return root


def _refusal(operation: str, status: int, reason: str, body: bytes) -> ClientError:
    """The error that the server sent; the status stands for its code where it sent none."""
    code, message = str(status), reason
    with contextlib.suppress(ElementTree.ParseError):
        root = ElementTree.fromstring(body)
        if _name(root) == "Error":
            code = root.findtext("Code") or code
            message = root.findtext("Message") or message
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": int(status)},
    }
    return ClientError(answer, operation)


def _page(root: ElementTree.Element) -> Page:
    if _name(root) != "ListBucketResult":
        return Page((), None, is_s3=False)
    space = root.tag.removesuffix("ListBucketResult")
    encoded = root.findtext(f"{space}EncodingType") == "url"

    def item(entry: ElementTree.Element) -> Item:
        key = entry.findtext(f"{space}Key", "")
        return Item(
            key=unquote_plus(key) if encoded else key,
            size=int(entry.findtext(f"{space}Size", "")),
            etag=entry.findtext(f"{space}ETag", "").strip('"'),
            modified=dt.datetime.fromisoformat(entry.findtext(f"{space}LastModified", "")),
        )

    try:
        items = tuple(item(entry) for entry in root.iterfind(f"{space}Contents"))
    except ValueError as fault:
        raise ResponseParserError("the listing has a size or a time that is none") from fault
    more = root.findtext(f"{space}IsTruncated") == "true"
    return Page(items, following(root.findtext(f"{space}NextContinuationToken")) if more else None)


def _name(root: ElementTree.Element) -> str:
    """The name of an element; S3's have a namespace, those of some other servers have none."""
    return root.tag.rpartition("}")[2]
