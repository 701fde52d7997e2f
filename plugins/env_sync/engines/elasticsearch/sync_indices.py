"""The indices of a cluster that a sync is about, as they stand."""

from __future__ import annotations

from env_sync.core.errors import NoSuchDatabase
from env_sync.domain.sync import Sync
from env_sync.engines.elasticsearch.catalogue import Index, chosen, read_indices
from env_sync.engines.elasticsearch.session import Cluster


def indices_about(cluster: Cluster, sync: Sync) -> list[Index]:
    """Those that there are, by name; there may be none."""
    return chosen(read_indices(cluster), sync.indices, sync.excluded_indices)


def some_indices_about(cluster: Cluster, sync: Sync) -> list[Index]:
    """The same. Raises NoSuchDatabase where there is none."""
    found = indices_about(cluster, sync)
    if not found:
        raise NoSuchDatabase(
            f"{cluster} has no index that {sync.name} is about ({', '.join(sync.indices)}): "
            "correct `indices` and `excluded_indices`. Nothing was touched."
        )
    return found
