"""The hidden indices of leases, of records, and of what a snapshot holds: plain ones of Env Sync's own.

Whoever made one first, as an alias of another index or with a pipeline, would decide who may touch live.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from env_sync.core.errors import NameRefused, RequestRefused
from env_sync.engines.elasticsearch.pipelines import WITHOUT, named
from env_sync.engines.elasticsearch.session import Cluster

HIDDEN: Mapping[str, Any] = {
    "settings": {
        "index.hidden": True,
        "index.number_of_shards": 1,
        "index.auto_expand_replicas": "0-1",
        # A template for everything must not change what is written here.
        **WITHOUT,
    },
    "mappings": {"enabled": False},
}
"""How an index of records is made: nothing of what is in it can be searched."""
WITHOUT_EFFECT = frozenset(
    {
        *("_meta", "date_detection", "dynamic", "dynamic_date_formats", "dynamic_templates"),
        *("numeric_detection", "properties"),
    }
)
"""Parts of a mapping that a template may bring, and that mean nothing where the mapping is not enabled."""


def make_record_index(cluster: Cluster, index: str) -> None:
    """Make an index for records, where it is not there. Raises NameRefused where it is not as it is made."""
    if check_plain(cluster, index):
        return
    try:
        cluster.ask("PUT", f"/{index}", HIDDEN)
    except RequestRefused as refused:
        if refused.kind != "resource_already_exists_exception":
            raise
    check_plain(cluster, index)


def check_plain(cluster: Cluster, index: str) -> bool:
    """Whether an index for records is there. Raises NameRefused where it is not as Env Sync makes it."""
    found = _look(cluster, index)
    if odd := tuple(_oddities(index, found)):
        raise NameRefused(refusal(cluster, index, odd))
    return bool(found)


def refusal(cluster: Cluster, index: str, odd: tuple[str, ...]) -> str:
    """What to say where something speaks against it."""
    return (
        f"{index} on {cluster}, in which Env Sync keeps who may touch what, is not as Env Sync makes it: "
        f"{'; '.join(odd)}. It was neither read nor written. Find out who did that; while no sync runs, "
        "remove what Env Sync did not make, and the template that brings it, if one does. An index that is "
        "deleted is made anew, and knows nothing of what is live then."
    )


def oddities(cluster: Cluster, index: str) -> tuple[str, ...]:
    """What speaks against it, in words."""
    return tuple(_oddities(index, _look(cluster, index)))


def _look(cluster: Cluster, index: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = cluster.find(f"/{index}", flat_settings=True, expand_wildcards="all") or {}
    return found


def _oddities(index: str, found: Mapping[str, Any]) -> Iterator[str]:
    others = sorted(found.keys() - {index})
    if others:
        yield f"it is an alias of {', '.join(others)}"
        return
    for each in found.values():
        settings, mappings = each.get("settings") or {}, each.get("mappings") or {}
        if aliases := each.get("aliases"):
            yield f"it has the alias {', '.join(sorted(aliases))}"
        if settings.get("index.hidden") != "true":
            yield "it is not hidden"
        for name, pipeline in named(settings):
            yield f"{name} is {pipeline}"
        if policy := settings.get("index.lifecycle.name"):
            yield f"the policy {policy} may remove it"
        parts = sorted(mappings.keys() - WITHOUT_EFFECT - {"enabled"})
        if parts:
            yield f"its mapping has {', '.join(parts)}"
        elif mappings.get("enabled") is not False:
            yield "its mapping is enabled"
