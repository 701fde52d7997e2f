"""The swap of incoming and live: one request that moves all aliases, planned from what stands there now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from attrs import frozen

from env_sync.core.errors import ContentRefused
from env_sync.engines.elasticsearch.catalogue import Index
from env_sync.engines.elasticsearch.contents import Contents
from env_sync.engines.elasticsearch.metadata import Copied, Replaced
from env_sync.engines.elasticsearch.names import is_about

TAKEN_OVER = ("filter", "index_routing", "search_routing", "is_write_index", "is_hidden")

Wanted = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""The aliases that are to be there: by name, then index, with what belongs to each."""


@frozen(kw_only=True)
class Scope:
    """What a swap may replace: the indices that the sync is about, and those that it made live before."""

    include: Sequence[str]
    exclude: Sequence[str]
    names: Collection[str]
    """By which applications know the indices of incoming."""
    before: Collection[str] = ()
    """The indices that this sync made live before."""
    given: Collection[str] | None = None
    """The aliases that it gave them; None where that is not known."""

    def covers(self, index: Index) -> bool:
        """Whether the sync may remove or hide an index."""
        return index.index in self.before or is_about(
            index.name, self.include, self.exclude, apart=index.apart
        )


@frozen(kw_only=True)
class Swap:
    """What one request does.

    `removed` are the indices that it removes, `retired` those that were live and only lose their aliases: a
    search that was begun on one of them must be able to end.
    """

    actions: tuple[Mapping[str, Any], ...]
    retired: tuple[Replaced, ...]
    removed: tuple[str, ...]
    warnings: tuple[str, ...]


def wanted_aliases(copied: Sequence[Copied], contents: Contents) -> dict[str, dict[str, dict[str, Any]]]:
    """The aliases that are to be there: see Wanted.

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


def plan_swap(wanted: Wanted, standing: Sequence[Index], scope: Scope) -> Swap:
    """What to do, given all indices that stand there now.

    An index under a name that an alias is to have is removed, for the alias cannot be there beside it. One
    that also goes by other names, and was not made live here, only loses those that are wanted. One that the
    sync is not about stays, and keeps its aliases but for names of incoming's indices, which stand for one
    index alone. Raises ContentRefused where such a one stands in the way.
    """
    incoming = {index for indices in wanted.values() for index in indices}
    first: list[Mapping[str, Any]] = []
    retired: list[Replaced] = []
    removed: list[str] = []
    warnings: list[str] = []
    for index in standing:
        if index.index in incoming:
            continue
        ours = index.index in scope.before
        covered = scope.covers(index)
        met = sorted(set(index.aliases) & set(wanted))
        others = sorted(set(index.aliases) - set(wanted))
        loses: Sequence[str] = met
        if index.index in wanted:
            if not covered and index.index not in scope.names:
                raise ContentRefused(
                    f"{index.index} is an alias on the source, and here an index that the sync is not "
                    "about, which is not removed: rename one of them, or take the index into `indices`."
                )
            first.append({"remove_index": {"index": index.index}})
            removed.append(index.index)
            continue
        if not met and not ours:
            continue
        if ours or (covered and not others):
            loses = sorted(index.aliases)
            retired.append(Replaced(index=index.index, uuid=index.uuid, aliases=index.aliases))
            unknown = set(others) - set(scope.given) if ours and scope.given is not None else set()
            if unknown:
                warnings.append(
                    f"{index.name} was also called {', '.join(sorted(unknown))} here, which does not come "
                    "from the source and went with what was live: give it to the new index if it is needed"
                )
        elif covered:
            warnings.append(
                f"{index.index} stays, for it is also called {', '.join(others)}, which does not come "
                "from the source"
            )
        else:
            loses = [alias for alias in met if alias in scope.names]
            warnings.append(_left_alone(index, wanted, loses))
        first += [{"remove": {"index": index.index, "alias": alias, "must_exist": False}} for alias in loses]
    added = [
        {"add": {"index": index, "alias": alias, **body}}
        for alias, indices in wanted.items()
        for index, body in indices.items()
    ]
    return Swap(
        actions=(*first, *added),
        retired=tuple(retired),
        removed=tuple(removed),
        warnings=tuple(warnings),
    )


def is_live(copied: Sequence[Copied], standing: Sequence[Index], wanted: Wanted) -> bool:
    """Whether the swap to these indices was made.

    Until then none of them has one of these aliases, and one request gives them all; what others do with
    them afterwards is their business. Another alias is somebody else's.
    """
    uuids = {each.uuid for each in copied}
    return any(set(index.aliases) & set(wanted) for index in standing if index.uuid in uuids)


def _left_alone(index: Index, wanted: Wanted, loses: Sequence[str]) -> str:
    """The words on an index that the sync is not about. Raises ContentRefused for two write indices."""
    shared = sorted(set(index.aliases) & set(wanted) - set(loses))
    for alias in shared:
        writes = any(body.get("is_write_index") for body in wanted[alias].values())
        if writes and (index.aliases[alias] or {}).get("is_write_index"):
            raise ContentRefused(
                f"The alias {alias} has a write index on the source, and another one here, {index.index}, "
                "that the sync is not about: take is_write_index, or the alias, from that."
            )
    said = f"{index.index} stays, for the sync is not about it"
    if shared:
        said += f"; whoever reads {', '.join(shared)} finds it beside what came from the source"
    if loses:
        said += f"; it is no longer called {', '.join(loses)}, as an index of the source is"
    return said
