"""Which roles accounts of MySQL and MariaDB have."""

from __future__ import annotations

import pytest

from env_sync.engines.mysql.access.account_rights import AccountRights
from env_sync.engines.mysql.access.readers import known_accounts
from env_sync.engines.mysql.access.roles import Roles, read_list, read_roles
from tests.unit.mysql_memory import Answers, session

EDGES = [("reading", "%", "app", "%"), ("all", "%", "reading", "%"), ("reading", "%", "all", "%")]
USERS = [("app", "%"), ("env_sync", "%"), ("reading", "%")]


def test_roles_of_roles_are_an_accounts_as_well() -> None:
    roles = read_roles(session({"mysql.role_edges": EDGES}))
    assert roles.all_of("app@%") == {"app@%", "reading@%", "all@%"}
    assert roles.all_of("nobody@%") == {"nobody@%"}
    assert roles.having() == {"reading@%": {"app@%", "all@%"}, "all@%": {"reading@%"}}
    assert roles.mandatory == frozenset()


def test_a_server_without_roles_has_none() -> None:
    assert read_roles(session({"mysql.role_edges": EDGES}, "5.7.44")) == Roles(of={})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", frozenset()),
        ("r1", {"r1@%"}),
        ("`r1`@`%`,r2", {"r1@%", "r2@%"}),
        (" 'r1'@'10.%', \"it's\"@localhost ", {"r1@10.%", "it's@localhost"}),
        ("`a``b` @ h", {"a`b@h"}),
        ("r1,", None),
        ("r1 r2", None),
        ("'r1", None),
        (r"'r\'1'", None),
    ],
)
def test_a_list_of_mandatory_roles(text: str, told: frozenset[str] | None) -> None:
    assert read_list(text) == told


@pytest.mark.parametrize(
    ("mandatory", "alone"),
    [
        ("", True),
        ("`gone`@`%`", True),
        ("harmless", True),
        ("'all'@'%'", False),
        ("reaching", False),
        ("'all", False),
    ],
)
def test_what_everybody_has_an_account_has_as_well(mandatory: str, alone: bool) -> None:
    """So a definer has rights on live alone where the mandatory roles have none elsewhere."""
    answers: Answers = {
        "mysql.user": [(name, "%", name == "all") for name in ("app", "harmless", "all", "reaching")],
        "mysql.db": [("app", "%", "shop"), ("harmless", "%", "shop")],
        "mysql.role_edges": [("all", "%", "reaching", "%")],
    }
    rights = AccountRights(session(answers, settings={"mandatory_roles": mandatory}))
    assert rights.only_on("app@%", "shop") is alone


@pytest.mark.parametrize(
    ("mandatory", "ours"), [("", True), ("other", True), ("reading", False), ("'reading", False)]
)
def test_a_role_that_everybody_has_is_not_ours(mandatory: str, ours: bool) -> None:
    answers: Answers = {"account_locked": USERS, "mysql.role_edges": [("reading", "%", "env_sync", "%")]}
    known = known_accounts(session(answers, settings={"mandatory_roles": mandatory}))
    assert ("reading@%" in known.own) is ours
