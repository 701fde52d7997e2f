from __future__ import annotations

from psycopg import sql

from env_sync.engines.postgresql.access.grants import OWNER, Right, owned_by, rights, statements
from env_sync.engines.postgresql.access.roles import Roles
from env_sync.engines.postgresql.database import _names

APP, SYNC, READER, GONE = 10, 11, 12, 99
ROLES = Roles(
    names={APP: "app", SYNC: "env_sync", READER: 'the "reader"'},
    usable=frozenset({APP, SYNC}),
    ours=SYNC,
    superuser=False,
)


def written(now: dict[Right, bool], wanted: dict[Right, bool], owner: int = APP) -> list[str]:
    found = statements("TABLE", sql.SQL("app.t"), now, wanted, ROLES, owner)
    return [statement.as_string() for statement in found]


def test_nothing_is_written_where_nothing_differs() -> None:
    same = rights([(APP, "SELECT", False), (READER, "SELECT", True)], APP)
    assert same == {Right(OWNER, "SELECT"): False, Right(READER, "SELECT"): True}
    assert written(same, same) == []


def test_only_what_differs_is_written() -> None:
    now = rights([(APP, "SELECT", False), (0, "SELECT", False), (READER, "UPDATE", True)], APP)
    wanted = rights([(APP, "SELECT", True), (READER, "UPDATE", False), (READER, "SELECT", True)], APP)
    assert written(now, wanted) == [
        "REVOKE SELECT ON TABLE app.t FROM PUBLIC CASCADE",
        'REVOKE UPDATE ON TABLE app.t FROM "the ""reader""" CASCADE',
        'GRANT UPDATE ON TABLE app.t TO "the ""reader"""',
        'GRANT SELECT ON TABLE app.t TO "the ""reader""" WITH GRANT OPTION',
    ]


def test_columns_and_roles_that_are_gone() -> None:
    wanted = rights([(READER, "SELECT", False)], APP, 'odd "column"') | rights([(GONE, "SELECT", False)], APP)
    assert written({}, wanted) == ['GRANT SELECT ("odd ""column""") ON TABLE app.t TO "the ""reader"""']


def test_a_former_owner_keeps_what_it_had() -> None:
    wanted = rights([(READER, "SELECT", False), (APP, "SELECT", False)], READER)
    assert owned_by(wanted, READER, APP) == {
        Right(OWNER, "SELECT"): False,
        Right(READER, "SELECT"): False,
    }
    assert owned_by(wanted, READER, READER) == wanted


def test_lists_of_names() -> None:
    assert list(_names('"$user", public')) == ["$user", "public"]
    assert list(_names('"a, ""b""", c')) == ['a, "b"', "c"]
    assert list(_names("")) == []
