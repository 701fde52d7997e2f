"""Who else could read incoming on a cluster, or change the leases there, as far as the cluster tells.

Roles and users in files of the nodes cannot be asked for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from env_sync.core.errors import AccessRefused, RequestRefused
from env_sync.engines.base.accepted_readers import UNSEEN, accepts
from env_sync.engines.base.contract import Work
from env_sync.engines.base.readers import (
    ANYBODY,
    OPEN,
    WRITERS,
    Reader,
    Readers,
    accepted_by,
    advice,
    listed,
    refuse_writers,
    writers_advice,
)
from env_sync.engines.elasticsearch.access.privileges import (
    Descriptor,
    is_administrator,
    may_run_as,
    reach_beyond_push,
    reach_of,
    writes_records,
)
from env_sync.engines.elasticsearch.session import Cluster

ABOUT = "/_security/_authenticate"
UNTOLD = "of which the cluster does not tell what it allows"
SWITCHED_OFF = "feature_not_enabled_exception"
Reach = Callable[[Descriptor], str | None]
"""By what a role reaches something; None where it does not."""


@frozen(kw_only=True)
class Accounts:
    """What a cluster says of who may use it. `told` is False where it does not tell of all."""

    roles: Mapping[str, Descriptor]
    users: Mapping[str, Mapping[str, Any]]
    mappings: Mapping[str, Mapping[str, Any]] = {}
    keys: Sequence[Mapping[str, Any]] = ()
    told: bool = True
    roles_told: bool = True
    """Whether a role that is not among them stands in a file of a node."""
    strangers: Sequence[str] = ()
    """The roles of whoever brings no login."""


def other_readers(cluster: Cluster) -> Readers:
    """Who could read incoming or the snapshots: users, API keys, who gets a role by a mapping, anybody."""
    return _found(cluster)


def other_writers(cluster: Cluster) -> tuple[Reader, ...]:
    """Those of the accounts that could change the leases and records, and are not accepted."""
    accepted = accepted_by(cluster.connection, WRITERS)
    found = readers_among(_accounts(cluster), cluster.connection.login, writes_records, doubtful=False)
    return tuple(each for each in found if not each.administrator and each.name not in accepted)


def refuse_other_writers(cluster: Cluster) -> None:
    """Raises AccessRefused where others could change the leases."""
    refuse_writers(other_writers(cluster), f"what on {cluster}", take_away(cluster))


def take_away(cluster: Cluster) -> str:
    """What to do about those who could change the leases."""
    return writers_advice(cluster.connection, "privileges on .env-sync*")


def refuse_readers(work: Work, cluster: Cluster, what: str = "nothing was restored.") -> tuple[str, ...]:
    """Raises AccessRefused where others could read incoming; gives warnings where that is accepted.

    `what` ends the error: what became of the pull. Where the cluster must be seen, one that does not tell who
    could is refused as well, unless the connection accepts that. Nobody need be kept from what is not to be
    sanitised.
    """
    sync, log = work.sync, work.log
    if not (sync.transformation or sync.postprocess):
        return ()
    readers = other_readers(cluster)
    if readers.refused:
        raise AccessRefused(
            f"{listed(readers.refused)} could read incoming on {cluster}, where indices are before they are "
            f"sanitised: {what} {advice_for(cluster, readers)}"
        )
    if readers.known:
        log.info(
            "%s can read incoming on %s, and may: %s", len(readers.known), cluster, listed(readers.known)
        )
    warnings = open_to_anybody(cluster, readers)
    if not readers.told:
        if sync.must_be_seen and not accepts(cluster.connection, UNSEEN):
            raise AccessRefused(f"{untold(cluster)}: {what} {let_it_tell(cluster)}")
        warnings += (f"{untold(cluster)}: see that no application has a privilege on env-sync-* or *",)
    for warning in warnings:
        log.warning("%s.", warning)
    return warnings


READ_SECURITY = (
    "Give it the privilege read_security, or before 8.5 the actions that docs/elasticsearch.md names"
)


def let_it_tell(cluster: Cluster) -> str:
    """What to do about a cluster that does not tell of all, where that stops a pull."""
    return (
        f"{READ_SECURITY}; or, where you have seen to it that nobody else can, set `{UNSEEN}: true` in the "
        f"extra of connection {cluster.connection.connection_id}."
    )


def untold(cluster: Cluster) -> str:
    """What to say of a cluster that does not tell of all."""
    return (
        f"{cluster} does not tell {cluster.connection.login or ANYBODY} who else could read incoming, where "
        "indices are before they are sanitised"
    )


def advice_for(cluster: Cluster, readers: Readers) -> str:
    """What to do about those who are refused."""
    if any(each.name == ANYBODY for each in readers.refused):
        return (
            "Switch on the cluster's security; or, if everybody who reaches it may read raw data, set "
            f"`{OPEN}: true` in the extra of connection {cluster.connection.connection_id}."
        )
    return advice(cluster.connection)


def open_to_anybody(cluster: Cluster, readers: Readers) -> tuple[str, ...]:
    """A warning where the connection says that anybody may read incoming, and anybody can."""
    if not any(each.name == ANYBODY for each in readers.known):
        return ()
    warning = (
        f"incoming on {cluster} could be read by anybody before it was sanitised: `{OPEN}` of connection "
        f"{cluster.connection.connection_id} allows it"
    )
    return (warning,)


def readers_among(accounts: Accounts, ours: str, reach: Reach, *, doubtful: bool = True) -> Iterator[Reader]:
    """Those of the accounts that reach something, but for `ours`, by what they have a role for.

    With `doubtful` also those of whom the cluster does not tell in full what they may.
    """
    reached = _reached(accounts, reach)
    if not doubtful:
        accounts = _without_doubt(accounts)
    by_user = {
        name: found
        for name, user in accounts.users.items()
        if name != ours
        and user.get("enabled", True)
        and (found := _by_roles(name, user.get("roles") or (), accounts, reached)) is not None
    }
    yield from by_user.values()
    acted = sorted({ours, *by_user})

    def acts(role: Descriptor) -> str | None:
        return next((each for each in acted if may_run_as(role, each)), None)

    def reaches_or_acts(role: Descriptor) -> str | None:
        target = acts(role)
        return reach(role) or (f"run_as {target}" if target else None)

    acting = _reached(accounts, acts)
    wide = set(acted)
    for name, user in accounts.users.items():
        if name == ours or name in by_user or not user.get("enabled", True):
            continue
        if (actor := _by_acting(name, user.get("roles") or (), acting)) is not None:
            wide.add(name)
            yield actor
    stranger = _by_roles(ANYBODY, accounts.strangers, accounts, reached)
    if stranger := stranger or _by_acting(ANYBODY, accounts.strangers, acting):
        yield stranger
    for name, mapping in accounts.mappings.items():
        if not mapping.get("enabled", True):
            continue
        said = f"role_mapping:{name}"
        if mapping.get("role_templates"):
            yield Reader(name=said, by="roles that are made up at each login")
        elif (found := _by_roles(said, mapping.get("roles") or (), accounts, reached)) is not None:
            # Who it is for stands in a directory elsewhere, so administrators are told by name as well.
            yield evolve(found, administrator=False)
        elif (actor := _by_acting(said, mapping.get("roles") or (), acting)) is not None:
            yield actor
    for key in accounts.keys:
        if (by := _by_key(key, wide, accounts, reaches_or_acts)) is not None:
            yield Reader(name=f"api_key:{key.get('id')}", by=by)


def _without_doubt(accounts: Accounts) -> Accounts:
    """The same without what cannot be told: roles of files, roles that are made up, keys without limits."""
    return evolve(
        accounts,
        roles_told=False,
        mappings={name: each for name, each in accounts.mappings.items() if not each.get("role_templates")},
        keys=[key for key in accounts.keys if any(True for _ in _limits(key))],
    )


def _reached(accounts: Accounts, reach: Reach) -> dict[str, str]:
    """The roles that reach something, with by what."""
    return {name: by for name, role in accounts.roles.items() if (by := reach(role)) is not None}


def _by_roles(
    name: str, roles: Iterable[str], accounts: Accounts, reached: Mapping[str, str]
) -> Reader | None:
    held = [role for role in roles if role in reached]
    # A role that the cluster does not tell of stands in a file of its nodes.
    unknown = [role for role in roles if role not in accounts.roles]
    if held:
        user = accounts.users.get(name) or {}
        built_in = bool((user.get("metadata") or {}).get("_reserved"))
        administrator = built_in and any(is_administrator(role, accounts.roles[role]) for role in held)
        role = sorted(held)[0]
        return Reader(name=name, by=f"role {role}: {reached[role]}", administrator=administrator)
    if unknown and accounts.roles_told:
        return Reader(name=name, by=f"role {sorted(unknown)[0]}, {UNTOLD}")
    return None


def _by_acting(name: str, roles: Iterable[str], acting: Mapping[str, str]) -> Reader | None:
    """Who may act as one who reaches it, or as Env Sync's own account."""
    role = next((role for role in roles if role in acting), None)
    return None if role is None else Reader(name=name, by=f"role {role}, which may act as {acting[role]}")


