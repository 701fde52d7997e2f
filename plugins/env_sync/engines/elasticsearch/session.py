"""A cluster: how a step talks to it, what it is, and how a cancel ends that."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attrs import evolve
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch, UnsupportedProductError

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import AccessRefused, EnvSyncError, RequestRefused
from env_sync.core.secret import Secret
from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.elasticsearch.errors import translated
from env_sync.engines.elasticsearch.quiet_node import QuietNode
from env_sync.engines.elasticsearch.version import Version, judge_server

PORT = 9200
TIMEOUT = 60.0
"""Seconds for an answer; what takes longer is begun, and asked about later."""
SCHEMES = ("https", "http")
JSON = {"accept": "application/json", "content-type": "application/json"}

Body = Mapping[str, Any]


class Cluster:
    """One Elasticsearch cluster, reached with one connection. Every request may raise EnvSyncError.

    The connection's extra: `scheme` (https), `ca_certs` (a file of this machine), `timeout` (seconds, 60),
    `accepted_readers` and `open_to_anybody` (who may read what is not sanitised yet).
    """

    def __init__(
        self,
        connection: ServerConnection,
        cancellation: Cancellation,
        log: logging.Logger,
        *,
        timeout: float | None = None,
    ) -> None:
        self.connection = connection
        self.cancellation = cancellation
        self.log = log
        self.may_write: Callable[[], None] = lambda: None
        """Asked before each request; raises where this process may no longer touch the copies."""
        self._timeout = timeout
        self._uninterrupted = 0
        self._client: Elasticsearch | None = None
        self._version: Version | None = None

    def __str__(self) -> str:
        return f"{self.connection.host}:{self.port}"

    @property
    def port(self) -> int:
        """Its port."""
        return self.connection.port or PORT

    @property
    def scheme(self) -> str:
        """https, or http where the extra says so. Raises AccessRefused for anything else."""
        scheme = str(self.connection.extra.get("scheme") or SCHEMES[0])
        if scheme not in SCHEMES:
            raise AccessRefused(
                f"Connection {self.connection.connection_id} has a `scheme` that does not exist: write one "
                f"of {', '.join(SCHEMES)} into its extra."
            )
        return scheme

    @property
    def url(self) -> str:
        """Where it answers, without any login."""
        return f"{self.scheme}://{self.connection.host}:{self.port}"

    @property
    def version(self) -> Version:
        """Its version. Raises ServerRefused where it is no server that can be used."""
        if self._version is None:
            self._version = judge_server(self._root(), f"{self} (connection {self.connection.connection_id})")
        return self._version

    @property
    def client(self) -> Elasticsearch:
        """The library's client, for what has a helper there; asks first what the server is."""
        _ = self.version
        return self._connected()

    def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @contextlib.contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """For the length of a block a cancel is not heard: what was begun is brought to its end."""
        self._uninterrupted += 1
        try:
            yield
        finally:
            self._uninterrupted -= 1

    @contextlib.contextmanager
    def without_login(self) -> Iterator[Cluster]:
        """The same cluster for whoever comes without a login, for the length of a block."""
        connection = evolve(self.connection, login="", password=Secret(""))
        stranger = Cluster(connection, self.cancellation, self.log, timeout=self._timeout)
        # Who may do something there may still not ask what it is.
        stranger._version = self.version
        stranger.may_write = self.may_write
        try:
            yield stranger
        finally:
            stranger.close()

    def statement(self) -> None:
        """Comes before each request. Raises Cancelled, and what `may_write` raises."""
        if not self._uninterrupted:
            self.cancellation.check()
        self.may_write()

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout: float | None = None,
        **params: str | bool | int,
    ) -> Any:
        """One request, and its answer as values. Raises RequestRefused and the errors that have a class."""
        self.statement()
        client = self.client
        if timeout is not None:
            client = client.options(request_timeout=timeout)
        with self.errors(f"{method} {path} on {self}"):
            return client.perform_request(
                method,
                path,
                params={
                    name: str(value).lower() if isinstance(value, bool) else value
                    for name, value in params.items()
                },
                headers=JSON if body is not None else {"accept": JSON["accept"]},
                body=body,
            ).body

    def find(self, path: str, **params: str | bool | int) -> Any:
        """The same for a GET of something that need not be there; None then."""
        try:
            return self.ask("GET", path, None, timeout=None, **params)
        except RequestRefused as refused:
            if refused.status == 404:
                return None
            raise

    def find_and_delete(self, path: str) -> None:
        """Delete something, if it is there."""
        try:
            self.ask("DELETE", path)
        except RequestRefused as refused:
            if refused.status != 404:
                raise

    @contextlib.contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """The errors of the library as ours; `what` begins each of them."""
        try:
            yield
        except (ApiError, TransportError) as error:
            raise translated(error, what, self.connection.connection_id) from None

    def now(self) -> dt.datetime:
        """The clock of the master that was elected, in UTC: one for all who ask."""
        nodes = self.ask("GET", "/_nodes/_master/stats/os", filter_path="nodes.*.timestamp")["nodes"]
        milliseconds = next(iter(nodes.values()))["timestamp"]
        return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)

    def data_nodes(self) -> int:
        """How many nodes hold data."""
        return int(
            self.ask("GET", "/_cluster/health", filter_path="number_of_data_nodes")["number_of_data_nodes"]
        )

    def _root(self) -> Any:
        """What it says of itself, whatever it is: the library only says that it is something else."""
        self.statement()
        with self.errors(f"GET / on {self}"):
            try:
                return self._connected().perform_request("GET", "/", headers={"accept": JSON["accept"]}).body
            except UnsupportedProductError as other:
                return {**other.body, "tagline": None} if isinstance(other.body, dict) else other.body

    def _connected(self) -> Elasticsearch:
        if self._client is None:
            bundle = str(self.connection.extra.get("ca_certs") or "")
            if bundle and not Path(bundle).is_file():
                raise AccessRefused(
                    f"The CA bundle {bundle} of connection {self.connection.connection_id} is not on this "
                    "worker: put it there, or correct `ca_certs` in the connection's extra."
                )
            login = self.connection.login
            options: dict[str, Any] = {"ca_certs": bundle} if bundle else {}
            if login:
                options["basic_auth"] = (login, self.connection.password.reveal())
            # A line for each request would stand between those that are for people.
            logging.getLogger("elastic_transport").setLevel(logging.WARNING)
            try:
                timeout = float(self._timeout or self.connection.extra.get("timeout") or TIMEOUT)
                self._client = Elasticsearch(
                    self.url, node_class=QuietNode, request_timeout=timeout, max_retries=0, **options
                )
            except ValueError:
                raise EnvSyncError(
                    f"Connection {self.connection.connection_id} cannot be used: look at its host, its port, "
                    "and at `timeout` in its extra."
                ) from None
        return self._client


def quoted(name: str) -> str:
    """A name as a part of a path; commas and stars keep their meaning."""
    return quote(name, safe="*,.-_")
