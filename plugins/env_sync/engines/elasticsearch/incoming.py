"""Incoming: its template, what its indices are made with, when they are whole, and how they are dropped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve

from env_sync.core.errors import AccessRefused, NoRoom, RequestRefused, RestoreFailed
from env_sync.engines.base.contract import Waiting
from env_sync.engines.elasticsearch.catalogue import (
    Index,
    count_changes,
    count_documents,
    of_priority,
    read_indices,
)
from env_sync.engines.elasticsearch.contents import Contents, Held
from env_sync.engines.elasticsearch.metadata import Copied
from env_sync.engines.elasticsearch.names import COPIES, TEMPLATE, copy_name, copy_prefix
from env_sync.engines.elasticsearch.pipelines import WITHOUT, as_on, named
from env_sync.engines.elasticsearch.session import Cluster, quoted
from env_sync.engines.elasticsearch.slow_logs import QUIET
from env_sync.engines.elasticsearch.task_results import forget_result

LEFT_BEHIND = (
    "index.blocks.*",
    "index.lifecycle.*",
    "index.routing.allocation.*",
)
"""Settings that mean something on the cluster that they come from alone."""
OF_ONE_INDEX = (
    "index.creation_date",
    "index.creation_date_string",
    "index.hidden",
    "index.history.uuid",
    "index.number_of_replicas",
    "index.provided_name",
    "index.refresh_interval",
    "index.resize.*",
    "index.shrink.*",
    "index.uuid",
    "index.verified_before_close",
    "index.version.*",
)
"""Settings that a new index has of its own, or gets when it is filled."""
HIGHEST = 2**63 - 1
"""The highest priority that a template can have: of those for an index that with the highest alone counts."""
WRITERS = "indices:data/write/reindex,indices:data/write/update/byquery,indices:data/write/delete/byquery"


def set_up(cluster: Cluster) -> None:
    """Have the cluster know what incoming is: no write makes such an index, and each one is hidden.

    A process that was thought dead may still write; it must not make anew what was dropped. Raises
    AccessRefused where another template stands in its way.
    """
    body = {
        "index_patterns": [COPIES],
        "priority": HIGHEST,
        "allow_auto_create": False,
        "template": {"settings": {"index.hidden": True}},
        "_meta": {"description": "Incoming of Env Sync: made by it alone, hidden from wildcards"},
    }
    try:
        cluster.ask("PUT", f"/_index_template/{TEMPLATE}", body)
    except RequestRefused:
        rivals = [name for name in of_priority(cluster, HIGHEST) if name != TEMPLATE]
        if not rivals:
            raise
        raise AccessRefused(
            f"The template {TEMPLATE}, which hides incoming on {cluster}, cannot be made beside "
            f"{', '.join(rivals)}, which has the highest priority: find out who made that, and delete it. "
            "Nothing was restored; live is untouched."
        ) from None


def planned(contents: Contents, token: str, sources: Sequence[Index] = ()) -> tuple[Copied, ...]:
    """The indices that incoming will have, with the pipelines of these sources. Raises NameRefused."""
    pipelines = {each.index: as_on(each.settings) for each in sources}
    return tuple(
        Copied(index=copy_name(token, held.name), name=held.name, pipelines=pipelines.get(held.index))
        for held in contents.indices
    )


def remembered(copied: Iterable[Copied], there: Iterable[Index]) -> tuple[Copied, ...]:
    """The indices with the pipelines with which they were restored."""
    found = {each.index: as_on(each.settings) for each in there}
    return tuple(
        each if each.pipelines is not None else evolve(each, pipelines=found.get(each.index))
        for each in copied
    )


def new_settings(index: Index) -> dict[str, Any]:
    """What an index of incoming is made with to be filled document by document."""
    dropped = re.compile("|".join(name.replace(".", r"\.").replace("*", ".*") for name in _NOT_TAKEN))
    settings = {name: value for name, value in index.settings.items() if not dropped.fullmatch(name)}
    return {
        **settings,
        "index.hidden": True,
        "index.number_of_replicas": 0,
        "index.refresh_interval": "-1",
        **QUIET,
        **WITHOUT,
    }


_NOT_TAKEN = (*LEFT_BEHIND, *OF_ONE_INDEX)


def make_index(cluster: Cluster, copied: Copied, source: Index) -> None:
    """Make one index of incoming, empty, as it is on the source. Raises RestoreFailed, AccessRefused."""
    try:
        body = {"settings": new_settings(source), "mappings": source.mappings}
        cluster.ask("PUT", f"/{quoted(copied.index)}", body)
    except RequestRefused as refused:
        raise RestoreFailed(
            f"The index {copied.name} could not be made as it is on the source: {refused} Live is untouched."
        ) from None
    for index in read_indices(cluster, copied.index):
        check_closed(cluster, copied, index, NOTHING_IN_IT)


def look_at_health(cluster: Cluster, copied: Sequence[Copied], token: str) -> Waiting | None:
    """None where every shard of all these indices is where it is to be. Raises RestoreFailed, NoRoom."""
    found = cluster.ask(
        "GET", f"/_cluster/health/{copy_prefix(token)}*", level="indices", expand_wildcards="all"
    )
    health = {name: each["status"] for name, each in found.get("indices", {}).items()}
    missing = [each for each in copied if each.index not in health]
    if missing:
        return Waiting(f"{len(missing)} of {len(copied)} indices are still to appear")
    red = [name for name, status in health.items() if status == "red"]
    if red:
        _check_can_be(cluster, red[0])
    open_ones = [name for name, status in health.items() if status != "green"]
    if open_ones:
        return Waiting(f"{len(open_ones)} of {len(copied)} indices are not green yet")
    return None


def check_closed(cluster: Cluster, copied: Copied, index: Index, what: str, *, shown: bool = False) -> None:
    """Raises AccessRefused where documents of incoming would not stay in it, or others would find it.

    `what` says what became of it. One that a promote began to show is as its source is, but for its names.
    """
    if odd := tuple(open_by(index, copied, shown=shown)):
        raise AccessRefused(
            f"{index.index} on {cluster}, which is to be {copied.name} and is not live yet, is not closed: "
            f"{'; '.join(odd)}. {what} Find out who did that, and remove the template that brings it, if one "
            "does; then run the group again."
        )


def closed(cluster: Cluster, copied: Sequence[Copied]) -> list[Index]:
    """The indices as they stand; one that is gone is left out. Raises AccessRefused for one that is open."""
    by_name = {each.index: each for each in copied}
    found = [each for each in read_indices(cluster, COPIES) if each.index in by_name]
    for each in found:
        check_closed(cluster, by_name[each.index], each, DROPPED)
    return found


NOTHING_IN_IT = "It is dropped, and nothing was written to it; live is untouched."
DROPPED = "Incoming is dropped, and live is untouched."


def open_by(index: Index, copied: Copied, *, shown: bool = False) -> Iterator[str]:
    """What makes an index of incoming open to others, in words."""
    if index.aliases:
        yield f"it has the alias {', '.join(sorted(index.aliases))}"
    if not index.hidden and not shown:
        yield "it is not hidden"
    own = copied.pipelines or {} if shown else {}
    for name, pipeline in named(index.settings):
        if own.get(name) != pipeline:
            yield f"{name} is {pipeline}"
    if policy := index.settings.get("index.lifecycle.name"):
        yield f"the policy {policy} may give it another name"


def set_replicas(
    cluster: Cluster, copied: Sequence[Copied], contents: Contents, standing: Sequence[Index]
) -> None:
    """Have the indices have as many replicas as on the source, or as there are data nodes for."""
    most = max(cluster.data_nodes() - 1, 0)
    held = {each.name: each for each in contents.indices}
    there = {each.index: each for each in standing}
    for each in copied:
        wanted, index = held[each.name].replicas, there.get(each.index)
        if wanted is None or index is None or index.replicas == min(wanted, most):
            continue
        if wanted > most:
            cluster.log.info("%s: %s replicas, where the source has %s", each.name, most, wanted)
        settings = {"index.number_of_replicas": min(wanted, most)}
        cluster.ask("PUT", f"/{quoted(each.index)}/_settings", settings, expand_wildcards="all")


def counted(cluster: Cluster, copied: Sequence[Copied], contents: Contents) -> tuple[Copied, ...]:
    """The indices with who they are and how many documents they have. Raises RestoreFailed, AccessRefused.

    The number must be the source's. Where documents came with the history of their shards, it may differ by
    as many changes as the source saw after it had been counted.
    """
    there = {each.index: each for each in read_indices(cluster, COPIES)}
    held = {each.name: each for each in contents.indices}
    whole = []
    for each in copied:
        index = there.get(each.index)
        if index is None:
            raise RestoreFailed(f"The index {each.name} is not in incoming any more. Live is untouched.")
        check_closed(cluster, each, index, DROPPED)
        cluster.ask("POST", f"/{quoted(each.index)}/_refresh", expand_wildcards="all")
        documents = count_documents(cluster, each.index)
        _compare(held[each.name], documents, cluster, each)
        whole.append(evolve(each, uuid=index.uuid, documents=documents))
    return tuple(whole)


def drop_indices(cluster: Cluster, token: str) -> int:
    """End what still writes to the indices of a token, and drop them; gives how many there were."""
    end_tasks(cluster, token)
    found = read_indices(cluster, f"{copy_prefix(token)}*")
    for each in found:
        cluster.find_and_delete(f"/{quoted(each.index)}")
    return len(found)


def end_tasks(cluster: Cluster, token: str) -> None:
    """End the tasks of the cluster itself that write to the indices of a token."""
    for task in tasks_of(cluster, token):
        cluster.ask("POST", f"/_tasks/{quoted(task)}/_cancel", wait_for_completion=True)
        forget_result(cluster, task)


def tasks_of(cluster: Cluster, token: str) -> dict[str, str]:
    """The tasks at work on the indices of a token: what each is called, and what it says of itself."""
    found = cluster.ask("GET", "/_tasks", actions=WRITERS, detailed=True)
    return {
        name: task["description"]
        for node in found.get("nodes", {}).values()
        for name, task in node["tasks"].items()
        if copy_prefix(token) in task.get("description", "") and not task.get("parent_task_id")
    }


def _compare(held: Held, documents: int, cluster: Cluster, copied: Copied) -> None:
    if held.documents is None:
        return
    slack = 0
    if held.changes is not None:
        slack = max(count_changes(cluster, copied.index) - held.changes, 0)
    if abs(documents - held.documents) > slack:
        raise RestoreFailed(
            f"The index {held.name} has {documents} documents here and {held.documents} on the source: it is "
            "not whole, and is not used. Live is untouched; run the group again."
        )


def _check_can_be(cluster: Cluster, index: str) -> None:
    """Raises an error where the first shard of a red index that is not there will never be."""
    shards: Mapping[str, Any] = cluster.ask(
        "GET", f"/{quoted(index)}/_stats", level="shards", expand_wildcards="all"
    )
    there = shards.get("indices", {}).get(index, {}).get("shards", {})
    settings = cluster.ask("GET", f"/{quoted(index)}/_settings", flat_settings=True, expand_wildcards="all")
    count = int(settings[index]["settings"]["index.number_of_shards"])
    for number in range(count):
        if str(number) in there:
            continue
        body = {"index": index, "shard": number, "primary": True}
        try:
            said = cluster.ask("POST", "/_cluster/allocation/explain", body)
        except RequestRefused:
            return
        deciders = {
            each["decider"]: each["explanation"]
            for node in said.get("node_allocation_decisions") or ()
            for each in node.get("deciders") or ()
            if each["decision"] == "NO"
        }
        if "disk_threshold" in deciders:
            raise NoRoom(
                f"{cluster} has no disk below its watermark for the index {index}. Make room, or raise the "
                "watermark; then run the group again. Live is untouched."
            )
        if "restore_in_progress" in deciders or said["unassigned_info"]["reason"] == "ALLOCATION_FAILED":
            raise RestoreFailed(
                f"A shard of {index} could not be restored: the cluster gave up. Look in the log of "
                f"{cluster}; live is untouched."
            )
        return