def _by_key(key: Mapping[str, Any], wide: Collection[str], accounts: Accounts, reach: Reach) -> str | None:
    """An API key allows what stands in it, and of that no more than its owner had when it was made.

    Where the cluster tells neither, as before 8.4, the owner may have had more then than today.
    """
    if key.get("invalidated"):
        return None
    expires = key.get("expiration")
    if expires is not None and dt.datetime.fromtimestamp(int(expires) / 1000, dt.UTC) < dt.datetime.now(
        dt.UTC
    ):
        return None
    owner = str(key.get("username"))
    limits = [_any_reach(roles, reach) for roles in _limits(key)]
    if limits:
        return None if None in limits else f"{limits[0]}; it is of {owner}"
    if owner in accounts.users and owner not in wide:
        return f"what its owner, {owner}, could when it was made, which the cluster does not tell"
    return f"what its owner, {owner}, may"


def _limits(key: Mapping[str, Any]) -> Iterator[Iterable[Descriptor]]:
    """Each of what limits a key, where the cluster tells (from 8.4): all of them must allow it."""
    if own := key.get("role_descriptors"):
        yield own.values()
    for limited in key.get("limited_by") or ():
        yield limited.values()


def _any_reach(roles: Iterable[Descriptor], reach: Reach) -> str | None:
    return next((by for role in roles if (by := reach(role)) is not None), None)


