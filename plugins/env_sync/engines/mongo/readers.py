"""Who else could read a database on a server, as far as the server tells this role."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve
from pymongo.errors import OperationFailure

from env_sync.engines.mongo.definitions import shown
from env_sync.engines.mongo.session import Server, Session
from env_sync.engines.readers import (
    ANYBODY,
    OPEN,
    WRITERS,
    Reader,
    Readers,
    accepted_by,
    advice,
    listed,
    refuse_writers,
    writers_advice,
)
from env_sync.errors import AccessRefused

ADMINISTRATORS = frozenset({"root", "__system", "restore", "backup"})
"""Roles of those who run the server, or keep copies of all of it: they are told of, and stop nothing."""
READ_ANY = frozenset({"readAnyDatabase", "readWriteAnyDatabase", "dbAdminAnyDatabase"})
READ_ONE = frozenset({"read", "readWrite", "dbOwner", "dbAdmin", "userAdmin"})
"""`dbAdmin` may switch on the profiler, which keeps documents, and read it; `userAdmin` may give a right."""
READ_OPLOG = frozenset({"read", "readWrite", "dbOwner"})
"""On `local`: each change of every collection is in its oplog."""
GIVE_RIGHTS = frozenset({"userAdminAnyDatabase", "userAdmin", "dbOwner"})
"""On `admin`, and where our own user is."""
LOOKS = frozenset({"find", "changeStream", "anyAction"})
SETS_UP = frozenset({"enableProfiler", "createUser", "createRole", "grantRole", "changePassword"})
"""Actions on a database after which one may look into it."""
RIGHTS = frozenset({"createUser", "createRole", "grantRole", "changePassword", "anyAction"})
OF_THE_SERVER = frozenset({"applyOps", "internal", "impersonate", "anyAction"})
OPLOG = "local"
WRITE_ONE = frozenset({"readWrite", "dbOwner", "dbAdmin", "userAdmin"})
ONLY_READS = frozenset(
    {
        *("find", "listCollections", "listIndexes", "collStats", "dbStats", "dbHash", "indexStats"),
        *("changeStream", "killCursors", "planCacheRead", "validate", "viewUser", "viewRole"),
    }
)
ROLES: Mapping[str, Any] = {"rolesInfo": 1, "showPrivileges": True}
NOT_TOLD = (13, 59, 115, 303)
"""Codes by which a server does not tell, or does not know the question."""


def other_readers(session: Session, database: str, live: str) -> Readers:
    """The users, other than this one, who could read a database, its profile or the oplog; by which role.

    Looks at the users of all databases, and at the roles of `admin` and of the database itself: those of
    others cannot reach it (https://www.mongodb.com/docs/manual/core/collection-level-access-control/).
    Raises PyMongoError, and AccessRefused where the connection does not say clearly whom it accepts.
    """
    server = session.server
    accepted = accepted_by(server.connection)
    if _lets_anybody_in(server, database):
        allowed = {ANYBODY} if server.connection.extra.get(OPEN) else set()
        found = Reader(name=ANYBODY, by="there is no access control")
        return Readers(found=(found,), accepted=accepted | allowed)
    everywhere: Sequence[Mapping[str, Any]] | None = ()
    if not server.features.users_in_admin:
        everywhere = _told(session, "admin", {"usersInfo": {"forAllDBs": True}}, "users")
    in_admin = _told(session, "admin", {"usersInfo": 1}, "users")
    of_admin = _told(session, "admin", ROLES, "roles")
    users = [*(everywhere or ()), *(in_admin or ()), *(_told(session, live, {"usersInfo": 1}, "users") or ())]
    roles = [*(of_admin or ()), *(_told(session, database, ROLES, "roles") or ())]
    return Readers(
        found=all_readers(
            {(str(user.get("db") or "admin"), str(user["user"])): user for user in users},
            {(str(role["db"]), str(role["role"])): role for role in roles},
            database,
            (str(server.connection.extra.get("auth_source") or "admin"), server.connection.login),
        ),
        accepted=accepted,
        told=None not in (everywhere, in_admin, of_admin),
    )


def other_writers(session: Session) -> tuple[Reader, ...]:
    """The users, other than this one, with a role on the database of the leases, that are not accepted.

    What a role on all databases allows counts as well where something is sanitised: who has it reads
    incoming, too. Raises PyMongoError, AccessRefused.
    """
    server = session.server
    database = server.lease_database
    accepted = accepted_by(server.connection, WRITERS)
    everywhere: Sequence[Mapping[str, Any]] | None = ()
    if not server.features.users_in_admin:
        everywhere = _told(session, "admin", {"usersInfo": {"forAllDBs": True}}, "users")
    users = [*(everywhere or ()), *(_told(session, "admin", {"usersInfo": 1}, "users") or ())]
    of_admin = _told(session, "admin", ROLES, "roles") or ()
    found = writers_among(
        {(str(user.get("db") or "admin"), str(user["user"])): user for user in users},
        {(str(role["db"]), str(role["role"])): role for role in of_admin},
        database,
        (str(server.connection.extra.get("auth_source") or "admin"), server.connection.login),
    )
    return tuple(each for each in found if each.name not in accepted)


def refuse_other_writers(session: Session) -> None:
    """Raises AccessRefused where others could change the leases. Raises PyMongoError."""
    server = session.server
    touch = f"which database, in {server.lease_database} on {server}"
    refuse_writers(other_writers(session), touch, take_away(server))


def take_away(server: Server) -> str:
    """What to do about those who could change the leases."""
    return writers_advice(server.connection, f"roles on {server.lease_database}")


def writers_among(
    users: Mapping[tuple[str, str], Mapping[str, Any]],
    roles: Mapping[tuple[str, str], Mapping[str, Any]],
    database: str,
    ours: tuple[str, str],
) -> tuple[Reader, ...]:
    """Those of the users who may change what is in a database, by a role on it alone."""
    found = _others(users, roles, ours, lambda where, role: _writes(where, role, roles, database))
    return tuple(each for each in found if not each.administrator)


def refuse_readers(
    session: Session, database: str, live: str, log: logging.Logger, what: str
) -> tuple[str, ...]:
    """Raises AccessRefused where others could read a database; gives warnings where that is accepted.

    `what` ends the error: what became of the pull. Raises PyMongoError.
    """
    server = session.server
    if refused := profiled(session, database):
        raise AccessRefused(f"{refused}: {what} {UNPROFILED.format(database)}")
    readers = other_readers(session, database, live)
    if readers.refused:
        raise AccessRefused(
            f"{listed(readers.refused)} could read {database} on {server}, where the dump is before it is "
            f"sanitised: {what} {advice_for(server, readers)}"
        )
    if readers.known:
        log.info(
            "%s can read %s on %s, and may: %s", len(readers.known), database, server, listed(readers.known)
        )
    if not readers.told:
        log.warning(
            "%s does not tell who else could read %s, where the dump is before it is sanitised: see that no "
            "application has a role such as readAnyDatabase there.",
            server,
            database,
        )
    return open_to_anybody(server, database, readers)


UNPROFILED = (
    "As an administrator: db.getSiblingDB({0!r}).setProfilingLevel(0), and drop system.profile there."
)


def profiled(session: Session, database: str) -> str:
    """Who would keep the documents of a database as well, in words: the profiler; "" where it is off.

    Raises PyMongoError.
    """
    if not session.server.features.profiler:
        return ""
    try:
        level = int(session.command(database, {"profile": -1})["was"])
    except OperationFailure as error:
        if error.code in NOT_TOLD:
            return ""
        raise
    if not level:
        return ""
    return (
        f"the profiler of {database} on {session.server} is on (level {level}): it would keep documents that "
        "are not sanitised in system.profile"
    )


def advice_for(server: Server, readers: Readers) -> str:
    """What to do about those who are refused."""
    if any(each.name == ANYBODY for each in readers.refused):
        return (
            "Give the server access control; or, if everybody who reaches it may read raw data, set "
            f"`{OPEN}: true` in the extra of connection {server.connection.connection_id}."
        )
    return f"Give them roles on their own databases instead. {advice(server.connection)}"


def open_to_anybody(server: Server, database: str, readers: Readers) -> tuple[str, ...]:
    """A warning where the connection says that anybody may read a database, and anybody can."""
    if not any(each.name == ANYBODY for each in readers.known):
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
    """Those of them who are no administrators, in words."""
    found = all_readers(users, roles, database, ours)
    return tuple(str(each) for each in found if not each.administrator)


def all_readers(
    users: Mapping[tuple[str, str], Mapping[str, Any]],
    roles: Mapping[tuple[str, str], Mapping[str, Any]],
    database: str,
    ours: tuple[str, str],
) -> tuple[Reader, ...]:
    """The same out of what usersInfo and rolesInfo say, each by database and name, as `ours` is."""
    return _others(users, roles, ours, lambda where, role: _reads(where, role, roles, database, ours[0]))


def _others(
    users: Mapping[tuple[str, str], Mapping[str, Any]],
    roles: Mapping[tuple[str, str], Mapping[str, Any]],
    ours: tuple[str, str],
    allows: Callable[[str, str], bool],
) -> tuple[Reader, ...]:
    """Who, but for `ours`, has a role that allows something, by its database and name, or runs the server."""
    found = []
    for (where, name), user in users.items():
        if (where, name) == ours:
            continue
        said = _named(where, name)
        held = _all_roles(user.get("roles") or (), roles)
        if runs := sorted(role for each, role in held if each == "admin" and role in ADMINISTRATORS):
            found.append(Reader(name=said, by=f"role {runs[0]}", administrator=True))
        elif by := sorted(role for each, role in held if allows(each, role)):
            found.append(Reader(name=said, by=f"role {shown(by[0])}"))
    return tuple(sorted(found, key=str))


def _named(where: str, name: str) -> str:
    """A user as messages and connections name it; those of `admin` need no more than their name."""
    return shown(name) if where == "admin" else f"{shown(where)}.{shown(name)}"


def _writes(where: str, role: str, roles: Mapping[tuple[str, str], Mapping[str, Any]], database: str) -> bool:
    if where == database and role in WRITE_ONE:
        return True
    return any(
        (privilege.get("resource") or {}).get("db") == database
        and not frozenset(privilege.get("actions") or ()) <= ONLY_READS
        for privilege in roles.get((where, role), {}).get("privileges") or ()
    )


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


def _reads(
    where: str, role: str, roles: Mapping[tuple[str, str], Mapping[str, Any]], database: str, ours: str
) -> bool:
    if where == "admin" and role in READ_ANY:
        return True
    if where == database and role in READ_ONE:
        return True
    if where == OPLOG and role in READ_OPLOG:
        return True
    if where in ("admin", ours) and role in GIVE_RIGHTS:
        return True
    return any(
        _allows(privilege.get("resource") or {}, frozenset(privilege.get("actions") or ()), database, ours)
        for privilege in roles.get((where, role), {}).get("privileges") or ()
    )


def _allows(resource: Mapping[str, Any], actions: frozenset[str], database: str, ours: str) -> bool:
    """Whether a privilege shows what is in a database, or lets somebody give himself the right to see it."""
    if resource.get("anyResource"):
        return bool(actions & (LOOKS | SETS_UP | OF_THE_SERVER))
    if resource.get("cluster"):
        return bool(actions & OF_THE_SERVER)
    of = resource.get("db")
    if of in ("", database) and actions & (LOOKS | SETS_UP):
        return True
    if of == OPLOG and actions & LOOKS:
        return True
    return of in ("admin", ours) and bool(actions & RIGHTS)
