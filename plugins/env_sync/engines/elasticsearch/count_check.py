"""Whether what came has far fewer documents than live: then something went wrong above."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from env_sync.core.errors import DumpTooSmall
from env_sync.engines.base.contract import Work
from env_sync.engines.elasticsearch.catalogue import read_indices
from env_sync.engines.elasticsearch.metadata import Copied, Incoming, Live, read_record
from env_sync.engines.elasticsearch.names import COPIES, is_about
from env_sync.engines.elasticsearch.session import Cluster
from env_sync.engines.elasticsearch.swap import wanted_aliases

ALL = "all of it"


def check_counts(work: Work, target: Cluster, incoming: Incoming, *, asked: bool) -> tuple[str, ...]:
    """Raises DumpTooSmall for far fewer documents than live has; warnings where they were asked for."""
    live, sync = read_record(target, Live, work.sync.name), work.sync
    if live is None:
        return ()
    aliases: dict[str, list[str]] = {}
    about = [each for each in live.indices if is_about(each.name, sync.indices, sync.excluded_indices)]
    uuids = {each.uuid for each in about}
    for index in read_indices(target, COPIES):
        if index.uuid in uuids:
            for alias in index.aliases:
                aliases.setdefault(alias, []).append(index.index)
    shrunken = find_shrunken(
        by_alias(incoming.indices, wanted_aliases(incoming.indices, incoming.contents)),
        by_alias(about, aliases),
        sync.options.min_size_ratio,
    )
    if not shrunken:
        return ()
    said = f"{'; '.join(shrunken)}: less than {sync.options.min_size_ratio:g} of it (min_size_ratio)"
    if asked:
        return (f"{said}; restored because it was asked for",)
    advice = (
        "set min_size_ratio of this sync lower, and run it again"
        if sync.source_hostname
        else f"ask for {incoming.snapshot} by its timestamp"
    )
    raise DumpTooSmall(
        f"{said}, so it is not promoted. Look whether these indices are being built anew on the source. "
        f"If it is right, {advice}. Live is untouched."
    )


def by_alias(copied: Sequence[Copied], aliases: Mapping[str, Collection[str]]) -> dict[str, int]:
    """How many documents came to the indices behind each alias, and to all of them; uncounted ones are none.

    By alias, for an index that is built anew above often has a new name and the old alias.
    """
    came = {each.index: _came(each) for each in copied}
    counts = {alias: sum(came.get(index, 0) for index in indices) for alias, indices in aliases.items()}
    return {**counts, ALL: sum(came.values())}


def find_shrunken(new: Mapping[str, int], old: Mapping[str, int], ratio: float) -> list[str]:
    """In words, what has less than that share of the documents it had, of what both have."""
    return [
        f"{name} has {new[name]} documents, and live has {old[name]}"
        for name in sorted(new.keys() & old.keys())
        if new[name] < ratio * old[name]
    ]


def _came(copied: Copied) -> int:
    return (copied.brought if copied.brought is not None else copied.documents) or 0
