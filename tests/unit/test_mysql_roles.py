"""Which roles accounts of MySQL and MariaDB have."""

from __future__ import annotations

from typing import Any, cast

import pytest

from env_sync.engines.mysql.account_rights import AccountRights
from env_sync.engines.mysql.grants import own_accounts
from env_sync.engines.mysql.roles import Roles, read_roles
from env_sync.engines.mysql.server_version import read_version
from env_sync.engines.mysql.session import Session

EDGES = [("reading", "%", "app", "%"), ("all", "%", "reading", "%"), ("reading", "%", "all", "%")]
USERS = [("app", "%"), ("env_sync", "%"), ("reading", "%")]


class MemorySession:
    """MySQL 8, with its tables; each statement gives the rows of the first table that it names."""

    version = read_version("8.4.0")

    def __init__(self, mandatory: str = "", **tables: list[tuple[Any, ...]]) -> None:
        self._mandatory = mandatory
        self._tables = tables

    def execute(self, statement: str, _: object = None) -> list[tuple[Any, ...]]:
        return next((rows for name, rows in self._tables.items() if f"mysql.{name}" in statement), [])

    def value(self, statement: str) -> str:
        return self._mandatory if "mandatory_roles" in statement else "env_sync@%"


def session(mandatory: str = "", **tables: list[tuple[Any, ...]]) -> Session:
    return cast(Session, MemorySession(mandatory, **tables))


def test_roles_of_roles_are_an_accounts_as_well() -> None:
    roles = read_roles(session(role_edges=EDGES))
    assert roles.all_of("app@%") == {"app@%", "reading@%", "all@%"}
    assert roles.all_of("nobody@%") == {"nobody@%"}
    assert roles.having() == {"reading@%": {"app@%", "all@%"}, "all@%": {"reading@%"}}
    assert not roles.everybody_has_some


def test_a_server_without_roles_has_none() -> None:
    old = MemorySession(role_edges=EDGES)
    old.version = read_version("5.7.44")
    assert read_roles(cast(Session, old)) == Roles(of={}, everybody_has_some=False)


@pytest.mark.parametrize(("mandatory", "alone"), [("", True), ("`all`@`%`", False)])
def test_who_has_a_role_that_everybody_has_is_not_known(mandatory: str, alone: bool) -> None:
    """Then no account has rights on one database alone, and no role is Env Sync's alone."""
    rights = AccountRights(
        session(mandatory, user=[("app", "%", 0)], db=[("app", "%", "shop")], role_edges=[])
    )
    assert rights.only_on("app@%", "shop") is alone
    ours = session(mandatory, user=USERS, role_edges=[("reading", "%", "env_sync", "%")])
    assert ("reading@%" in own_accounts(ours)) is alone
