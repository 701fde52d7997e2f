"""Which roles accounts of MySQL and MariaDB have."""

from __future__ import annotations

import pytest

from env_sync.engines.mysql.account_rights import AccountRights
from env_sync.engines.mysql.grants import known_accounts
from env_sync.engines.mysql.roles import Roles, read_roles
from tests.unit.mysql_memory import session

EDGES = [("reading", "%", "app", "%"), ("all", "%", "reading", "%"), ("reading", "%", "all", "%")]
USERS = [("app", "%"), ("env_sync", "%"), ("reading", "%")]


def test_roles_of_roles_are_an_accounts_as_well() -> None:
    roles = read_roles(session({"mysql.role_edges": EDGES}))
    assert roles.all_of("app@%") == {"app@%", "reading@%", "all@%"}
    assert roles.all_of("nobody@%") == {"nobody@%"}
    assert roles.having() == {"reading@%": {"app@%", "all@%"}, "all@%": {"reading@%"}}
    assert not roles.everybody_has_some


def test_a_server_without_roles_has_none() -> None:
    assert read_roles(session({"mysql.role_edges": EDGES}, "5.7.44")) == Roles(
        of={}, everybody_has_some=False
    )


@pytest.mark.parametrize(("mandatory", "alone"), [("", True), ("`all`@`%`", False)])
def test_who_has_a_role_that_everybody_has_is_not_known(mandatory: str, alone: bool) -> None:
    """Then no account has rights on one database alone, and no role is Env Sync's alone."""
    settings = {"mandatory_roles": mandatory}
    rights = AccountRights(
        session({"mysql.user": [("app", "%", 0)], "mysql.db": [("app", "%", "shop")]}, settings=settings)
    )
    assert rights.only_on("app@%", "shop") is alone
    ours = session(
        {"mysql.user": USERS, "mysql.role_edges": [("reading", "%", "env_sync", "%")]}, settings=settings
    )
    assert ("reading@%" in known_accounts(ours).own) is alone
