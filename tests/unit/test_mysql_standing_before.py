"""Which statements of a transformation may meet a trigger that keeps what they were to change."""

from __future__ import annotations

from typing import Any, cast

import pytest

from env_sync.engines.mysql.existing_triggers import StandingBefore, read_standing
from env_sync.engines.mysql.session import Session

TRIGGERS = [
    ("keep", "users", "BEGIN SET NEW.`Email` = OLD.`Email`; /* new.phone */ END", "", 1),
    ("later", "users", "BEGIN INSERT INTO log VALUES (NEW.phone); END", "", 0),
]
CODE = [
    ("People", "select `db`.`users`.`id`, `db`.`users`.`email` from `db`.`users`"),
    ("folk", "select `people`.`email` from `db`.`people`"),
    ("clean", "BEGIN UPDATE folk SET email = 'x'; END"),
    ("hidden", None),
]


class Answering:
    """A session that tells of these triggers, views and routines."""

    def __init__(self) -> None:
        self.triggers = TRIGGERS

    def execute(self, statement: str, _: object) -> list[Any]:
        return self.triggers if "TRIGGERS" in statement else CODE


def told(text: str, session: Answering) -> list[str]:
    """The warnings of one statement."""
    answering = cast(Session, session)
    standing: StandingBefore = read_standing(answering, "db")
    return list(standing.warnings(answering, "a.sql:1", text, None))


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE users SET email = 'x'",
        "update low_priority `Users` set `EMAIL` = 'x'",
        "UPDATE db.users u JOIN b ON b.id = u.id SET u.email = b.email",
        "INSERT INTO users (id) VALUES (1) ON DUPLICATE KEY UPDATE email = 'x'",
        "WITH a AS (SELECT 1) UPDATE folk SET email = 'x'",
        "CALL clean()",
        "PREPARE p FROM 'UPDATE users SET email = 1'",
    ],
)
def test_one_that_may_meet_it_is_told(text: str) -> None:
    [warning] = told(text, Answering())
    assert warning.startswith("a.sql:1 a statement went through trigger keep of users, which came with")


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE users SET phone = 'x'",
        "UPDATE users SET phone = 'x' -- email",
        "DELETE FROM users WHERE email = 'x'",
        "UPDATE log SET email = 'x'",
        "CALL hidden()",
    ],
)
def test_one_that_changes_something_else_is_not(text: str) -> None:
    assert told(text, Answering()) == []


def test_a_trigger_is_read_as_its_own_mode_has_it() -> None:
    session = Answering()
    text = "BEGIN SET @a = '\\\\'; SET @b = ' # '; SET NEW.email = OLD.email; END"
    session.triggers = [("keep", "users", text, "NO_BACKSLASH_ESCAPES", 1)]
    assert len(told("UPDATE users SET email = 'x'", session)) == 1


def test_one_that_the_transformation_dropped_is_not_told() -> None:
    session = Answering()
    standing = read_standing(cast(Session, session), "db")
    session.triggers = []
    text = "UPDATE users SET email = 'x'"
    assert list(standing.warnings(cast(Session, session), "a.sql:1", text, None)) == []
