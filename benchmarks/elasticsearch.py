"""A copy of Elasticsearch indices in its three ways, beside a plain script of scroll and bulk.

    python benchmarks/elasticsearch.py [--documents N] [--repeat N]

Starts two clusters of Elasticsearch 7.17 on 127.0.0.1, where all ways can be, makes an index of
`--documents` documents (50000) of about 600 bytes on the first, and copies it to the second, by turns,
`--repeat` times (3); medians count.

- The script: `helpers.scan` into `helpers.bulk` of Elastic's own client, as one would write it, into an
  index with the same mapping; then a refresh.
- Env Sync: the engine's copy, from its first look at the source until incoming is whole, green and counted;
  and the promote beside it, whose swap no reader may notice: a client counts the documents of live all the
  time.

Exits 1 where a goal is missed; GOALS holds them. Times depend on the machine and on what else it does: quote
the ratios.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import platform
import shutil
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
# In the place of this folder, where this file has the name of the library.
sys.path[:1] = [str(ROOT), str(ROOT / "plugins")]

from elasticsearch import Elasticsearch  # noqa: E402
from elasticsearch.helpers import bulk, scan  # noqa: E402

from env_sync.core.cancellation import Cancellation  # noqa: E402
from env_sync.core.progress import LogProgress  # noqa: E402
from env_sync.core.secret import Secret  # noqa: E402
from env_sync.domain.settings import Options  # noqa: E402
from env_sync.domain.sync import Action, CopyWay, Ensure, Place, Schedule, Sync  # noqa: E402
from env_sync.engines.base.contract import Holder, ServerConnection, Waiting, Work  # noqa: E402
from env_sync.engines.elasticsearch.engine import ElasticsearchEngine  # noqa: E402
from sandbox import process  # noqa: E402
from sandbox.elasticsearch import OLDER, ElasticsearchServer  # noqa: E402

INDEX = "articles"
REPOSITORY = "benchmark"
SCRIPT = "the script"
WAYS = (CopyWay.REPOSITORY, CopyWay.REINDEX, CopyWay.SCROLL)
POLL = 0.1
GOALS = {CopyWay.REPOSITORY: 2.0, CopyWay.SCROLL: 1.0}
"""How many times as fast as the script a way must be."""
MAPPINGS = {
    "properties": {
        "title": {"type": "text"},
        "body": {"type": "text"},
        "organisation": {"type": "keyword"},
        "published": {"type": "date"},
        "views": {"type": "integer"},
    }
}
WORDS = ("of", "the", "and", "to", "service", "guidance", "tax", "licence", "apply", "vehicle", "school")
LOG = logging.getLogger("benchmark")


@frozen(kw_only=True)
class Run:
    """One copy, done one way. Times in seconds; `fewest` is what a reader saw at least in a promote."""

    seconds: float
    promote: float = 0.0
    fewest: int | None = None


@frozen(kw_only=True)
class Scene:
    """Two clusters, and the ways between them."""

    source: ElasticsearchServer
    target: ElasticsearchServer
    folder: Path
    documents: int
    _numbers: Iterator[int] = field(factory=itertools.count)

    def set_up(self) -> None:
        """Make the index, and a repository that both see."""
        for server in (self.source, self.target):
            server.clear()
        self.source.register_repository(REPOSITORY, max_snapshot_bytes_per_sec="1gb")
        self.target.register_repository(REPOSITORY, readonly=True, max_restore_bytes_per_sec="1gb")
        with self.source.client() as client:
            _make(client, INDEX)
            bulk(client.options(request_timeout=120), self._documents(), chunk_size=2000)
            client.indices.refresh(index=INDEX)
            client.options(request_timeout=600).indices.forcemerge(index=INDEX, max_num_segments=4)

    def script(self) -> Run:
        """What one would write by hand."""
        with self.source.client() as source, self.target.client() as target:
            target.indices.delete(index="by-script", ignore_unavailable=True)
            began = time.monotonic()
            _make(target, "by-script")
            documents = (
                {"_index": "by-script", "_id": hit["_id"], "_source": hit["_source"]}
                for hit in scan(source, index=INDEX, size=1000)
            )
            bulk(target, documents)
            target.indices.refresh(index="by-script")
            seconds = time.monotonic() - began
            self._check(target, "by-script")
            target.indices.delete(index="by-script")
        return Run(seconds=seconds)

    def copy(self, way: CopyWay) -> Run:
        """The same by the engine, and its promote."""
        engine = self._engine(way)
        engine.take_lease(at_most=9)
        began = time.monotonic()
        while True:
            with engine.at_work():
                done = engine.copy()
            if not isinstance(done, Waiting):
                break
            time.sleep(POLL)
        seconds = time.monotonic() - began
        with engine.at_work():
            engine.sanitise(())
        with self._reading() as seen, engine.at_work():
            began = time.monotonic()
            engine.promote((), lambda: None)
            promote = time.monotonic() - began
        engine.release_lease()
        with self.target.client() as target:
            self._check(target, INDEX)
        return Run(seconds=seconds, promote=promote, fewest=min(seen, default=None))

    def _documents(self) -> Iterator[dict[str, Any]]:
        words = itertools.cycle(WORDS)
        for number in range(self.documents):
            text = " ".join(itertools.islice(words, 70 + number % 17))
            yield {
                "_index": INDEX,
                "_id": str(number),
                "_source": {
                    "title": f"Article {number} {text[:40]}",
                    "body": text,
                    "organisation": f"organisation-{number % 40}",
                    "published": f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}",
                    "views": number,
                },
            }

    def _check(self, client: Elasticsearch, index: str) -> None:
        found = client.count(index=index)["count"]
        if found != self.documents:
            raise SystemExit(f"{index} has {found} documents, not {self.documents}: no time counts")

    @contextmanager
    def _reading(self) -> Iterator[list[int]]:
        """A client that counts the documents of live all the time, where there is any."""
        seen: list[int] = []
        done = threading.Event()

        def read() -> None:
            with self.target.client() as client:
                while not done.is_set():
                    # No answer counts as no documents; before the first promote there is no index.
                    answer = client.options(ignore_status=[404, 503]).count(index=INDEX)
                    if answer.meta.status != 404:
                        seen.append(answer.get("count", 0))

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield seen
        finally:
            done.set()
            thread.join()

    def _engine(self, way: CopyWay) -> ElasticsearchEngine:
        target = ServerConnection(
            connection_id="env_sync_integration_search",
            environment="integration",
            host=self.target.host,
            port=self.target.port,
            login="",
            password=Secret(""),
            extra={"scheme": "http", "open_to_anybody": True},
        )
        sync = Sync(
            name="copy_search",
            environment="integration",
            node_class="search",
            place=Place("benchmark", 1),
            ensure=Ensure.DISABLED,
            schedule=Schedule(hour="0", minute="0", times=()),
            action=Action.COPY,
            dbms="elasticsearch",
            storagebackend="elasticsearch",
            database="search",
            database_hostname=None,
            url=REPOSITORY,
            path="",
            temppath=None,
            transformation=None,
            pre_dump_transformation=None,
            excluded_tables=(),
            after=(),
            recovery=False,
            options=Options(keep_previous=False, snapshots_kept=1),
            # A name of its own each time: two snapshots within one second would have the same.
            source_hostname=f"above-{next(self._numbers)}-{uuid.uuid4().hex[:4]}",
            copy_way=way,
            indices=(INDEX,),
        )
        source = evolve(
            target, connection_id="env_sync_staging_search", environment="staging", port=self.source.port
        )
        return ElasticsearchEngine(
            Work(
                sync=sync,
                holder=Holder(run="benchmark", group="copy", attempt=uuid.uuid4().hex),
                connection=target,
                source=source,
                folder=self.folder,
                cancellation=Cancellation(),
                progress=LogProgress(LOG),
                log=LOG,
            )
        )


def _make(client: Elasticsearch, index: str) -> None:
    settings = {"number_of_shards": 2, "number_of_replicas": 0}
    client.indices.create(index=index, settings=settings, mappings=MAPPINGS)


def measure(scene: Scene, repeat: int, console: Console) -> dict[str, list[Run]]:
    """Every way by turns, so that whatever else the machine does meets all of them."""
    runs: dict[str, list[Run]] = {SCRIPT: [], **{str(way): [] for way in WAYS}}
    for turn in range(repeat):
        for way in (SCRIPT, *WAYS):
            console.print(f"turn {turn + 1} of {repeat}: {way}")
            runs[str(way)].append(scene.script() if way == SCRIPT else scene.copy(CopyWay(way)))
    return runs


def median(runs: Sequence[Run]) -> float:
    """Seconds of the run in the middle."""
    return statistics.median(run.seconds for run in runs)


def main() -> int:
    """Measure, print, and give the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    console = Console()
    logging.getLogger("elastic_transport").setLevel(logging.WARNING)
    folder = process.temporary_folder()
    with ExitStack() as opened:
        opened.callback(shutil.rmtree, folder)
        shared = folder / "repositories"
        allow = {"reindex.remote.whitelist": '"127.0.0.1:*"'}
        servers = [
            ElasticsearchServer(folder / name, OLDER, repositories=shared, settings=allow)
            for name in ("source", "target")
        ]
        for server in servers:
            opened.callback(server.stop)
            server.begin()
        for server in servers:
            server.wait()
        scene = Scene(source=servers[0], target=servers[1], folder=folder, documents=asked.documents)
        scene.set_up()
        runs = measure(scene, asked.repeat, console)
    table = Table(
        "Way",
        "Seconds",
        "As fast as the script",
        "Promote, seconds",
        "Fewest documents seen in a promote",
        title=f"{asked.documents} documents, Elasticsearch {OLDER}, {platform.machine()}",
    )
    missed = []
    for way, done in runs.items():
        ratio = median(runs[SCRIPT]) / median(done)
        fewest = [run.fewest for run in done if run.fewest is not None]
        promote = statistics.median(run.promote for run in done)
        table.add_row(
            way,
            f"{median(done):.1f}",
            f"{ratio:.1f} x",
            f"{promote:.2f}" if way != SCRIPT else "",
            str(min(fewest)) if fewest else "",
        )
        if way in GOALS and ratio < GOALS[CopyWay(way)]:
            missed.append(f"{way} is {ratio:.1f} x, and is to be {GOALS[CopyWay(way)]} x")
        if fewest and min(fewest) < asked.documents:
            missed.append(f"{way}: a reader saw {min(fewest)} documents during a promote")
    console.print(table)
    for each in missed:
        console.print(f"Missed: {each}")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
