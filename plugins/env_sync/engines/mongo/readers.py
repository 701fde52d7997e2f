"""Who else could read a database on a server, as far as the server tells this role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve
from pymongo.errors import OperationFailure

from env_sync.engines.mongo.definitions import shown
from env_sync.engines.mongo.session import Server, Session

ADMINISTRATORS = frozenset(
    {"root", "__system", "restore", "backup", "userAdminAnyDatabase", "dbAdminAnyDatabase"}
)
"""Roles of those who run the server: they can read whatever there is, or give themselves the right to."""
READ_ANY = frozenset({"readAnyDatabase", "readWriteAnyDatabase"})
READ_ONE = frozenset({"read", "readWrite", "dbOwner"})
ROLES: Mapping[str, Any] = {"rolesInfo": 1, "showPrivileges": True}
OPEN = "open_to_anybody"
"""In a connection's extra: that the server has no access control is known, and may be."""
NOT_TOLD = (13, 59, 115, 303)
"""Codes by which a server does not tell, or does not know the question."""


def other_readers(session: Session, database: str, live: str) -> tuple[str, ...] | None:
    """The users, other than this one and administrators, who could read a database, with the role by which.

    Looks at the users of all databases, and at the roles of `admin` and of the database itself: those of
    others cannot reach it (https://www.mongodb.com/docs/manual/core/collection-level-access-control/). None
    where nobody was found and the server does not tell of all. Raises PyMongoError.
    """
    server = session.server
    if not server.connection.extra.get(OPEN) and _lets_anybody_in(server, database):
        return (f"anybody without a login (set `{OPEN}: true` in the connection's extra if that may be)",)
    everywhere: Sequence[Mapping[str, Any]] | None = ()
    if not server.features.users_in_admin:
        everywhere = _told(session, "admin", {"usersInfo": {"forAllDBs": True}}, "users")
    in_admin = _told(session, "admin", {"usersInfo": 1}, "users")
    of_admin = _told(session, "admin", ROLES, "roles")
    users = [*(everywhere or ()), *(in_admin or ()), *(_told(session, live, {"usersInfo": 1}, "users") or ())]
    roles = [*(of_admin or ()), *(_told(session, database, ROLES, "roles") or ())]
    found = readers_among(
        {(str(user.get("db") or "admin"), str(user["user"])): user for user in users},
        {(str(role["db"]), str(role["role"])): role for role in roles},
        database,
        (str(server.connection.extra.get("auth_source") or "admin"), server.connection.login),
    )
    if not found and (everywhere is None or in_admin is None or of_admin is None):
        return None
    return found


def open_to_anybody(server: Server, database: str) -> tuple[str, ...]:
    """A warning where the connection says that anybody may read a database before it is sanitised."""
    if not server.connection.extra.get(OPEN):
        return ()
    warning = (
        f"{database} on {server} could be read by anybody before it was sanitised: `{OPEN}` of connection "
        f"{server.connection.connection_id} allows it"
    )
    return (warning,)


def _lets_anybody_in(server: Server, database: str) -> bool:
    """Whether who brings no login may look into a database: the server has no access control."""
    stranger = evolve(server, connection=evolve(server.connection, login=""))
    with stranger.session() as session:
        try:
            session.command(database, {"listCollections": 1, "nameOnly": True})
        except OperationFailure:
            return False
    return True


def _told(
    session: Session, database: str, question: Mapping[str, Any], name: str
) -> Sequence[Mapping[str, Any]] | None:
    """What a server answers; None where it does not tell."""
    try:
        answer: Sequence[Mapping[str, Any]] = session.command(database, question)[name]
    except OperationFailure as error:
        if error.code in NOT_TOLD:
            return None
        raise
    return answer


def readers_among(
    users: Mapping[tuple[str, str], Mapping[str, Any]],
    roles: Mapping[tuple[str, str], Mapping[str, Any]],
    database: str,
    ours: tuple[str, str],
) -> tuple[str, ...]:
    """The same out of what usersInfo and rolesInfo say, each by database and name, as `ours` is."""
    found = []
    for (where, name), user in users.items():
        if (where, name) == ours:
            continue
        held = _all_roles(user.get("roles") or (), roles)
        if any(each == "admin" and role in ADMINISTRATORS for each, role in held):
            continue
        by = [role for each, role in held if _reads(each, role, roles, database)]
        if by:
            found.append(f"{shown(name)} (by role {shown(sorted(by)[0])})")
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
