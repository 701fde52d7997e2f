"""Who else could read incoming on a cluster, out of what the cluster says of its users, roles and keys."""

from __future__ import annotations

from typing import Any

import pytest

from env_sync.engines.elasticsearch.access.privileges import may_run_as, reach_of, writes_records
from env_sync.engines.elasticsearch.access.readers import Accounts, readers_among

SUPERUSER = {
    "cluster": ["all"],
    "indices": [{"names": ["*"], "privileges": ["all"], "allow_restricted_indices": True}],
    "metadata": {"_reserved": True},
}
WIDE = {"cluster": [], "indices": [{"names": ["*"], "privileges": ["read"]}]}
NARROW = {"cluster": ["monitor"], "indices": [{"names": ["pages", "govuk-*"], "privileges": ["read"]}]}
BUILT_IN = {"_reserved": True}


def on(name: str, *privileges: str) -> dict[str, Any]:
    return {"indices": [{"names": [name], "privileges": list(privileges or ["read"])}]}


@pytest.mark.parametrize(
    "name",
    [
        *("*", "_all", "env-sync-*", "env*", "env-sync-0123456789ab-people", "*-people", "*people*"),
        *(
            "e??-sync-*",
            "???????????????????????*",
            "*a*",
            "env-sync-????????????-*x",
            "env-sync-*-",
            "env-sync-*-people*",
        ),
        *("/env-sync-.*/", "/~(([.]|ilm-history-).*)/", "/.*people/", "/env?.*/", "/pages|env-.*/"),
    ],
)
def test_names_that_are_for_incoming(name: str) -> None:
    assert reach_of(on(name)) == f"read on {name}"


@pytest.mark.parametrize(
    "name",
    [
        *("people", "pages-*", ".env-sync*", "env-sync", "env_sync-*", "env-sync-xyz*"),
        *("env-sync-00\\*", "/pages-[0-9]+/", "/env_sync.*/", "env-sync-\\*", "\\env-sync\\?*", ""),
    ],
)
def test_names_that_are_not(name: str) -> None:
    assert reach_of(on(name)) is None


@pytest.mark.parametrize(
    "privilege",
    [
        *("all", "read", "write", "index", "manage", "view_index_metadata", "read_cross_cluster", "delete"),
        *("indices:data/read/search", "indices:*", "indices:admin/aliases", "one_that_is_not_known", "ALL"),
    ],
)
def test_privileges_that_reach(privilege: str) -> None:
    assert reach_of(on("*", "monitor", privilege)) == f"{privilege.lower()} on *"


@pytest.mark.parametrize("privilege", ["none", "monitor", "maintenance", "indices:monitor/stats"])
def test_privileges_that_do_not(privilege: str) -> None:
    assert reach_of(on("*", privilege)) is None


@pytest.mark.parametrize(
    "privilege",
    [
        *("all", "manage", "manage_security", "create_snapshot", "monitor_snapshot", "manage_slm"),
        "delegate_pki",
        *("cluster:*", "cluster:admin/*", "cluster:admin/snapshot/restore", "cluster:admin/repository/get"),
        *("cluster:admin/xpack/security/*", "*:admin/snap*"),
    ],
)
def test_privileges_on_the_cluster_that_reach(privilege: str) -> None:
    assert reach_of({"cluster": [privilege]}) == f"{privilege} on the cluster"


@pytest.mark.parametrize(
    "privilege",
    [
        "monitor",
        "manage_ilm",
        "cluster:monitor/*",
        "manage_own_api_key",
        "cluster:admin/xpack/security/role/get",
    ],
)
def test_privileges_on_the_cluster_that_do_not(privilege: str) -> None:
    assert reach_of({"cluster": [privilege]}) is None


def test_who_could_change_the_records() -> None:
    assert writes_records(on(".env-sync", "write")) == "write on .env-sync"
    assert writes_records(on(".env*", "create_index")) == "create_index on .env*"
    assert writes_records(on("*-contents", "manage")) == "manage on *-contents"
    # Who may do everything runs the cluster.
    assert writes_records(on("*", "all")) is None
    assert writes_records(on("*", "read", "view_index_metadata", "monitor")) is None
    assert writes_records(on("env-sync-*", "all")) is None
    assert writes_records({"cluster": ["create_snapshot"]}) is None


def test_acting_as_another() -> None:
    assert may_run_as({"run_as": ["env_*"]}, "env_sync")
    assert not may_run_as({"run_as": ["env"]}, "env_sync")
    assert not may_run_as({}, "env_sync")


def found(accounts: Accounts) -> list[str]:
    return sorted(
        f"{each}{', administrator' if each.administrator else ''}"
        for each in readers_among(accounts, "env_sync", reach_of)
    )


def a_user(*roles: str, **fields: Any) -> dict[str, Any]:
    return {"roles": list(roles), "enabled": True, "metadata": {}, **fields}


ROLES: dict[str, dict[str, Any]] = {
    "superuser": SUPERUSER,
    "wide": WIDE,
    "narrow": NARROW,
    "actor": {"run_as": ["e*"]},
}


