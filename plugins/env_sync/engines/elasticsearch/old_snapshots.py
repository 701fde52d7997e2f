"""The old snapshots of a sync: those that are not kept any longer go when a new one is whole."""

from __future__ import annotations

from env_sync.core.errors import EnvSyncError
from env_sync.engines.base.contract import Work
from env_sync.engines.elasticsearch.session import Cluster
from env_sync.engines.elasticsearch.snapshots import (
    Kept,
    list_snapshots,
    no_longer_kept,
    owner_of,
    remove_snapshots,
)


def remove_old_snapshots(work: Work, cluster: Cluster) -> tuple[str, ...]:
    """Remove the snapshots of this sync that are not to be kept; what cannot be removed is a warning."""
    sync = work.sync
    kept = Kept(count=sync.options.snapshots_kept, age=sync.options.snapshots_max_age)
    if kept.count is None and kept.age is None:
        return ()
    try:
        found = list_snapshots(cluster, sync.url, sync.source_hostname or sync.database)
        owner = owner_of(work.holder, "", sync.name, sync.environment)
        old = no_longer_kept(found, owner, kept, cluster.now())
        remove_snapshots(cluster, sync.url, old)
    except EnvSyncError as problem:
        return (f"Old snapshots could not be removed: {problem}",)
    if old:
        work.log.info("Removed old snapshots: %s", ", ".join(old))
    return ()
