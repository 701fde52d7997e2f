"""What the ways that copy document by document have in common: each index, before and after it is filled."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from env_sync.core.errors import RestoreFailed
from env_sync.engines.elasticsearch.catalogue import Index
from env_sync.engines.elasticsearch.contents import Held
from env_sync.engines.elasticsearch.metadata import Incoming
from env_sync.engines.elasticsearch.session import Cluster, quoted
from env_sync.engines.elasticsearch.slow_logs import as_on


def still_there(sources: Mapping[str, Index], held: Held) -> Index:
    """The index as it stands on the source; `sources` are by what they are called. Raises RestoreFailed."""
    if held.index not in sources:
        raise RestoreFailed(
            f"The index {held.name} went from the source while it was copied. Live is untouched; run the "
            "group again."
        )
    return sources[held.index]


def end_filling(target: Cluster, index: str, source: Index) -> None:
    """Give a filled index of incoming its source's refreshes and slow logs, which it was made without."""
    settings = {
        "index.refresh_interval": source.settings.get("index.refresh_interval"),
        **as_on(source.settings),
    }
    target.ask("PUT", f"/{quoted(index)}/_settings", settings, expand_wildcards="all")


def expecting(incoming: Incoming, read: Mapping[str, int]) -> Incoming:
    """What was read is what must be there; the history of the shards did not come along.

    `read` is the number of documents by index of the source.
    """
    held = tuple(evolve(each, documents=read[each.index], changes=None) for each in incoming.contents.indices)
    return evolve(incoming, contents=evolve(incoming.contents, indices=held))
