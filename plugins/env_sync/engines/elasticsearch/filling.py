"""Filling incoming, in whatever way, until what it holds is known to be whole."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from env_sync.domain.sync import CopyWay
from env_sync.engines.base.contract import CopyState, Filled, Waiting, Work
from env_sync.engines.elasticsearch.catalogue import Index, read_indices, size_of
from env_sync.engines.elasticsearch.copying import carry
from env_sync.engines.elasticsearch.count_check import check_counts
from env_sync.engines.elasticsearch.incoming import (
    counted,
    look_at_health,
    remembered,
    set_replicas,
    tasks_of,
)
from env_sync.engines.elasticsearch.metadata import Incoming, write_record
from env_sync.engines.elasticsearch.names import copy_prefix
from env_sync.engines.elasticsearch.pipelines import withhold
from env_sync.engines.elasticsearch.reindex import reindex
from env_sync.engines.elasticsearch.restore import restore
from env_sync.engines.elasticsearch.scroll import scroll
from env_sync.engines.elasticsearch.session import Cluster


def fill(
    work: Work, target: Cluster, source: Cluster | None, incoming: Incoming, *, asked: bool
) -> Incoming | Waiting:
    """Go on with incoming from where it is, until it is RAW; `asked` where a timestamp asked for it.

    Raises RestoreFailed, NoRoom, AccessRefused, SnapshotFailed, DumpTooSmall.
    """
    if incoming.way == CopyWay.SCROLL and source is not None:
        incoming = scroll(work, source, target, incoming)
    elif incoming.way == CopyWay.REINDEX and source is not None:
        step = reindex(work, source, target, incoming)
        if isinstance(step, Waiting):
            return step
        incoming = step
    elif not incoming.snapshot_is_whole and source is not None:
        return carry(work, source, target, incoming)
    elif not incoming.restore_begun:
        incoming = restore(work, target, incoming)
    standing = read_indices(target, f"{copy_prefix(incoming.token)}*")
    incoming = _without_pipelines(work, target, incoming, standing)
    set_replicas(target, incoming.indices, incoming.contents, standing)
    if (waiting := look_at_health(target, incoming.indices, incoming.token)) is not None:
        return waiting
    if tasks_of(target, incoming.token):
        return Waiting("Tasks of the cluster still write to incoming")
    indices = tuple(
        evolve(each, brought=each.documents) for each in counted(target, incoming.indices, incoming.contents)
    )
    incoming = evolve(incoming, indices=indices)
    raw = evolve(
        incoming,
        stamp=evolve(incoming.stamp, state=CopyState.RAW, changed=target.now()),
        warnings=(*incoming.warnings, *check_counts(work, target, incoming, asked=asked)),
    )
    write_record(target, work.sync.name, raw)
    return raw


def filled(target: Cluster, incoming: Incoming) -> Filled:
    """What is told of an incoming that is RAW."""
    return Filled(
        dump_key=incoming.snapshot,
        way=incoming.why,
        size=size_of(target, [each.index for each in incoming.indices]),
        data_time=incoming.stamp.data_time,
        source_environment=incoming.stamp.source_environment,
        born_in=incoming.stamp.born_in,
        indices=len(incoming.indices),
        documents=sum(each.documents or 0 for each in incoming.indices),
        warnings=incoming.warnings,
    )


def _without_pipelines(
    work: Work, target: Cluster, incoming: Incoming, standing: Sequence[Index]
) -> Incoming:
    """Take from what was restored the pipelines of its source, once the record tells of them."""
    known = evolve(incoming, indices=remembered(incoming.indices, standing))
    if known != incoming:
        write_record(target, work.sync.name, known)
    withhold(target, standing, incoming.token)
    return known
