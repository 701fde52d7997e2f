"""The swap of incoming and live: one request that moves all aliases, planned from what stands there now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from attrs import frozen

from env_sync.engines.elasticsearch.catalogue import Index
from env_sync.engines.elasticsearch.contents import Contents
from env_sync.engines.elasticsearch.records import Copied

TAKEN_OVER = ("filter", "index_routing", "search_routing", "is_write_index", "is_hidden")


@frozen(kw_only=True)
class Swap:
    """What one request does.

    `removed` are the indices that it removes, `retired` those that were live and only lose their aliases: a
    search that was begun on one of them must be able to end.
    """

    actions: tuple[Mapping[str, Any], ...]
    retired: tuple[str, ...]
    removed: tuple[str, ...]
    warnings: tuple[str, ...]


def wanted_aliases(copied: Sequence[Copied], contents: Contents) -> dict[str, dict[str, dict[str, Any]]]:
    """The aliases that are to be there: by name, then index, with what belongs to each.

    Each index has its own name as an alias, so that whoever asks for it by name finds it.
    """
    held = {each.name: each for each in contents.indices}
    wanted: dict[str, dict[str, dict[str, Any]]] = {}
    for each in copied:
        source = held[each.name]
        own = {"is_hidden": True} if source.hidden else {}
        for alias, body in {each.name: own, **source.aliases}.items():
            wanted.setdefault(alias, {})[each.index] = {
                name: body[name] for name in TAKEN_OVER if name in body
            }
    return wanted


def plan_swap(
    wanted: Mapping[str, Mapping[str, Mapping[str, Any]]],
    standing: Sequence[Index],
    before: Collection[str],
) -> Swap:
    """What to do, given all indices that stand there now, and the names of those that were live `before`.

    An index under a name that an alias is to have is removed, for the alias cannot be there beside it. One
    that also goes by other names, and was not made live here, only loses those that are wanted.
    """
    incoming = {index for indices in wanted.values() for index in indices}
    first: list[Mapping[str, Any]] = []
    retired: list[str] = []
    removed: list[str] = []
    warnings: list[str] = []
    for index in standing:
        if index.index in incoming:
            continue
        ours = index.index in before
        met = sorted(set(index.aliases) & set(wanted))
        others = sorted(set(index.aliases) - set(wanted))
        if index.index in wanted:
            first.append({"remove_index": {"index": index.index}})
            removed.append(index.index)
        elif not met and not ours:
            continue
        else:
            loses = met if others and not ours else sorted(index.aliases)
            first += [
                {"remove": {"index": index.index, "alias": alias, "must_exist": False}} for alias in loses
            ]
            if others and not ours:
                warnings.append(
                    f"{index.index} stays, for it is also called {', '.join(others)}, which does not come "
                    "from the source"
                )
            else:
                retired.append(index.index)
    added = [
        {"add": {"index": index, "alias": alias, **body}}
        for alias, indices in wanted.items()
        for index, body in indices.items()
    ]
    return Swap(
        actions=(*first, *added), retired=tuple(retired), removed=tuple(removed), warnings=tuple(warnings)
    )


def is_live(wanted: Mapping[str, Mapping[str, Any]], standing: Sequence[Index]) -> bool:
    """Whether each alias that is wanted points just where it is to."""
    if any(index.index in wanted for index in standing):
        return False
    for alias, indices in wanted.items():
        if {index.index for index in standing if alias in index.aliases} != set(indices):
            return False
    return True
