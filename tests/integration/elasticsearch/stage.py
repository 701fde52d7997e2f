"""A stage for the engine's tests: a source, a target, a repository that both see, and engines."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from attrs import evolve, field, frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.progress import LogProgress
from env_sync.core.secret import Secret
from env_sync.domain.settings import Options
from env_sync.domain.sync import Action
from env_sync.engines.base.contract import (
    Filled,
    Holder,
    Promotion,
    ServerConnection,
    Snapshot,
    Waiting,
    Work,
)
from env_sync.engines.elasticsearch import promotion
from env_sync.engines.elasticsearch.engine import ElasticsearchEngine
from env_sync.pipeline.sanitise import transformation_files, transformations_of
from sandbox.elasticsearch import ElasticsearchServer
from tests.unit.values import a_sync

LOG = logging.getLogger("env_sync.test")
LONGEST = 60.0
HOST = "search-1"
PAIRS = ("7a to 7b", "8a to 8b", "7a to 8a")
"""Clusters of each version with one of each that can take from it."""

T = TypeVar("T")


@frozen(kw_only=True)
class Stage:
    """What a test works with. Pushes are done on the source, pulls and copies on the target."""

    source: ElasticsearchServer
    target: ElasticsearchServer
    folder: Path
    repository: str = field(factory=lambda: f"repository-{uuid.uuid4().hex[:8]}")

    def set_up(self) -> None:
        self.source.register_repository(self.repository)
        self.target.register_repository(self.repository, readonly=True)

    def clear(self) -> None:
        self.source.clear()
        self.target.clear()

    def connection(self, server: ElasticsearchServer, port: int | None = None) -> ServerConnection:
        environment = "staging" if server is self.source else "integration"
        return ServerConnection(
            connection_id=f"env_sync_{environment}_search",
            environment=environment,
            host=server.host,
            port=port or server.port,
            login="",
            password=Secret(""),
            # The clusters of these tests ask nobody for a login.
            extra={"scheme": "http", "timeout": 20, "open_to_anybody": True},
        )

    def engine(
        self,
        action: Action = Action.COPY,
        *,
        name: str = "search",
        transformation: str = "",
        take: bool = True,
        holder: Holder | None = None,
        options: Options | None = None,
        work: dict[str, Any] | None = None,
        **fields: Any,
    ) -> ElasticsearchEngine:
        """An engine of a new attempt, with the lease taken; `transformation` is the text of one."""
        file = None
        if transformation:
            file = self.folder / "sanitise.yaml"
            file.write_text(transformation)
        server = self.source if action is Action.PUSH else self.target
        sync = a_sync(
            name,
            environment="staging" if action is Action.PUSH else "integration",
            database=HOST,
            database_hostname=None,
            action=action,
            dbms="elasticsearch",
            storagebackend="elasticsearch",
            url=self.repository,
            path="",
            transformation=file,
            source_hostname="search-above" if action is Action.COPY else None,
            options=options or Options(jobs=2),
            **fields,
        )
        engine = ElasticsearchEngine(
            evolve(
                Work(
                    sync=sync,
                    holder=holder or Holder(run="run", group="group", attempt=uuid.uuid4().hex),
                    connection=self.connection(server),
                    source=self.connection(self.source) if action is Action.COPY else None,
                    folder=self.folder,
                    cancellation=Cancellation(),
                    progress=LogProgress(LOG),
                    log=LOG,
                ),
                **(work or {}),
            )
        )
        if take:
            engine.take_lease(at_most=99)
        return engine

    def push(self, **fields: Any) -> Snapshot:
        engine = self.engine(Action.PUSH, **fields)
        taken = until_done(engine, engine.snapshot)
        engine.release_lease()
        return taken

    def fill(self, engine: ElasticsearchEngine, timestamp: Any = None) -> Filled:
        if engine.work.sync.action is Action.COPY:
            return until_done(engine, engine.copy)
        return until_done(engine, lambda: engine.restore_snapshot(timestamp))

    def sanitise(self, engine: ElasticsearchEngine) -> None:
        with engine.at_work():
            engine.sanitise(transformation_files(engine.work.sync))

    def promote(self, engine: ElasticsearchEngine) -> Promotion:
        with engine.at_work():
            return engine.promote(transformations_of(engine.work.sync), lambda: None)

    def promote_and_die(self, engine: ElasticsearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        """A promote that is killed right after its swap."""

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(promotion, "_finish", killed)
            with pytest.raises(KeyboardInterrupt):
                self.promote(engine)

    def bring(self, action: Action = Action.COPY, **fields: Any) -> Promotion:
        """A whole pull or copy; the lease is given back."""
        engine = self.engine(action, **fields)
        self.fill(engine)
        self.sanitise(engine)
        promoted = self.promote(engine)
        engine.release_lease()
        return promoted


def until_done(engine: ElasticsearchEngine, step: Callable[[], T | Waiting]) -> T:
    """Ask again, as the operators do, until there is a result."""
    end = time.monotonic() + LONGEST
    while True:
        with engine.at_work():
            done = step()
        if not isinstance(done, Waiting):
            return done
        assert time.monotonic() < end, done.what
        time.sleep(0.05)


def request(server: ElasticsearchServer, method: str, path: str, body: Any = None) -> Any:
    """One request, as anybody could make it; the answer as values, also that of an error."""
    headers = {"accept": "application/json"} | (
        {"content-type": "application/json"} if body is not None else {}
    )
    with server.client() as client:
        return (
            client.options(ignore_status=[400, 403, 404, 405, 409, 500])
            .perform_request(method, path, headers=headers, body=body)
            .body
        )


def index_documents(server: ElasticsearchServer, index: str, count: int, **values: Any) -> None:
    lines: list[Any] = []
    for number in range(count):
        lines += [{"index": {"_id": str(number)}}, {"number": number, **values}]
    with server.client() as client:
        answer = client.bulk(index=index, operations=lines, refresh=True)
    assert not answer["errors"]


def count(server: ElasticsearchServer, pattern: str) -> int:
    return int(request(server, "GET", f"/{pattern}/_count?ignore_unavailable=true")["count"])


def indices(server: ElasticsearchServer) -> set[str]:
    """All that there is, hidden or not, but for Env Sync's records."""
    found = request(server, "GET", "/_cat/indices/*?expand_wildcards=all&format=json&h=index")
    return {each["index"] for each in found} - {".env-sync", ".env-sync-contents", ".tasks"}


def results_of_tasks(server: ElasticsearchServer) -> int:
    """How many results of tasks the cluster keeps."""
    request(server, "POST", "/.tasks/_refresh")
    return count(server, ".tasks")
