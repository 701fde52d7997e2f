"""Who else could read incoming, out of what a server says of its users and roles."""

from __future__ import annotations

from typing import Any

import pytest

from env_sync.engines.mongo.readers import all_readers, readers_among

INCOMING = "router__incoming"
Users = dict[tuple[str, str], dict[str, Any]]


OURS = ("admin", "env_sync")


def having(role: tuple[str, str], *, where: str = "admin", name: str = "somebody") -> Users:
    """One user with one role, given as (role, its database)."""
    return {(where, name): {"user": name, "db": where, "roles": [{"role": role[0], "db": role[1]}]}}


def allowing(resource: dict[str, Any], *actions: str) -> dict[str, Any]:
    return {"roles": [], "privileges": [{"resource": resource, "actions": list(actions)}]}


ANY = {"db": "", "collection": ""}
CUSTOM: dict[tuple[str, str], dict[str, Any]] = {
    ("admin", "of all"): {
        "roles": [],
        "privileges": [{"resource": {"db": "", "collection": ""}, "actions": ["find"]}],
    },
    ("admin", "of one"): {
        "roles": [],
        "privileges": [{"resource": {"db": "other", "collection": ""}, "actions": ["find"]}],
    },
    (INCOMING, "of its own"): {
        "roles": [],
        "privileges": [{"resource": {"db": INCOMING, "collection": ""}, "actions": ["find"]}],
    },
    ("admin", "indirect"): {"roles": [{"role": "readAnyDatabase", "db": "admin"}], "privileges": []},
    ("admin", "oplog"): allowing({"db": "local", "collection": "oplog.rs"}, "find"),
    ("admin", "streams"): allowing(ANY, "changeStream"),
    ("admin", "streams of one"): allowing({"db": INCOMING, "collection": ""}, "changeStream"),
    ("admin", "streams of another"): allowing({"db": "other", "collection": ""}, "changeStream"),
    ("admin", "profiles"): allowing({"db": INCOMING, "collection": ""}, "enableProfiler"),
    ("admin", "one collection"): allowing({"db": "", "collection": "people"}, "find"),
    ("admin", "gives"): allowing({"db": "admin", "collection": ""}, "grantRole"),
    ("admin", "gives in another"): allowing({"db": "other", "collection": ""}, "grantRole"),
    ("admin", "everything"): allowing({"anyResource": True}, "anyAction"),
    ("admin", "applies"): allowing({"cluster": True}, "applyOps"),
    ("admin", "looks"): allowing({"cluster": True}, "viewUser", "serverStatus"),
    ("admin", "in a circle"): {"roles": [{"role": "in a circle", "db": "admin"}], "privileges": []},
}


@pytest.mark.parametrize(
    "role",
    [
        ("readAnyDatabase", "admin"),
        ("readWriteAnyDatabase", "admin"),
        ("read", INCOMING),
        ("dbOwner", INCOMING),
        ("of all", "admin"),
        ("of its own", INCOMING),
        ("indirect", "admin"),
        ("read", "local"),
        ("readWrite", "local"),
        ("dbAdmin", INCOMING),
        ("userAdmin", INCOMING),
        ("userAdmin", "admin"),
        ("dbOwner", "admin"),
        ("userAdminAnyDatabase", "admin"),
        ("dbAdminAnyDatabase", "admin"),
        ("oplog", "admin"),
        ("streams", "admin"),
        ("streams of one", "admin"),
        ("profiles", "admin"),
        ("one collection", "admin"),
        ("gives", "admin"),
        ("everything", "admin"),
        ("applies", "admin"),
    ],
)
def test_roles_that_read_it(role: tuple[str, str]) -> None:
    [found] = readers_among(having(role), CUSTOM, INCOMING, OURS)
    assert found.startswith("somebody (by role ")
    assert readers_among(having(role, name="env_sync"), CUSTOM, INCOMING, OURS) == ()
    # Another one of that name, whom another database knows.
    assert readers_among(having(role, name="env_sync", where="router"), CUSTOM, INCOMING, OURS) != ()


@pytest.mark.parametrize(
    "role",
    [
        ("readWrite", "router"),
        ("readAnyDatabase", "router"),
        ("of one", "admin"),
        ("in a circle", "admin"),
        ("clusterMonitor", "admin"),
        ("root", "admin"),
        ("dbAdmin", "router"),
        ("userAdmin", "router"),
        ("read", "config"),
        ("streams of another", "admin"),
        ("gives in another", "admin"),
        ("looks", "admin"),
    ],
)
def test_roles_that_do_not_or_are_administrators(role: tuple[str, str]) -> None:
    assert readers_among(having(role), CUSTOM, INCOMING, OURS) == ()


def test_a_role_of_an_application_that_is_called_like_an_administrators() -> None:
    roles = {("router", "backup"): {"roles": [{"role": "read", "db": INCOMING}], "privileges": []}}
    assert readers_among(having(("backup", "router")), roles, INCOMING, OURS) != ()
    assert readers_among(having(("backup", "admin")), roles, INCOMING, OURS) == ()


def test_who_runs_the_server_is_told_of() -> None:
    for role in ("root", "__system", "backup", "restore"):
        [found] = all_readers(having((role, "admin")), CUSTOM, INCOMING, OURS)
        assert (str(found), found.administrator) == (f"somebody (by role {role})", True)


def test_who_may_change_the_password_of_our_own_user() -> None:
    ours = ("router", "env_sync")
    assert readers_among(having(("userAdmin", "router")), CUSTOM, INCOMING, ours) != ()


def test_a_user_of_another_database_is_named_with_it() -> None:
    users = having(("read", INCOMING), where="router")
    assert readers_among(users, CUSTOM, INCOMING, OURS) == ("router.somebody (by role read)",)
