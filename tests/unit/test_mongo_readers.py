"""Who else could read incoming, out of what a server says of its users and roles."""

from __future__ import annotations

from typing import Any

import pytest

from env_sync.engines.mongo.readers import readers_among

INCOMING = "router__incoming"


def user(*roles: tuple[str, str], name: str = "somebody") -> dict[str, Any]:
    return {"user": name, "db": "admin", "roles": [{"role": role, "db": where} for role, where in roles]}


CUSTOM: dict[tuple[str, str], dict[str, Any]] = {
    ("admin", "of all"): {
        "roles": [],
        "privileges": [{"resource": {"db": "", "collection": ""}, "actions": ["find"]}],
    },
    ("admin", "of one"): {
        "roles": [],
        "privileges": [{"resource": {"db": "other", "collection": ""}, "actions": ["find"]}],
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
        ("indirect", "admin"),
    ],
)
def test_roles_that_read_it(role: tuple[str, str]) -> None:
    [found] = readers_among([user(role)], CUSTOM, INCOMING, "env_sync")
    assert found.startswith("somebody (by role ")
    assert readers_among([user(role, name="env_sync")], CUSTOM, INCOMING, "env_sync") == ()


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
    assert readers_among([user(role)], CUSTOM, INCOMING, "env_sync") == ()
