"""The ingest pipelines of incoming: none until it is live, then those that its source has.

A pipeline is the target's own, and may write each document that passes it into whatever index it likes.
https://www.elastic.co/guide/en/elasticsearch/reference/8.19/index-modules.html#dynamic-index-settings
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from env_sync.engines.elasticsearch.catalogue import Index
from env_sync.engines.elasticsearch.names import copy_prefix
from env_sync.engines.elasticsearch.session import Cluster, quoted

NONE = "_none"
"""What no pipeline is called, in settings and in requests."""
PIPELINES = ("index.default_pipeline", "index.final_pipeline")
WITHOUT: Mapping[str, str] = dict.fromkeys(PIPELINES, NONE)
"""Settings with which no document passes a pipeline."""


def as_on(settings: Mapping[str, str]) -> dict[str, str]:
    """The pipelines in an index's settings, where it says something of them."""
    return {name: settings[name] for name in PIPELINES if name in settings}


def given_back(pipelines: Mapping[str, str] | None) -> dict[str, str | None]:
    """The settings with which an index has just these again; no settings where they are not known."""
    if pipelines is None:
        return {}
    return {name: pipelines.get(name) for name in PIPELINES}


def named(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The pipelines that documents pass, by setting."""
    for name, pipeline in as_on(settings).items():
        if pipeline != NONE:
            yield name, pipeline


def withhold(cluster: Cluster, there: Sequence[Index], token: str) -> None:
    """Take the pipelines from the indices of a token, if one of them has any."""
    if any([*named(each.settings)] for each in there):
        cluster.ask("PUT", f"/{quoted(copy_prefix(token))}*/_settings", WITHOUT, expand_wildcards="all")
