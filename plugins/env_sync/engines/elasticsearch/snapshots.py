"""Snapshots: taking them, judging them, choosing one, and removing those that are not kept any longer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import asdict, fields, frozen

from env_sync.core.errors import (
    NoSuchRepository,
    NothingToRestore,
    RepositoryUnreadable,
    RequestRefused,
    SnapshotFailed,
)
from env_sync.engines.base.contract import Holder
from env_sync.engines.elasticsearch.names import snapshot_name_after, snapshot_time
from env_sync.engines.elasticsearch.session import Cluster, quoted
from env_sync.engines.elasticsearch.version import Version

OURS = "env_sync"
"""Under this the metadata of our snapshots says whose they are."""
RUNNING = frozenset({"IN_PROGRESS", "STARTED", "INIT"})
WHOLE = "SUCCESS"
MANY = 5
"""How many names a message gives."""


@frozen(kw_only=True)
class Owner:
    """Who takes a snapshot; it stands in the snapshot's metadata.

    `token` is of one attempt and no other. Earlier versions wrote neither it nor the environment: both are ""
    then. Where Env Sync did not take the snapshot, everything is.
    """

    token: str = ""
    sync: str = ""
    environment: str = ""
    run: str = ""
    group: str = ""

    def took(self, other: Owner) -> bool:
        """Whether a snapshot with this other owner in its metadata is the one that this owner takes."""
        if other.token:
            return other.token == self.token
        return (other.sync, other.run, other.group) == (self.sync, self.run, self.group)


def owner_of(holder: Holder, token: str, sync: str, environment: str) -> Owner:
    """The owner of a snapshot that a holder takes, with no more of a long name than metadata has room for."""
    return Owner(
        token=token, sync=sync, environment=environment, run=holder.run[-200:], group=holder.group[-200:]
    )


@frozen(kw_only=True)
class Seen:
    """A snapshot as one look finds it, perhaps still being taken."""

    state: str
    owner: Owner


@frozen(kw_only=True)
class Found:
    """A snapshot in a repository. `timestamp` is UTC, of its name; `started` is milliseconds since 1970."""

    name: str
    state: str
    timestamp: dt.datetime
    started: int
    version: Version | None
    indices: tuple[str, ...]
    owner: Owner


@frozen(kw_only=True)
class Kept:
    """Which of its own snapshots a sync keeps: the newest so many, and none older than so long."""

    count: int | None
    age: dt.timedelta | None


def look_at_repository(cluster: Cluster, repository: str) -> Mapping[str, Any]:
    """How a repository is registered. Raises NoSuchRepository."""
    found = cluster.find(f"/_snapshot/{quoted(repository)}")
    if not found or repository not in found:
        raise NoSuchRepository(
            f"The snapshot repository {repository} is not registered on {cluster}. Register it there under "
            "just that name; read-only, unless this cluster is the one that writes to it. Nothing was "
            "touched."
        )
    registered: Mapping[str, Any] = found[repository]
    return registered


def is_read_only(registered: Mapping[str, Any]) -> bool:
    """Whether a repository takes no snapshots from this cluster."""
    settings = registered.get("settings") or {}
    return str(settings.get("readonly", registered.get("type") == "url")).lower() == "true"


def begin_snapshot(
    cluster: Cluster, repository: str, name: str, indices: Sequence[str], owner: Owner
) -> None:
    """Have a snapshot begun; does nothing where one of this name is there. Raises SnapshotFailed.

    Whose the one that is there is, the next look tells.
    """
    body = {
        "indices": ",".join(indices),
        "include_global_state": False,
        "ignore_unavailable": False,
        "partial": False,
        "metadata": {OURS: asdict(owner)},
    }
    try:
        cluster.ask("PUT", f"/_snapshot/{quoted(repository)}/{quoted(name)}", body)
    except RequestRefused as refused:
        if refused.kind == "invalid_snapshot_name_exception":
            return
        raise SnapshotFailed(
            f"The snapshot {name} could not be begun: {refused} Look whether {repository} is read-only "
            "there: just one cluster may write to a repository."
        ) from None


def look_at_snapshot(cluster: Cluster, repository: str, name: str) -> Seen | None:
    """The state of a snapshot, and whose it is; None where this cluster does not see it."""
    found = cluster.find(f"/_snapshot/{quoted(repository)}/{quoted(name)}")
    if not found or not found.get("snapshots"):
        return None
    [snapshot] = found["snapshots"]
    return Seen(state=str(snapshot["state"]), owner=_owner(snapshot))


def find_own(cluster: Cluster, repository: str, name: str, owner: Owner) -> tuple[str, str | None]:
    """The name of the snapshot that an owner takes, and its state; None where it is still to be begun.

    Names tell seconds, so another attempt may have taken this one: then it is that of the next free second.
    """
    while True:
        seen = look_at_snapshot(cluster, repository, name)
        if seen is None:
            return name, None
        if owner.took(seen.owner):
            return name, seen.state
        cluster.log.info("The snapshot %s is not of this attempt: taking one of a later second", name)
        name = snapshot_name_after(name)


def check_state(name: str, state: str | None, where: str) -> bool:
    """Whether a snapshot is whole; False while it is being taken. Raises SnapshotFailed for anything else."""
    if state == WHOLE:
        return True
    if state in RUNNING:
        return False
    raise SnapshotFailed(
        f"The snapshot {name} in {where} is {state or 'not there'}: it lacks data, and is not used. Look in "
        "the log of the cluster that takes it for shards that failed; run the group again when that is "
        "mended."
    )


def size_of_snapshot(cluster: Cluster, repository: str, name: str) -> int:
    """How many bytes a snapshot refers to, those that it shares with others included."""
    found = cluster.ask("GET", f"/_snapshot/{quoted(repository)}/{quoted(name)}/_status")
    return int(found["snapshots"][0]["stats"]["total"]["size_in_bytes"])


def list_snapshots(cluster: Cluster, repository: str, host: str) -> list[Found]:
    """The snapshots of exactly this host, oldest first. Raises RepositoryUnreadable.

    Those of one second are in the order in which they were begun.
    """
    try:
        answer = cluster.ask(
            "GET", f"/_snapshot/{quoted(repository)}/_all", None, timeout=300, ignore_unavailable=True
        )
    except RequestRefused as refused:
        raise unreadable(cluster, repository, refused) from None
    snapshots = []
    for each in answer["snapshots"]:
        timestamp = snapshot_time(host, each["snapshot"])
        if timestamp is not None:
            snapshots.append(
                Found(
                    name=each["snapshot"],
                    state=each["state"],
                    timestamp=timestamp,
                    started=int(each.get("start_time_in_millis") or 0),
                    version=_version(each),
                    indices=tuple(each["indices"]),
                    owner=_owner(each),
                )
            )
    return sorted(snapshots, key=lambda each: (each.timestamp, each.started, each.name))


def unreadable(cluster: Cluster, repository: str, refused: RequestRefused) -> RepositoryUnreadable:
    """The error for a repository that is registered and cannot be read."""
    return RepositoryUnreadable(
        f"{cluster} cannot read the snapshot repository {repository}: {refused} Look at its settings, at "
        "what it may read, and at the versions of the clusters that wrote to it."
    )


def choose_snapshot(
    found: Sequence[Found], asked: dt.datetime | None, host: str, repository: str
) -> tuple[Found, tuple[str, ...]]:
    """The asked snapshot, or the newest whole one; and warnings. Raises NothingToRestore, SnapshotFailed.

    `found` is in the order of `list_snapshots`. Of several whole ones of one second it is the last.
    """
    if asked is not None:
        of_then = [each for each in found if each.timestamp == asked]
        if of_then:
            each = ([one for one in of_then if one.state == WHOLE] or of_then)[-1]
            if not check_state(each.name, each.state, repository):
                raise SnapshotFailed(f"The snapshot {each.name} in {repository} is still being taken.")
            return each, _of_the_same_second(found, each)
        newest = ", ".join(each.name for each in found[-MANY:]) or "none"
        raise NothingToRestore(
            f"{repository} has no snapshot of {host} with the timestamp {asked:%Y-%m-%dT%H%M%SZ}; the newest "
            f"are: {newest}. Live is untouched."
        )
    warnings: list[str] = []
    for each in reversed(found):
        if each.state == WHOLE:
            return each, (*warnings, *_of_the_same_second(found, each))
        warnings.append(f"{each.name} is newer, but {each.state}: an older snapshot is restored")
    raise NothingToRestore(
        f"{repository} has no whole snapshot of {host}. Look whether its push runs, and whether `database` "
        "is the name that its snapshots end with. Live is untouched."
    )


def _of_the_same_second(found: Sequence[Found], chosen: Found) -> tuple[str, ...]:
    others = [
        each.name
        for each in found
        if each.timestamp == chosen.timestamp and each.state == WHOLE and each is not chosen
    ]
    if not others:
        return ()
    return (
        (
            f"{chosen.name} is restored, which was begun last of those with its timestamp, and not "
            f"{', '.join(others)}"
        ),
    )


def no_longer_kept(found: Iterable[Found], owner: Owner, kept: Kept, now: dt.datetime) -> list[str]:
    """The names of those snapshots of a sync that are not to be kept; never the newest whole one.

    `found` is in the order of `list_snapshots`, `owner` any of the sync's.
    """
    ours = [each for each in found if _is_of_sync(each.owner, owner) and each.state not in RUNNING]
    whole = [each for each in ours if each.state == WHOLE]
    spared = whole[-1:]
    counted = whole[-kept.count :] if kept.count else whole
    return [
        each.name
        for each in ours
        if each not in spared
        and (
            (kept.count is not None and each.state == WHOLE and each not in counted)
            or (kept.age is not None and now - each.timestamp > kept.age)
        )
    ]


def remove_snapshots(cluster: Cluster, repository: str, names: Sequence[str]) -> None:
    """Remove snapshots from their repository."""
    for name in names:
        cluster.ask("DELETE", f"/_snapshot/{quoted(repository)}/{quoted(name)}", timeout=600)


def _is_of_sync(one: Owner, other: Owner) -> bool:
    """Whether both are of one sync; an earlier version did not write of which environment it is."""
    return one.sync == other.sync and one.environment in ("", other.environment)


def _owner(snapshot: Mapping[str, Any]) -> Owner:
    """What a snapshot says of its owner; others may have written anything into its metadata."""
    said = (snapshot.get("metadata") or {}).get(OURS)
    if not isinstance(said, Mapping):
        return Owner()
    return Owner(**{each.name: str(said.get(each.name) or "") for each in fields(Owner)})


def _version(snapshot: Mapping[str, Any]) -> Version | None:
    """The version that wrote it; newer servers tell a range (`8.9.0-8.19.21`), or an id (8190399)."""
    text = str(snapshot.get("version") or "").rpartition("-")[2].split(".")
    if len(text) >= 2 and all(part.isdigit() for part in text[:3]):
        return Version(*(int(part) for part in text[:3]))
    number = int(snapshot.get("version_id") or 0)
    if not number:
        return None
    return Version(number // 1_000_000, number // 10_000 % 100, number // 100 % 100)
