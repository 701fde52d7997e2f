"""Who else could read a database on a server, as far as the server tells this role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pymongo.errors import OperationFailure

from env_sync.engines.mongo.definitions import shown
from env_sync.engines.mongo.session import Session

ADMINISTRATORS = frozenset(
    {"root", "__system", "restore", "backup", "userAdminAnyDatabase", "dbAdminAnyDatabase"}
)
"""Roles of those who run the server: they can read whatever there is, or give themselves the right to."""
READ_ANY = frozenset({"readAnyDatabase", "readWriteAnyDatabase"})
READ_ONE = frozenset({"read", "readWrite", "dbOwner"})
NOT_TOLD = (13, 59, 115, 303)
"""Codes by which a server does not tell, or does not know the question."""


def other_readers(session: Session, database: str) -> tuple[str, ...] | None:
    """The users, other than this one and administrators, who could read a database, with the role by which.

    Looks at the users and roles of `admin`, where those of a whole server are. None where the server does not
    tell. Raises PyMongoError.
    """
    ours = session.server.connection.login
    try:
        users = session.command("admin", {"usersInfo": 1})["users"]
        roles = {
            (role["db"], role["role"]): role
            for role in session.command("admin", {"rolesInfo": 1, "showPrivileges": True})["roles"]
        }
    except OperationFailure as error:
        if error.code in NOT_TOLD:
            return None
        raise
    return readers_among(users, roles, database, ours)


def readers_among(
    users: Iterable[Mapping[str, Any]],
    roles: Mapping[tuple[str, str], Mapping[str, Any]],
    database: str,
    ours: str,
) -> tuple[str, ...]:
    """The same out of what usersInfo and rolesInfo say; `roles` are the users' own, by database and name."""
    found = []
    for user in users:
        if user["user"] == ours:
            continue
        held = _all_roles(user.get("roles") or (), roles)
        if any(role in ADMINISTRATORS for _, role in held):
            continue
        by = [role for where, role in held if _reads(where, role, roles, database)]
        if by:
            found.append(f"{shown(str(user['user']))} (by role {shown(sorted(by)[0])})")
    return tuple(sorted(found))


def _all_roles(
    given: Iterable[Mapping[str, Any]], roles: Mapping[tuple[str, str], Mapping[str, Any]]
) -> set[tuple[str, str]]:
    held: set[tuple[str, str]] = set()
    waiting = [(str(each["db"]), str(each["role"])) for each in given]
    while waiting:
        role = waiting.pop()
        if role not in held:
            held.add(role)
            inherited = roles.get(role, {}).get("roles") or ()
            waiting += [(str(each["db"]), str(each["role"])) for each in inherited]
    return held


def _reads(where: str, role: str, roles: Mapping[tuple[str, str], Mapping[str, Any]], database: str) -> bool:
    if where == "admin" and role in READ_ANY:
        return True
    if where == database and role in READ_ONE:
        return True
    for privilege in roles.get((where, role), {}).get("privileges") or ():
        resource = privilege.get("resource") or {}
        if "find" not in (privilege.get("actions") or ()):
            continue
        if resource.get("anyResource") or resource.get("db") in ("", database):
            return True
    return False
