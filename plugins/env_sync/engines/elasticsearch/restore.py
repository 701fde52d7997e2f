"""Incoming from a snapshot: what the snapshot says of itself, and having it restored under other names."""

from __future__ import annotations

from collections.abc import Sequence

from env_sync.core.errors import RequestRefused, RestoreFailed
from env_sync.engines.elasticsearch.contents import Contents, load_contents
from env_sync.engines.elasticsearch.incoming import LEFT_BEHIND
from env_sync.engines.elasticsearch.names import CONTENTS, RENAME_PATTERN, copy_prefix
from env_sync.engines.elasticsearch.session import Cluster, quoted
from env_sync.engines.elasticsearch.snapshots import Found, unreadable

UNREADABLE = frozenset(
    {"repository_exception", "snapshot_missing_exception", "repository_verification_exception"}
)


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
