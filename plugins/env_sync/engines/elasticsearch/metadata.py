"""The records that a cluster keeps of a sync: what incoming is, what is live, which snapshot is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import frozen

from env_sync.core.errors import StampUnreadable
from env_sync.core.serialization import from_plain, to_plain
from env_sync.engines.base.contract import Holder, Stamp
from env_sync.engines.base.proof import unreadable
from env_sync.engines.elasticsearch.contents import Contents
from env_sync.engines.elasticsearch.names import STATE
from env_sync.engines.elasticsearch.record_index import make_record_index
from env_sync.engines.elasticsearch.session import Cluster, quoted
from env_sync.engines.elasticsearch.snapshots import Owner

T = TypeVar("T")


@frozen(kw_only=True)
class Copied:
    """One index of incoming or live. `uuid` is "" until it is there, `documents` None until counted."""

    index: str
    name: str
    uuid: str = ""
    documents: int | None = None
    brought: int | None = None
    """How many documents came; a transformation may have removed some since."""
    pipelines: Mapping[str, str] | None = None
    """The settings of ingest pipelines that it gets when it is live; None where they are not known."""


@frozen(kw_only=True)
class Replaced:
    """An index that was live until a swap, with the aliases that it took away: what an undo gives back."""

    index: str
    uuid: str
    aliases: Mapping[str, Any]
    """By name, with what belongs to each: filter, routing, write index."""


@frozen(kw_only=True)
class Incoming:
    """What incoming is. Its stamp, once `sanitised`, is the proof; it holds for just these indices."""

    stamp: Stamp
    token: str
    way: str
    why: str
    snapshot: str
    contents: Contents
    indices: tuple[Copied, ...]
    snapshot_is_whole: bool = False
    restore_begun: bool = False
    """Set when the cluster has said that it restores the snapshot."""
    tasks: Mapping[str, str] = {}
    """By index, what the cluster calls the task that fills it."""
    fetched: Mapping[str, int] = {}
    """By index, how many documents the source had, for those whose task is done."""
    promoting: bool = False
    """Set before the swap: from then on it may be live."""
    replaced: tuple[Replaced, ...] | None = None
    """What the swap that was asked for takes the aliases from; None where none was asked for yet."""
    warnings: tuple[str, ...] = ()


@frozen(kw_only=True)
class Live:
    """What a sync made live, and which indices it kept of what was live before."""

    stamp: Stamp
    indices: tuple[Copied, ...]
    given: tuple[str, ...] | None = None
    """The aliases that the swap gave; None where that was not written down."""
    previous: tuple[str, ...] = ()
    previous_aliases: Mapping[str, Mapping[str, Any]] = {}
    """The aliases that each index of previous had, with what belongs to each: for an undo by hand."""
    leaving: tuple[str, ...] = ()
    """What is still to be removed of what was live before."""


@frozen(kw_only=True)
class Taking:
    """The snapshot that an attempt takes, or takes part in.

    `owner` is who began it; None where an earlier version wrote the record.
    """

    holder: Holder
    snapshot: str
    contents: Contents
    owner: Owner | None = None


@frozen(kw_only=True)
class Made:
    """Under which tokens a sync made copies that may still stand; written before the first of each."""

    tokens: tuple[str, ...]


def read_record(cluster: Cluster, kind: type[T], sync: str, *, refuse: bool = False) -> T | None:
    """The record of a kind that a cluster keeps of a sync; None where none is there or can be understood.

    With `refuse` one that cannot be understood raises StampUnreadable.
    """
    found = cluster.find(f"/{STATE}/_doc/{_id(kind, sync)}")
    try:
        return from_plain(kind, found["_source"]["record"]) if found else None
    except (KeyError, TypeError, ValueError):
        if refuse:
            raise _unreadable(cluster, kind, sync) from None
        return None


def write_record(cluster: Cluster, sync: str, record: object) -> None:
    """Write a record in the place of the one before it."""
    cluster.ask("PUT", f"/{STATE}/_doc/{_id(type(record), sync)}", {"record": to_plain(record)}, refresh=True)


def remove_record(cluster: Cluster, kind: type[object], sync: str) -> None:
    """Remove a record, if it is there."""
    cluster.find_and_delete(f"/{STATE}/_doc/{_id(kind, sync)}")


def all_records(cluster: Cluster, kind: type[T], *, refuse: bool = False) -> dict[str, T]:
    """The records of a kind of all syncs of a cluster, by sync.

    One that cannot be understood is left out, or with `refuse` raises StampUnreadable.
    """
    make_record_index(cluster, STATE)
    before = f"{kind.__name__.lower()}-"
    hits: list[Any] = cluster.ask("GET", f"/{STATE}/_search", size=1000)["hits"]["hits"]
    records = {}
    for hit in hits:
        if hit["_id"].startswith(before):
            try:
                records[hit["_id"].removeprefix(before)] = from_plain(kind, hit["_source"]["record"])
            except (KeyError, TypeError, ValueError):
                if refuse:
                    raise _unreadable(cluster, kind, hit["_id"].removeprefix(before)) from None
    return records


def _unreadable(cluster: Cluster, kind: type[object], sync: str) -> StampUnreadable:
    return unreadable(f"What {sync} filled on {cluster}", f"DELETE /{STATE}/_doc/{_id(kind, sync)}")


def _id(kind: type[object], sync: str) -> str:
    return quoted(f"{kind.__name__.lower()}-{sync}")
