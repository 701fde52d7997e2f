"""Taking a snapshot of live's indices: one that is taken already is joined, and what is old then goes."""

from __future__ import annotations

from attrs import evolve

from env_sync.core.errors import SnapshotFailed
from env_sync.engines.base.contract import Snapshot, Waiting, Work
from env_sync.engines.elasticsearch.contents import read_contents, store_contents
from env_sync.engines.elasticsearch.metadata import (
    Live,
    Taking,
    all_records,
    read_record,
    remove_record,
    write_record,
)
from env_sync.engines.elasticsearch.names import CONTENTS, new_token, snapshot_name
from env_sync.engines.elasticsearch.old_snapshots import remove_old_snapshots
from env_sync.engines.elasticsearch.session import Cluster
from env_sync.engines.elasticsearch.snapshots import (
    RUNNING,
    Owner,
    begin_snapshot,
    check_state,
    find_own,
    look_at_repository,
    look_at_snapshot,
    owner_of,
    size_of_snapshot,
)
from env_sync.engines.elasticsearch.sync_indices import some_indices_about


def take_snapshot(work: Work, target: Cluster) -> Snapshot | Waiting:
    """Go on with the snapshot of this attempt from where it is, or begin it. See the contract."""
    sync = work.sync
    look_at_repository(target, sync.url)
    taking = read_record(target, Taking, sync.name)
    if taking is None or taking.holder != work.holder:
        taking = _joined(work, target, taking) or plan_snapshot(work, target)
    owner = _owner(work, taking)
    name, state = find_own(target, sync.url, taking.snapshot, owner)
    if name != taking.snapshot:
        taking = evolve(taking, snapshot=name)
        write_record(target, sync.name, taking)
    if state is None:
        indices = [*(held.index for held in taking.contents.indices), CONTENTS]
        store_contents(target, taking.contents, owner.token)
        begin_snapshot(target, sync.url, taking.snapshot, indices, owner)
        return Waiting(f"The snapshot {taking.snapshot} was begun")
    try:
        whole = check_state(taking.snapshot, state, sync.url)
    except SnapshotFailed:
        # Whoever tries again takes another one.
        remove_record(target, Taking, sync.name)
        raise
    if not whole:
        return Waiting(f"The snapshot {taking.snapshot} is being taken")
    warnings = remove_old_snapshots(work, target)
    return Snapshot(
        dump_key=taking.snapshot,
        size=size_of_snapshot(target, sync.url, taking.snapshot),
        data_time=taking.contents.data_time,
        born_in=taking.contents.born_in,
        indices=len(taking.contents.indices),
        warnings=warnings,
    )


def plan_snapshot(work: Work, target: Cluster) -> Taking:
    """What this attempt takes a snapshot of; written down before it is begun. Raises NoSuchDatabase."""
    sync = work.sync
    now = target.now()
    indices = some_indices_about(target, sync)
    lives = [
        live
        for live in all_records(target, Live).values()
        if {each.index for each in live.indices} & {each.index for each in indices}
    ]
    oldest = min(lives, key=lambda live: live.stamp.data_time, default=None)
    contents = read_contents(
        target,
        indices,
        environment=sync.environment,
        born_in=oldest.stamp.born_in if oldest else sync.environment,
        data_time=oldest.stamp.data_time if oldest else now,
    )
    taking = Taking(
        holder=work.holder,
        snapshot=snapshot_name(sync.database, now),
        contents=contents,
        owner=owner_of(work.holder, new_token(), sync.name, sync.environment),
    )
    write_record(target, sync.name, taking)
    return taking


def _joined(work: Work, target: Cluster, taking: Taking | None) -> Taking | None:
    """The snapshot of the same sync that another worker began and that is being taken now."""
    if taking is None:
        return None
    owner = _owner(work, taking)
    seen = look_at_snapshot(target, work.sync.url, taking.snapshot)
    if seen is None or seen.state not in RUNNING or not owner.took(seen.owner):
        return None
    work.log.info("The snapshot %s is being taken already: joining it", taking.snapshot)
    joined = evolve(taking, holder=work.holder, owner=owner)
    write_record(target, work.sync.name, joined)
    return joined


def _owner(work: Work, taking: Taking) -> Owner:
    return taking.owner or owner_of(taking.holder, "", work.sync.name, work.sync.environment)
