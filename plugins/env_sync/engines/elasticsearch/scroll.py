"""Incoming by scroll and bulk: the documents come through this process, whole indices at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import define
from elasticsearch.helpers import BulkIndexError, ScanError, parallel_bulk, scan

from env_sync.core.errors import RestoreFailed
from env_sync.core.progress import Progress
from env_sync.engines.base.contract import Work
from env_sync.engines.elasticsearch.catalogue import read_indices
from env_sync.engines.elasticsearch.contents import Held
from env_sync.engines.elasticsearch.copied_documents import end_filling, expecting, still_there
from env_sync.engines.elasticsearch.incoming import make_index
from env_sync.engines.elasticsearch.metadata import Copied, Incoming
from env_sync.engines.elasticsearch.pipelines import NONE
from env_sync.engines.elasticsearch.session import Cluster

BATCH = 1000
KEEP = "10m"


@define
class _Read:
    documents: int = 0


def scroll(work: Work, source: Cluster, target: Cluster, incoming: Incoming) -> Incoming:
    """Bring all documents through this process. Raises RestoreFailed."""
    sources = {each.index: each for each in read_indices(source)}
    read = {}
    for held, copied in zip(incoming.contents.indices, incoming.indices, strict=True):
        make_index(target, copied, still_there(sources, held))
        jobs = work.sync.options.jobs
        read[held.index] = scroll_index(source, target, held, copied, jobs, work.progress)
        end_filling(target, copied.index, sources[held.index])
    return expecting(incoming, read)


def scroll_index(
    source: Cluster, target: Cluster, held: Held, copied: Copied, jobs: int, progress: Progress
) -> int:
    """Write every document of an index into incoming; gives how many there were. Raises RestoreFailed."""
    read = _Read()
    progress.start(f"documents of {held.name}", held.documents, "items")
    try:
        with target.errors(f"Writing {held.name} on {target}"):
            for written, _ in enumerate(
                parallel_bulk(
                    target.client,
                    _actions(source, target, held, copied, read),
                    thread_count=jobs,
                    chunk_size=BATCH,
                    raise_on_error=True,
                    pipeline=NONE,
                ),
                start=1,
            ):
                if written % BATCH == 0:
                    progress.advance(written)
    except BulkIndexError as error:
        kinds = sorted({str(_failure(each).get("type")) for each in error.errors})
        raise RestoreFailed(
            f"{len(error.errors)} documents of {held.name} were refused ({', '.join(kinds)}): a mapping that "
            "the target cannot use, or a lack of room. Live is untouched."
        ) from None
    except ScanError:
        raise RestoreFailed(
            f"Not all shards of {held.name} on {source} could be read. Look at the health of the source; "
            "live is untouched."
        ) from None
    progress.finish()
    return read.documents


def _actions(
    source: Cluster, target: Cluster, held: Held, copied: Copied, read: _Read
) -> Iterator[dict[str, Any]]:
    with source.errors(f"Reading {held.name} on {source}"):
        for hit in scan(
            source.client,
            index=held.index,
            query={"query": {"match_all": {}}, "sort": ["_doc"]},
            size=BATCH,
            scroll=KEEP,
            expand_wildcards="all",
        ):
            if read.documents % BATCH == 0:
                source.statement()
                target.statement()
            read.documents += 1
            action = {
                "_op_type": "index",
                "_index": copied.index,
                "_id": hit["_id"],
                "_source": hit["_source"],
            }
            if "_routing" in hit:
                action["routing"] = hit["_routing"]
            yield action


def _failure(item: dict[str, Any]) -> dict[str, Any]:
    error = next(iter(item.values())).get("error")
    return error if isinstance(error, dict) else {"type": error}
