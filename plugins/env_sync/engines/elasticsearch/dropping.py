"""Dropping incoming: what another attempt left, and what a step left half done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from attrs import frozen

from env_sync.core.errors import EnvSyncError, ServerUnreachable
from env_sync.domain.sync import CopyWay
from env_sync.engines.base.contract import CopyState, Work
from env_sync.engines.elasticsearch.incoming import drop_indices
from env_sync.engines.elasticsearch.metadata import Incoming, Live, read_record, remove_record
from env_sync.engines.elasticsearch.session import Cluster


@frozen(kw_only=True)
class Dropping:
    """What dropping incoming works with. `where` names live."""

    work: Work
    target: Cluster
    where: str
    finish_promotion: Callable[[], bool]
    """Brings to its end a swap that was made; gives whether there was one."""


def drop_incoming(dropping: Dropping, incoming: Incoming) -> int | None:
    """Drop incoming, and give how many indices it had; None where it proves to be live by now."""
    target, sync = dropping.target, dropping.work.sync.name
    if incoming.promoting and dropping.finish_promotion():
        return None
    live = read_record(target, Live, sync)
    if live is not None and {each.uuid for each in live.indices} & {
        each.uuid for each in incoming.indices if each.uuid
    }:
        remove_record(target, Incoming, sync)
        return 0
    dropped = drop_indices(target, incoming.token)
    remove_record(target, Incoming, sync)
    return dropped


def own_incoming(dropping: Dropping) -> Incoming | None:
    """Incoming where this attempt began it; what another one left is dropped."""
    work = dropping.work
    incoming = read_record(dropping.target, Incoming, work.sync.name)
    if incoming is None:
        return None
    # A scroll goes on in no other process; its names are not used again, whoever still writes to them.
    begun = incoming.stamp.state is CopyState.RESTORING and incoming.way != CopyWay.SCROLL
    fresh = begun or incoming.stamp.state is CopyState.RAW
    if incoming.stamp.holder == work.holder and fresh and not incoming.promoting:
        return incoming
    dropped = drop_incoming(dropping, incoming)
    if dropped is not None:
        work.log.info("Dropped %s indices of incoming, which an earlier step left", dropped)
    return None


@contextlib.contextmanager
def dropping_after_failure(dropping: Dropping) -> Iterator[None]:
    """Drop incoming where the block raises, unless for want of an answer: that says nothing of it."""
    try:
        yield
    except BaseException as problem:
        if not isinstance(problem, ServerUnreachable):
            drop_after_failure(dropping)
        raise


def drop_after_failure(dropping: Dropping) -> None:
    """Drop incoming where this attempt began it; where that cannot be, the log says so."""
    target, work = dropping.target, dropping.work
    try:
        with target.uninterrupted():
            incoming = read_record(target, Incoming, work.sync.name)
            if incoming is not None and incoming.stamp.holder == work.holder:
                drop_incoming(dropping, incoming)
    except EnvSyncError as error:
        work.log.error(
            "Incoming of %s could not be dropped after a failure (%s); the end of the group tries again.",
            dropping.where,
            error,
        )