def test_what_is_not_told_in_full_is_left_out_where_that_is_asked_for() -> None:
    accounts = Accounts(
        roles=ROLES,
        users={"odd": a_user("of a file"), "nosy": a_user("wide")},
        mappings={"made": {"enabled": True, "role_templates": [{}]}, "staff": {"roles": ["wide"]}},
        keys=[
            {"id": "1", "username": "of a directory"},
            {"id": "2", "username": "nosy", "role_descriptors": {"x": WIDE}},
        ],
    )
    names = {each.name for each in readers_among(accounts, "env_sync", reach_of)}
    assert names == {"odd", "nosy", "role_mapping:made", "role_mapping:staff", "api_key:1", "api_key:2"}
    names = {each.name for each in readers_among(accounts, "env_sync", reach_of, doubtful=False)}
    assert names == {"nosy", "role_mapping:staff", "api_key:2"}


def test_users() -> None:
    users = {
        "elastic": a_user("superuser", metadata=BUILT_IN),
        "boss": a_user("superuser"),
        "nosy": a_user("narrow", "wide"),
        "fine": a_user("narrow"),
        "gone": a_user("wide", enabled=False),
        "actor": a_user("actor"),
        "odd": a_user("of a file"),
        "env_sync": a_user("wide"),
    }
    assert found(Accounts(roles=ROLES, users=users)) == [
        "actor (by role actor, which may act as elastic)",
        "boss (by role superuser: all on *)",
        "elastic (by role superuser: all on *), administrator",
        "nosy (by role wide: read on *)",
        "odd (by role of a file, of which the cluster does not tell what it allows)",
    ]
    # Where roles are not told, nothing can be said of those who have one.
    assert found(Accounts(roles={}, users=users, told=False, roles_told=False)) == []
    # Where something else is not told, a role that is not among them still stands in a file.
    assert "odd (by role of a file, of which the cluster does not tell what it allows)" in found(
        Accounts(roles=ROLES, users=users, told=False)
    )


def test_a_role_that_is_called_like_the_administrators() -> None:
    made = {**SUPERUSER, "metadata": {}}
    users = {"elastic": a_user("superuser", metadata=BUILT_IN)}
    assert found(Accounts(roles={"superuser": made}, users=users)) == [
        "elastic (by role superuser: all on *)"
    ]


def test_roles_by_a_mapping() -> None:
    mappings = {
        "staff": {"enabled": True, "roles": ["wide"]},
        "admins": {"enabled": True, "roles": ["superuser"]},
        "off": {"enabled": False, "roles": ["wide"]},
        "made": {"enabled": True, "role_templates": [{"template": {"source": "{{groups}}"}}]},
        "fine": {"enabled": True, "roles": ["narrow"]},
    }
    assert found(Accounts(roles=ROLES, users={}, mappings=mappings)) == [
        "role_mapping:admins (by role superuser: all on *)",
        "role_mapping:made (by roles that are made up at each login)",
        "role_mapping:staff (by role wide: read on *)",
    ]


def test_acting_as_another_by_a_mapping_a_key_or_without_a_login() -> None:
    users = {"nosy": a_user("wide"), "fine": a_user("narrow"), "actor": a_user("actor")}
    mappings = {
        "staff": {"enabled": True, "roles": ["narrow", "actor"]},
        "fine": {"enabled": True, "roles": ["narrow"]},
    }
    keys: list[dict[str, Any]] = [
        {"id": "1", "username": "fine", "role_descriptors": {"x": {"run_as": ["nosy"]}}},
        {"id": "2", "username": "fine", "role_descriptors": {"x": {"run_as": ["fine"]}}},
        {"id": "3", "username": "actor"},
    ]
    accounts = Accounts(roles=ROLES, users=users, mappings=mappings, keys=keys, strangers=["actor"])
    assert found(accounts) == [
        "actor (by role actor, which may act as env_sync)",
        "anybody without a login (by role actor, which may act as env_sync)",
        "api_key:1 (by run_as nosy; it is of fine)",
        "api_key:3 (by what its owner, actor, may)",
        "nosy (by role wide: read on *)",
        "role_mapping:staff (by role actor, which may act as env_sync)",
    ]
    writers = {each.name for each in readers_among(accounts, "env_sync", writes_records, doubtful=False)}
    assert writers == {"actor", "anybody without a login", "role_mapping:staff"}


def test_keys() -> None:
    users = {"fine": a_user("narrow"), "nosy": a_user("wide"), "env_sync": a_user("wide")}

    def a_key(number: str, owner: str, **fields: Any) -> dict[str, Any]:
        return {"id": number, "name": "app", "username": owner, "invalidated": False, **fields}

    keys = [
        a_key("1", "nosy"),
        a_key("2", "fine"),
        a_key("3", "of a directory"),
        a_key("4", "env_sync"),
        a_key("5", "nosy", invalidated=True),
        a_key("6", "nosy", expiration=1000),
        a_key("7", "nosy", role_descriptors={"x": NARROW}),
        a_key("8", "fine", role_descriptors={"x": WIDE}, limited_by=[{"narrow": NARROW}]),
        a_key("9", "fine", role_descriptors={"x": WIDE}, limited_by=[{"wide": WIDE}]),
        a_key("10", "fine", role_descriptors={}, limited_by=[{"wide": WIDE}]),
    ]
    assert found(Accounts(roles=ROLES, users=users, keys=keys)) == [
        "api_key:1 (by what its owner, nosy, may)",
        "api_key:10 (by read on *; it is of fine)",
        # Before 8.4 nobody knows what it allows: what its owner may do today is not what he may have had.
        "api_key:2 (by what its owner, fine, could when it was made, which the cluster does not tell)",
        "api_key:3 (by what its owner, of a directory, may)",
        "api_key:4 (by what its owner, env_sync, may)",
        "api_key:9 (by read on *; it is of fine)",
        "nosy (by role wide: read on *)",
    ]
