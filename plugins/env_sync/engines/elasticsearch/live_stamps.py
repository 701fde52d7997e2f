"""The stamps of live: what those who filled its indices say of what a sync is about."""

from __future__ import annotations

from env_sync.domain.sync import Sync
from env_sync.engines.base.contract import Stamp
from env_sync.engines.elasticsearch.catalogue import read_indices
from env_sync.engines.elasticsearch.metadata import Live, all_records
from env_sync.engines.elasticsearch.names import STATE, is_about
from env_sync.engines.elasticsearch.session import Cluster
from env_sync.engines.elasticsearch.sync_indices import indices_about


def has_records(target: Cluster) -> bool:
    """Whether the index of records is there; what looks for the records would make it."""
    return target.find(f"/{STATE}/_settings") is not None


def live_stamps(target: Cluster, sync: Sync) -> tuple[Stamp, ...]:
    """Those of every sync that filled live indices that this one is about. Raises StampUnreadable."""
    # What another sync has replaced since may be kept, without the alias of its name. One that is closed
    # is live all the same.
    live = {each.uuid for each in read_indices(target) if each.name in each.aliases}
    return tuple(
        record.stamp
        for record in all_records(target, Live, refuse=True).values()
        if any(
            each.uuid in live and is_about(each.name, sync.indices, sync.excluded_indices)
            for each in record.indices
        )
    )


def unstamped(target: Cluster, sync: Sync) -> tuple[str, ...]:
    """The indices that the sync is about and that no sync filled, by name. Raises StampUnreadable."""
    records = all_records(target, Live, refuse=True).values()
    known = {each.uuid for record in records for each in record.indices}
    return tuple(each.name for each in indices_about(target, sync) if each.uuid not in known)