class _Open:
    """A cluster that asks nobody who he is."""


class _Closed:
    """One that wants a login."""


def _found(cluster: Cluster) -> Readers:
    accepted = accepted_by(cluster.connection)
    stranger = _stranger(cluster)
    if isinstance(stranger, _Open):
        anybody = Reader(name=ANYBODY, by="there is no access control")
        return Readers(found=(anybody,), accepted=accepted | _anybody(cluster))
    accounts = _accounts(cluster)
    if not isinstance(stranger, _Closed):
        accounts = evolve(accounts, strangers=stranger)
    login = cluster.connection.login
    found = readers_among(accounts, login, reach_of)
    if pushing := accepted_by(cluster.connection, WRITERS):
        # An account of Env Sync that pushes takes snapshots; of incoming it must not see more than others.
        beyond = {each.name for each in readers_among(accounts, login, reach_beyond_push)}
        accepted |= pushing - beyond
    return Readers(
        found=tuple(sorted(found, key=str)), accepted=accepted | _anybody(cluster), told=accounts.told
    )


def _anybody(cluster: Cluster) -> frozenset[str]:
    return frozenset({ANYBODY}) if accepts(cluster.connection, OPEN) else frozenset()


def _stranger(cluster: Cluster) -> _Open | _Closed | Sequence[str]:
    """What a cluster is for who brings no login; the roles of one where it gives strangers some."""
    with cluster.without_login() as stranger:
        try:
            said = stranger.ask("GET", ABOUT)
        except AccessRefused:
            return _Closed()
        except RequestRefused:
            # No security that can be asked.
            try:
                stranger.ask("GET", "/_cluster/health")
            except AccessRefused:
                return _Closed()
            return _Open()
        return tuple(map(str, said.get("roles") or ()))


def _accounts(cluster: Cluster) -> Accounts:
    roles, users, mappings = (
        _told(cluster, f"/_security/{kind}") for kind in ("role", "user", "role_mapping")
    )
    keys = _told(cluster, "/_security/api_key", **_of_keys(cluster))
    return Accounts(
        roles=roles or {},
        users=users or {},
        mappings=mappings or {},
        keys=(keys or {}).get("api_keys") or (),
        told=None not in (roles, users, mappings, keys),
        roles_told=roles is not None,
    )


def _of_keys(cluster: Cluster) -> dict[str, bool]:
    """From 8.5 a cluster tells what limits a key."""
    version = cluster.version
    return {"with_limited_by": True} if (version.major, version.minor) >= (8, 5) else {}


def _told(cluster: Cluster, path: str, **params: bool) -> Mapping[str, Any] | None:
    """What a cluster answers, nothing where that is switched off; None where it does not tell."""
    try:
        answer: Mapping[str, Any] = cluster.ask("GET", path, None, timeout=None, **params)
    except RequestRefused as refused:
        # A cluster of 7.17 that speaks no TLS has no API keys unless they are switched on.
        return {} if refused.kind == SWITCHED_OFF else None
    except AccessRefused:
        return None
    return answer
