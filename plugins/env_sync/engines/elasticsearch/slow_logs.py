"""The slow logs of incoming: off while it is filled and sanitised, for they would keep documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from env_sync.engines.elasticsearch.catalogue import Index
from env_sync.engines.elasticsearch.names import copy_prefix
from env_sync.engines.elasticsearch.session import Cluster, quoted

LEVELS = ("warn", "info", "debug", "trace")
QUIET: Mapping[str, str] = {
    "index.indexing.slowlog.source": "false",
    **{f"index.indexing.slowlog.threshold.index.{level}": "-1" for level in LEVELS},
    **{
        f"index.search.slowlog.threshold.{phase}.{level}": "-1"
        for phase in ("query", "fetch")
        for level in LEVELS
    },
}
"""Settings with which an index logs no request, and no document, however slow it is."""


def as_on(settings: Mapping[str, str]) -> dict[str, str | None]:
    """The slow logs as in an index's settings; None for what is as the cluster has it."""
    return {name: settings.get(name) for name in QUIET}


def silence(cluster: Cluster, there: Iterable[Index], token: str) -> dict[str, dict[str, str | None]]:
    """Switch the slow logs of the indices of a token off; gives how each index had them, by index."""
    had = {each.index: as_on(each.settings) for each in there}
    _set(cluster, f"{copy_prefix(token)}*", QUIET)
    return had


def give_back(cluster: Cluster, had: Mapping[str, Mapping[str, str | None]], token: str) -> None:
    """Give the indices the slow logs that they had."""
    _set(cluster, f"{copy_prefix(token)}*", dict.fromkeys(QUIET))
    for index, settings in had.items():
        own = {name: value for name, value in settings.items() if value is not None}
        if own:
            _set(cluster, index, own)


def _set(cluster: Cluster, pattern: str, settings: Mapping[str, str | None]) -> None:
    cluster.ask("PUT", f"/{quoted(pattern)}/_settings", settings, expand_wildcards="all")
