"""Who else could read incoming, out of what a server says of its users and roles."""

from __future__ import annotations

from typing import Any

import pytest

from env_sync.engines.mongo.readers import readers_among

INCOMING = "router__incoming"
Users = dict[tuple[str, str], dict[str, Any]]


OURS = ("admin", "env_sync")


def having(role: tuple[str, str], *, where: str = "admin", name: str = "somebody") -> Users:
    """One user with one role, given as (role, its database)."""
    return {(where, name): {"user": name, "db": where, "roles": [{"role": role[0], "db": role[1]}]}}


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
    ],
)
def test_roles_that_do_not_or_are_administrators(role: tuple[str, str]) -> None:
    assert readers_among(having(role), CUSTOM, INCOMING, OURS) == ()


def test_a_role_of_an_application_that_is_called_like_an_administrators() -> None:
    roles = {("router", "backup"): {"roles": [{"role": "read", "db": INCOMING}], "privileges": []}}
    assert readers_among(having(("backup", "router")), roles, INCOMING, OURS) != ()
    assert readers_among(having(("backup", "admin")), roles, INCOMING, OURS) == ()
