"""Incoming from another cluster: what is copied, in which way, and a snapshot that both clusters see."""

from __future__ import annotations

from attrs import evolve

from env_sync.core.errors import SnapshotFailed
from env_sync.domain.sync import CopyWay
from env_sync.engines.base.contract import Waiting, Work
from env_sync.engines.elasticsearch.access.readers import refuse_readers
from env_sync.engines.elasticsearch.contents import read_contents
from env_sync.engines.elasticsearch.copy_strategy import choose_way, obstacles
from env_sync.engines.elasticsearch.copy_tokens import begin_token
from env_sync.engines.elasticsearch.first_incoming import first_incoming
from env_sync.engines.elasticsearch.incoming import set_up
from env_sync.engines.elasticsearch.metadata import Incoming, write_record
from env_sync.engines.elasticsearch.names import snapshot_name
from env_sync.engines.elasticsearch.old_snapshots import remove_old_snapshots
from env_sync.engines.elasticsearch.restore import restore
from env_sync.engines.elasticsearch.session import Cluster
from env_sync.engines.elasticsearch.snapshots import (
    begin_snapshot,
    check_state,
    find_own,
    look_at_snapshot,
    owner_of,
)
from env_sync.engines.elasticsearch.sync_indices import some_indices_about
from env_sync.engines.elasticsearch.version import check_direction


def begin_copy(work: Work, source: Cluster, target: Cluster) -> Incoming:
    """Choose the way, and write down what incoming will be. See the contract."""
    sync = work.sync
    check_direction(source.version, target.version, f"The source, {source},")
    indices = some_indices_about(source, sync)
    way, why = choose_way(sync.copy_way, obstacles(source, target, sync.url, indices))
    allowed = refuse_readers(work, target)
    now = source.now()
    environment = source.connection.environment
    contents = read_contents(source, indices, environment=environment, born_in=environment, data_time=now)
    set_up(target)
    token, unknown = begin_token(work, target)
    incoming = first_incoming(
        work,
        target,
        contents,
        way=way,
        why=why,
        snapshot=snapshot_name(sync.source_hostname or sync.database, now),
        warnings=(*allowed, *unknown),
        token=token,
        sources=() if way == CopyWay.REPOSITORY else indices,
    )
    write_record(target, sync.name, incoming)
    work.log.info("Copying %s indices from %s %s", len(indices), source, why)
    return incoming


def carry(work: Work, source: Cluster, target: Cluster, incoming: Incoming) -> Waiting:
    """Bring a snapshot of the source to where the target can restore it, and have it restored.

    Raises SnapshotFailed, RestoreFailed.
    """
    sync = work.sync
    url, owner = sync.url, owner_of(incoming.stamp.holder, incoming.token, sync.name, sync.environment)
    name, state = find_own(source, url, incoming.snapshot, owner)
    if name != incoming.snapshot:
        incoming = evolve(incoming, snapshot=name, stamp=evolve(incoming.stamp, dump_key=name))
        write_record(target, sync.name, incoming)
    if state is None:
        indices = [held.index for held in incoming.contents.indices]
        begin_snapshot(source, url, name, indices, owner)
        return Waiting(f"The snapshot {name} was begun")
    if not check_state(name, state, url):
        return Waiting(f"The snapshot {name} is being taken")
    seen = look_at_snapshot(target, url, name)
    if seen is None or not owner.took(seen.owner):
        raise SnapshotFailed(
            f"The snapshot {name} is whole on {source}, and {target} does not see it: {url} is not the "
            "same repository there. Correct its registration, or write `copy_way: reindex` or `scroll`."
        )
    if not check_state(name, seen.state, url):
        return Waiting(f"The snapshot {name} is not whole for {target} yet")
    old = remove_old_snapshots(work, source)
    whole = evolve(incoming, snapshot_is_whole=True, warnings=(*incoming.warnings, *old))
    write_record(target, sync.name, whole)
    restore(work, target, whole)
    return Waiting("The restore was begun")
