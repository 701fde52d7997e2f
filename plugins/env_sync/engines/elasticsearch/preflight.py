"""What would stop a sync of a cluster tonight; writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from env_sync.core.addresses import address_of
from env_sync.core.errors import EnvSyncError
from env_sync.domain.finding import Finding, note, problem
from env_sync.domain.sync import Action, Sync
from env_sync.engines.base.accepted_readers import UNSEEN, accepts
from env_sync.engines.base.contract import Preflight
from env_sync.engines.base.readers import Readers, listed
from env_sync.engines.elasticsearch.access.readers import (
    READ_SECURITY,
    advice_for,
    let_it_tell,
    open_to_anybody,
    other_readers,
    other_writers,
    take_away,
    untold,
)
from env_sync.engines.elasticsearch.catalogue import size_of
from env_sync.engines.elasticsearch.copy_strategy import choose_way, obstacles
from env_sync.engines.elasticsearch.names import CONTENTS, STATE, matches
from env_sync.engines.elasticsearch.record_index import oddities, refusal
from env_sync.engines.elasticsearch.sanitise import check_api
from env_sync.engines.elasticsearch.session import Cluster, quoted
from env_sync.engines.elasticsearch.snapshots import (
    choose_snapshot,
    is_read_only,
    list_snapshots,
    look_at_repository,
)
from env_sync.engines.elasticsearch.sync_indices import indices_about
from env_sync.engines.elasticsearch.transformation import read_transformations
from env_sync.engines.elasticsearch.version import check_direction

LOGS_BODIES = (
    "xpack.security.audit.logfile.events.emit_request_body",
    "logger.org.elasticsearch.http.HttpBodyTracer",
    "logger.org.elasticsearch.http.HttpTracer",
)
"""Settings of a cluster with which it writes what it is sent into a log."""
BLOCKS = ("cluster.blocks.read_only", "cluster.blocks.read_only_allow_delete")


def look_at_cluster(cluster: Cluster) -> Iterator[Finding]:
    """What concerns every sync of a cluster. Raises ServerRefused and what a request raises."""
    _ = cluster.version
    health = cluster.ask("GET", "/_cluster/health")
    if health["status"] == "red":
        yield note(f"{cluster} is red: some of its shards are missing.", "Look into that before the night.")
    settings = cluster.ask("GET", "/_cluster/settings", flat_settings=True)
    for part in ("persistent", "transient"):
        for block in BLOCKS:
            if str(settings.get(part, {}).get(block)).lower() == "true":
                yield problem(f"{cluster} is read-only ({block}).", f"Set {block} to null.")
        for name in LOGS_BODIES:
            said = str(settings.get(part, {}).get(name)).lower()
            if said in ("true", "trace"):
                yield note(
                    f"{cluster} logs the bodies of requests ({name} is {said}), and so documents that are "
                    "not sanitised yet.",
                    f"Set {name} to null, or see who reads those logs.",
                )
    for index in (STATE, CONTENTS):
        if odd := oddities(cluster, index):
            yield problem(refusal(cluster, index, odd))
    for writer in other_writers(cluster):
        yield problem(f"{writer} could change who may touch what on {cluster}.", take_away(cluster))


def look_at_sync(
    sync: Sync, target: Cluster, source: Cluster | None, transformations: Sequence[Path]
) -> Preflight:
    """What concerns one sync; the size is that of live's indices."""
    findings: list[Finding] = []
    size, said = None, ""
    try:
        if sync.action is Action.COPY and source is not None:
            findings += _look_at_copy(sync, target, source)
        elif sync.action is Action.PUSH:
            indices = indices_about(target, sync)
            size = size_of(target, [each.index for each in indices])
            findings += _look_at_push(sync, target, len(indices))
        else:
            look_at_repository(target, sync.url)
            found = list_snapshots(target, sync.url, sync.database)
            snapshot, warnings = choose_snapshot(found, None, sync.database, sync.url)
            findings += [note(f"{warning}.") for warning in warnings]
            if snapshot.version is not None:
                check_direction(snapshot.version, target.version, f"The snapshot {snapshot.name}")
            names = [name for name in snapshot.indices if matches(name, sync.indices)]
            if not names:
                findings.append(note(f"{snapshot.name} holds no index that `indices` is for."))
        read = read_transformations(transformations)
        if read:
            check_api(target, read)
        if sync.writes and (sync.transformation or sync.postprocess):
            readers = other_readers(target)
            findings += _look_at_readers(sync, target, readers)
            said = readers.said
    except EnvSyncError as error:
        findings.append(problem(str(error)))
    return Preflight(findings=tuple(findings), live_size=size, said=said)


def _look_at_readers(sync: Sync, target: Cluster, readers: Readers) -> Iterator[Finding]:
    if readers.refused:
        yield problem(
            f"{listed(readers.refused, len(readers.refused))} could read incoming on {target}, where indices "
            "are before they are sanitised, so nothing is restored.",
            advice_for(target, readers),
        )
    for warning in open_to_anybody(target, readers):
        yield note(
            f"{warning}.", "Switch on the cluster's security, and give applications roles of their own."
        )
    yield from readers.findings(target.connection)
    if not readers.told:
        if sync.must_be_seen and not accepts(target.connection, UNSEEN):
            yield problem(f"{untold(target)}, so nothing is restored.", let_it_tell(target))
        else:
            yield note(
                f"{untold(target)}, so each pull warns of it.",
                f"{READ_SECURITY}; and see that no application has a privilege on env-sync-*, nor on *.",
            )
    registered = target.find(f"/_snapshot/{quoted(sync.url)}") if sync.url else None
    if registered and sync.url in registered:
        yield note(
            f"Whoever can read {_place(registered[sync.url])}, where the repository {sync.url} of {target} "
            "is, can read the snapshots in it as they were taken: that cannot be seen from here.",
            "See that only the clusters can.",
        )


def _place(registered: Mapping[str, Any]) -> str:
    """Where a repository is."""
    settings = registered.get("settings") or {}
    named = ("location", "url", "bucket", "container", "base_path", "path")
    said = " ".join(_told(str(settings[name])) for name in named if settings.get(name))
    return f"the {registered.get('type')} {said}"


def _told(value: str) -> str:
    """Where a setting leads; of a URL its host alone, for a login or a token may stand in all of it."""
    is_url = "//" in value and not value.startswith(("/", "file:"))
    return address_of(value) if is_url or value.startswith("//") else value


def _look_at_push(sync: Sync, target: Cluster, indices: int) -> Iterator[Finding]:
    registered = look_at_repository(target, sync.url)
    if is_read_only(registered):
        yield problem(
            f"The repository {sync.url} is read-only on {target}.",
            "Just one cluster writes to a repository: register it there without `readonly`.",
        )
    if not indices:
        yield problem(f"{target} has no index that the sync is about.", "Correct `indices`.")


def _look_at_copy(sync: Sync, target: Cluster, source: Cluster) -> Iterator[Finding]:
    check_direction(source.version, target.version, f"The source, {source},")
    indices = indices_about(source, sync)
    if not indices:
        yield problem(f"{source} has no index that the sync is about.", "Correct `indices`.")
        return
    _, why = choose_way(sync.copy_way, obstacles(source, target, sync.url, indices))
    yield note(f"{len(indices)} indices will be copied {why}.")
