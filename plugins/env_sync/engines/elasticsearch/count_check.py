"""Whether what came has far fewer documents than live: then something went wrong above."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from env_sync.engines.elasticsearch.metadata import Copied

ALL = "all of it"


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
