"""The ways from one cluster to another, and which one a copy takes."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

from env_sync.core.errors import ContentRefused, NoSuchRepository, RequestRefused
from env_sync.domain.sync import CopyWay
from env_sync.engines.elasticsearch.catalogue import Index
from env_sync.engines.elasticsearch.session import Cluster
from env_sync.engines.elasticsearch.snapshots import is_read_only, look_at_repository

ORDER = (CopyWay.REPOSITORY, CopyWay.REINDEX, CopyWay.SCROLL)
"""The best first: files, then documents that the target fetches, then documents through this machine."""
IN_WORDS: Mapping[CopyWay, str] = {
    CopyWay.REPOSITORY: "through the snapshot repository",
    CopyWay.REINDEX: "by reindex from remote",
    CopyWay.SCROLL: "by scroll and bulk",
}
WHITELIST = "reindex.remote.whitelist"


def choose_way(asked: CopyWay, obstacles: Mapping[CopyWay, str]) -> tuple[CopyWay, str]:
    """The way to take, and why; `obstacles` are what stands in each way. Raises ContentRefused."""
    wanted = ORDER if asked is CopyWay.AUTO else (asked,)
    for way in wanted:
        if way not in obstacles:
            passed = [f"not {IN_WORDS[each]}: {obstacles[each]}" for each in wanted[: wanted.index(way)]]
            if not passed:
                passed = ["it is the best there is" if asked is CopyWay.AUTO else "copy_way says so"]
            return way, f"{IN_WORDS[way]} ({'; '.join(passed)})"
    reasons = "; ".join(f"{IN_WORDS[each]}: {obstacles[each]}" for each in wanted)
    raise ContentRefused(f"There is no way to copy these indices: {reasons}. Nothing was touched.")


def obstacles(
    source: Cluster, target: Cluster, repository: str, indices: Sequence[Index]
) -> dict[CopyWay, str]:
    """What stands in each way, in words; a way that is not in it is free."""
    found = {
        CopyWay.REPOSITORY: _to_repository(source, target, repository, indices),
        CopyWay.REINDEX: _to_reindex(source, target) or _to_documents(indices),
        CopyWay.SCROLL: _to_documents(indices),
    }
    return {way: why for way, why in found.items() if why}


def _to_repository(source: Cluster, target: Cluster, repository: str, indices: Sequence[Index]) -> str:
    for cluster, role in ((source, "source"), (target, "target")):
        try:
            registered = look_at_repository(cluster, repository)
        except NoSuchRepository:
            return f"{repository} is not registered on the {role}, {cluster}"
        if cluster is source and is_read_only(registered):
            return f"{repository} is read-only on the source, {cluster}"
    oldest = target.version.major - 1
    for each in indices:
        created = int(str(each.settings.get("index.version.created") or 0)) // 1_000_000
        if 0 < created < oldest:
            return (
                f"{each.name} was made by Elasticsearch {created}, which {target.version} cannot restore: "
                "reindex it on the source"
            )
    return ""


def _to_reindex(source: Cluster, target: Cluster) -> str:
    if not has_api(target, "/_reindex"):
        return f"the target, {target}, has no reindex"
    settings = target.ask(
        "GET", "/_cluster/settings", include_defaults=True, flat_settings=True, filter_path="*.reindex*"
    )
    allowed: list[str] = []
    for part in settings.values():
        value = part.get(WHITELIST) or []
        allowed += value.split(",") if isinstance(value, str) else value
    address = str(source)
    if not any(fnmatch.fnmatchcase(address, pattern.strip()) for pattern in allowed):
        return f"{WHITELIST} of the target does not allow {address}"
    return ""


def _to_documents(indices: Sequence[Index]) -> str:
    for each in indices:
        if each.closed:
            return f"{each.name} is closed, so that its documents cannot be read"
        if not each.keeps_documents_whole:
            return f"{each.name} does not keep its documents whole (`_source`)"
    return ""


def has_api(cluster: Cluster, path: str) -> bool:
    """Whether a cluster knows what is posted to this path; an empty body is asked, which does nothing."""
    try:
        cluster.ask("POST", path, {})
    except RequestRefused as refused:
        # Without a kind it is not the API that refused, but what looks for one.
        return bool(refused.kind)
    return True
