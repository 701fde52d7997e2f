"""The indices and templates of a cluster, as far as a sync is about them."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from env_sync.core.errors import AccessRefused, ContentRefused, RequestRefused
from env_sync.engines.elasticsearch.names import CONTENTS, STATE, is_about, is_copy, logical_name
from env_sync.engines.elasticsearch.session import Cluster, quoted

OF_DATA_STREAMS = ".ds-"
KINDS: Mapping[str, str] = {
    "index": "/_index_template",
    "component": "/_component_template",
    "legacy": "/_template",
}
"""The kinds of templates, in the order in which what needs another comes after it, turned round."""


@frozen(kw_only=True)
class Index:
    """An index as it stands on a cluster."""

    index: str
    """What it is called there."""
    name: str
    """What applications call it."""
    uuid: str
    closed: bool
    hidden: bool
    aliases: Mapping[str, Any]
    """By name, with what belongs to each: filter, routing, write index."""
    mappings: Mapping[str, Any]
    settings: Mapping[str, Any]
    """Flat, with their full names."""

    @property
    def apart(self) -> bool:
        """Whether it is left alone unless its very name is asked for."""
        return self.closed or self.hidden

    @property
    def replicas(self) -> int:
        """How many copies of each shard there are to be beside the first."""
        return int(self.settings.get("index.number_of_replicas") or 0)

    @property
    def expands(self) -> bool:
        """Whether the cluster itself chooses how many."""
        return str(self.settings.get("index.auto_expand_replicas") or "false") != "false"

    @property
    def keeps_documents_whole(self) -> bool:
        """Whether each document can be read again as it was written."""
        source: Any = self.mappings.get("_source") or {}
        return source.get("enabled", True) is True and not (source.get("includes") or source.get("excludes"))


@frozen(kw_only=True)
class Templates:
    """Templates by kind (`index`, `component`, `legacy`), then name."""

    of: Mapping[str, Mapping[str, Any]]

    def __len__(self) -> int:
        return sum(len(each) for each in self.of.values())


def read_indices(cluster: Cluster, pattern: str = "*") -> list[Index]:
    """Every index that there is under a pattern, also closed and hidden ones, by name."""
    found = cluster.ask(
        "GET", f"/{quoted(pattern)}", expand_wildcards="all", flat_settings=True, allow_no_indices=True
    )
    return [
        Index(
            index=name,
            name=logical_name(name),
            uuid=str(each["settings"]["index.uuid"]),
            closed=each["settings"].get("index.verified_before_close") == "true",
            hidden=each["settings"].get("index.hidden") == "true",
            aliases=each["aliases"],
            mappings=each["mappings"],
            settings=each["settings"],
        )
        for name, each in sorted(found.items())
    ]


def chosen(indices: Iterable[Index], include: Sequence[str], exclude: Sequence[str]) -> list[Index]:
    """The indices that a sync is about.

    Closed, hidden and system ones only where their very name is asked for; what Env Sync made only where it
    is live under its name; its own records never.
    """
    return [each for each in indices if _is_chosen(each, include, exclude)]


def _is_chosen(index: Index, include: Sequence[str], exclude: Sequence[str]) -> bool:
    if index.index in (STATE, CONTENTS) or index.index.startswith(OF_DATA_STREAMS):
        return False
    if is_copy(index.index) and index.name not in index.aliases:
        return False
    return is_about(index.name, include, exclude, apart=index.apart)


def count_documents(cluster: Cluster, index: str) -> int:
    """How many documents an index has, without those that are nested in others."""
    return int(cluster.ask("GET", f"/{quoted(index)}/_count", expand_wildcards="all")["count"])


def count_changes(cluster: Cluster, index: str) -> int:
    """How many changes an index has seen in all its shards: it grows with each write, and travels along."""
    shards = cluster.ask("GET", f"/{quoted(index)}/_stats/docs", level="shards", expand_wildcards="all")[
        "indices"
    ]
    return sum(
        copy["seq_no"]["max_seq_no"] + 1
        for each in shards.values()
        for copies in each["shards"].values()
        for copy in copies
        if copy["routing"]["primary"]
    )


def size_of(cluster: Cluster, indices: Iterable[str]) -> int:
    """How many bytes indices take, replicas not counted."""
    wanted = set(indices)
    found = cluster.ask("GET", "/_stats/store", expand_wildcards="all")["indices"]
    return sum(each["primaries"]["store"]["size_in_bytes"] for name, each in found.items() if name in wanted)


def read_templates(cluster: Cluster, names: Sequence[str]) -> Templates:
    """The templates that are for indices of these names, with their components; none of Elastic's own."""
    found = {kind: _read(cluster, kind) for kind in KINDS}
    kept: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    for kind in ("index", "legacy"):
        for name, body in found[kind].items():
            if not _is_own(name, body) and _is_for(body, names):
                kept[kind][name] = body
    needed = {part for body in kept["index"].values() for part in body.get("composed_of") or ()}
    kept["component"] = {name: body for name, body in found["component"].items() if name in needed}
    return Templates(of=kept)


def write_templates(cluster: Cluster, templates: Templates) -> None:
    """Make the templates what they are on the source. Raises ContentRefused for one that is refused."""
    for kind in ("component", "index", "legacy"):
        for name, body in templates.of.get(kind, {}).items():
            try:
                cluster.ask("PUT", f"{KINDS[kind]}/{quoted(name)}", body)
            except (AccessRefused, RequestRefused) as refused:
                rivals = _rivals(cluster, name, body) if kind == "index" else []
                advice = (
                    f"There it has the patterns and the priority of {', '.join(rivals)}: if the source has "
                    f"renamed that, delete it on {cluster}."
                    if rivals
                    else "Look whether it contradicts a template that is there, and whether the role has "
                    "manage_index_templates."
                )
                raise ContentRefused(
                    f"The {kind} template {name}, which comes from the source, cannot be written: {refused} "
                    f"{advice}"
                ) from None


def of_priority(cluster: Cluster, priority: int) -> list[str]:
    """The index templates that have this priority."""
    return sorted(
        name for name, each in _read(cluster, "index").items() if (each.get("priority") or 0) == priority
    )


def _rivals(cluster: Cluster, name: str, body: Mapping[str, Any]) -> list[str]:
    """The index templates of other names with one of its patterns and its priority: such two cannot be."""
    patterns = set(body.get("index_patterns") or ())
    return sorted(
        other
        for other, each in _read(cluster, "index").items()
        if other != name
        and (each.get("priority") or 0) == (body.get("priority") or 0)
        and patterns & set(each.get("index_patterns") or ())
    )


def _read(cluster: Cluster, kind: str) -> dict[str, Any]:
    try:
        answer = cluster.ask("GET", KINDS[kind])
    except RequestRefused as refused:
        if refused.status in (400, 404, 405):
            return {}
        raise
    if kind == "legacy":
        return dict(answer)
    return {each["name"]: each[f"{kind}_template"] for each in answer[f"{kind}_templates"]}


def _is_own(name: str, body: Mapping[str, Any]) -> bool:
    return name.startswith((".", "env-sync")) or bool((body.get("_meta") or {}).get("managed"))


def _is_for(body: Mapping[str, Any], names: Sequence[str]) -> bool:
    patterns = body.get("index_patterns") or ()
    return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)
