"""Incoming from a snapshot: what the snapshot says of itself, and having it restored under other names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from attrs import evolve

from env_sync.core.errors import NoSuchDatabase, RequestRefused, RestoreFailed
from env_sync.domain.sync import CopyWay, Sync
from env_sync.engines.base.contract import Work
from env_sync.engines.elasticsearch.access.readers import refuse_readers
from env_sync.engines.elasticsearch.catalogue import Templates, read_indices
from env_sync.engines.elasticsearch.contents import Contents, Held, load_contents
from env_sync.engines.elasticsearch.copy_tokens import begin_token
from env_sync.engines.elasticsearch.first_incoming import first_incoming
from env_sync.engines.elasticsearch.incoming import LEFT_BEHIND, set_up
from env_sync.engines.elasticsearch.metadata import Incoming, write_record
from env_sync.engines.elasticsearch.names import (
    CONTENTS,
    RENAME_PATTERN,
    copy_prefix,
    is_about,
    logical_name,
)
from env_sync.engines.elasticsearch.session import Cluster, quoted
from env_sync.engines.elasticsearch.snapshots import (
    Found,
    choose_snapshot,
    list_snapshots,
    look_at_repository,
    unreadable,
)
from env_sync.engines.elasticsearch.version import check_direction

UNREADABLE = frozenset(
    {"repository_exception", "snapshot_missing_exception", "repository_verification_exception"}
)


def begin_from_snapshot(work: Work, target: Cluster, timestamp: dt.datetime | None) -> None:
    """Choose a snapshot, write down what incoming will be, and have it restored. See the contract."""
    sync = work.sync
    look_at_repository(target, sync.url)
    allowed = refuse_readers(work, target)
    found, warnings = choose_snapshot(
        list_snapshots(target, sync.url, sync.database), timestamp, sync.database, sync.url
    )
    if found.version is not None:
        check_direction(found.version, target.version, f"The snapshot {found.name}")
    set_up(target)
    token, unknown = begin_token(work, target)
    warnings = (*allowed, *warnings, *unknown)
    contents = None
    if CONTENTS in found.indices:
        contents = contents_of(target, sync.url, found, token)
    if contents is None:
        contents = _guessed(found)
        warnings += (
            (
                f"{found.name} does not say what it holds, as those of Env Sync do: neither its numbers "
                "of documents nor its aliases and templates are known, so each index has its own "
                "name alone"
            ),
        )
    kept = tuple(held for held in contents.indices if _is_about(sync, held))
    if not kept:
        raise NoSuchDatabase(
            f"The snapshot {found.name} holds no index that {sync.name} is about "
            f"({', '.join(sync.indices)}). Live is untouched."
        )
    incoming = first_incoming(
        work,
        target,
        evolve(contents, indices=kept),
        way=CopyWay.REPOSITORY,
        why="from a snapshot",
        snapshot=found.name,
        warnings=warnings,
        token=token,
    )
    incoming = evolve(incoming, snapshot_is_whole=True)
    write_record(target, sync.name, incoming)
    restore(work, target, incoming)


def restore(work: Work, target: Cluster, incoming: Incoming) -> Incoming:
    """Have the snapshot restored, and write down that this was begun, once the cluster has said so.

    The answer may have been lost: a restore that was begun has made all its indices at once. Raises
    RestoreFailed.
    """
    if not _is_being_restored(target, incoming):
        url = work.sync.url
        try:
            begin_restore(target, url, incoming.snapshot, incoming.token, incoming.contents)
        except RestoreFailed:
            if not _is_being_restored(target, incoming):
                raise
    begun = evolve(incoming, restore_begun=True)
    write_record(target, work.sync.name, begun)
    return begun


def begin_restore(cluster: Cluster, repository: str, snapshot: str, token: str, contents: Contents) -> None:
    """Have the indices restored as incoming: hidden, without aliases and replicas. Raises RestoreFailed."""
    _restore(cluster, repository, snapshot, token, [held.index for held in contents.indices], wait=False)


def contents_of(cluster: Cluster, repository: str, snapshot: Found, token: str) -> Contents | None:
    """What a snapshot says it holds: one small index of it is restored, read, and dropped."""
    index = f"{copy_prefix(token)}{CONTENTS}"
    try:
        _restore(cluster, repository, snapshot.name, token, [CONTENTS], wait=True)
        return load_contents(cluster, index, snapshot.owner.token)
    finally:
        cluster.find_and_delete(f"/{quoted(index)}")


def _restore(
    cluster: Cluster, repository: str, snapshot: str, token: str, indices: Sequence[str], *, wait: bool
) -> None:
    body = {
        "indices": ",".join(indices),
        "include_global_state": False,
        "include_aliases": False,
        "partial": False,
        "rename_pattern": RENAME_PATTERN,
        "rename_replacement": f"{copy_prefix(token)}$1",
        "index_settings": {"index.hidden": True, "index.number_of_replicas": 0},
        "ignore_index_settings": list(LEFT_BEHIND),
    }
    path = f"/_snapshot/{quoted(repository)}/{quoted(snapshot)}/_restore"
    try:
        answer = cluster.ask("POST", path, body, timeout=120, wait_for_completion=wait)
    except RequestRefused as refused:
        if refused.kind in UNREADABLE:
            raise unreadable(cluster, repository, refused) from None
        raise RestoreFailed(
            f"The snapshot {snapshot} could not be restored: {refused} Live is untouched."
        ) from None
    if wait and answer["snapshot"]["shards"]["failed"]:
        raise RestoreFailed(
            f"The snapshot {snapshot} cannot be read: files of it are damaged or gone from {repository}. Ask "
            "for another one by its timestamp, or push again; live is untouched."
        )


def _is_being_restored(target: Cluster, incoming: Incoming) -> bool:
    there = {each.index for each in read_indices(target, f"{copy_prefix(incoming.token)}*")}
    return any(each.index in there for each in incoming.indices)


def _is_about(sync: Sync, held: Held) -> bool:
    if held.index == CONTENTS:
        return False
    return is_about(held.name, sync.indices, sync.excluded_indices, apart=held.hidden)


def _guessed(found: Found) -> Contents:
    """What a snapshot holds by its list of indices alone."""
    held = tuple(
        Held(
            index=index,
            name=logical_name(index),
            hidden=False,
            replicas=None,
            aliases={},
            documents=None,
            changes=None,
        )
        for index in found.indices
    )
    return Contents(
        environment="unknown",
        born_in="unknown",
        data_time=found.timestamp,
        indices=held,
        templates=Templates(of={}),
    )
