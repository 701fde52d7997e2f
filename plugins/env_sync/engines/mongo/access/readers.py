"""Who else could read a database on a server, as far as the server tells this role."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen
from pymongo.errors import OperationFailure

from env_sync.core.errors import AccessRefused
from env_sync.engines.base.accepted_readers import UNSEEN, accepts
from env_sync.engines.base.readers import (
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
from env_sync.engines.mongo.access.privileges import ADMIN, Accounts, Key, guarded_by, readers_in, writers_in
from env_sync.engines.mongo.session import Server, Session

ROLES: Mapping[str, Any] = {"rolesInfo": 1, "showPrivileges": True}
NOT_TOLD = (13, 59, 115, 303)
"""Codes by which a server does not tell, or does not know the question."""


def other_readers(
    session: Session, database: str, live: str, collections: Collection[str] | None = None
) -> Readers:
    """The users, other than this one, who could read a database, its profile or the oplog; by which role.

    `collections` are those that it will have; None for whatever they are. A role can reach only its own
    database, unless it is one of `admin`, so of others it is asked where somebody has one that matters
    (https://www.mongodb.com/docs/manual/core/collection-level-access-control/).
    Raises PyMongoError, and AccessRefused where the connection does not say clearly whom it accepts.
    """
    server = session.server
    accepted = accepted_by(server.connection)
    if _lets_anybody_in(server, database):
        allowed = {ANYBODY} if accepts(server.connection, OPEN) else set()
        found = Reader(name=ANYBODY, by="there is no access control")
        return Readers(found=(found,), accepted=accepted | allowed)
    accounts, told = _accounts(session, live)
    accounts = _with_roles_of(session, accounts, [database])
    while True:
        readers = readers_in(accounts, database, collections)
        matter = guarded_by(accounts, readers) & accounts.databases_of_roles()
        if not (more := sorted(matter - accounts.asked)):
            return Readers(found=tuple(sorted(readers.values(), key=str)), accepted=accepted, told=told)
        accounts = _with_roles_of(session, accounts, more)


def other_writers(session: Session) -> tuple[Reader, ...]:
    """The users, other than this one, who may change the leases, that are not accepted.

    See `writers_in`. Raises PyMongoError, AccessRefused.
    """
    server = session.server
    database = server.lease_database
    accepted = accepted_by(server.connection, WRITERS)
    accounts, _ = _accounts(session)
    if database in accounts.databases_of_roles():
        accounts = _with_roles_of(session, accounts, [database])
    return tuple(each for each in writers_in(accounts, database) if each.name not in accepted)


def _accounts(session: Session, *databases: str) -> tuple[Accounts, bool]:
    """The users of all databases with the roles of `admin`; and whether the server tells of all of them.

    Where it does not tell of all databases at once it is asked for those of `databases`.
    """
    server = session.server
    everywhere: Sequence[Mapping[str, Any]] | None = ()
    if not server.features.users_in_admin:
        everywhere = _told(session, ADMIN, {"usersInfo": {"forAllDBs": True}}, "users")
    in_admin = _told(session, ADMIN, {"usersInfo": 1}, "users")
    of_admin = _told(session, ADMIN, ROLES, "roles")
    users = [*(everywhere or ()), *(in_admin or ())]
    for each in databases:
        users += _told(session, each, {"usersInfo": 1}, "users") or ()
    accounts = Accounts(
        users={(str(user.get("db") or ADMIN), str(user["user"])): user for user in users},
        roles=_by_key(of_admin or ()),
        ours=(str(server.connection.extra.get("auth_source") or ADMIN), server.connection.login),
    )
    return accounts, None not in (everywhere, in_admin, of_admin)


def _with_roles_of(session: Session, accounts: Accounts, databases: Iterable[str]) -> Accounts:
    """The same with the roles of more databases, as far as the server tells."""
    for database in databases:
        roles = _told(session, database, ROLES, "roles")
        accounts = evolve(
            accounts,
            roles={**accounts.roles, **_by_key(roles or ())},
            asked=accounts.asked | {database},
            untold=accounts.untold if roles is not None else accounts.untold | {database},
        )
    return accounts


def _by_key(roles: Iterable[Mapping[str, Any]]) -> dict[Key, Mapping[str, Any]]:
    return {(str(role["db"]), str(role["role"])): role for role in roles}


def refuse_other_writers(session: Session) -> None:
    """Raises AccessRefused where others could change the leases. Raises PyMongoError."""
    server = session.server
    touch = f"which database, in {server.lease_database} on {server}"
    refuse_writers(other_writers(session), touch, take_away(server))


def take_away(server: Server) -> str:
    """What to do about those who could change the leases."""
    return writers_advice(server.connection, f"roles on {server.lease_database}")


@frozen(kw_only=True)
class Looked:
    """What is looked at for readers: where raw documents are, in which collections, and beside which live."""

    database: str
    collections: frozenset[str]
    live: str
    must_be_seen: bool
    """Whether a pull stops where the server does not tell who could read it."""


def refuse_readers(session: Session, looked: Looked, log: logging.Logger, what: str) -> tuple[str, ...]:
    """Raises AccessRefused where others could read a database, or where that must be seen and cannot.

    Gives warnings where that is accepted. `what` ends the error: what became of the pull. Raises
    PyMongoError.
    """
    server, database = session.server, looked.database
    if refused := (profile := profiled(session, database)):
        raise AccessRefused(f"{refused}: {what} {UNPROFILED.format(database)}")
    readers = other_readers(session, database, looked.live, looked.collections)
    if readers.refused:
        raise AccessRefused(
            f"{listed(readers.refused)} could read {database} on {server}, where the dump is before it is "
            f"sanitised: {what} {advice_for(server, readers)}"
        )
    if readers.known:
        log.info(
            "%s can read %s on %s, and may: %s", len(readers.known), database, server, listed(readers.known)
        )
    warnings = open_to_anybody(server, database, readers)
    if hidden := unseen(server, database, readers, profile):
        said = "; ".join(each.what for each in hidden)
        give = "; ".join(each.give for each in hidden)
        if looked.must_be_seen and not accepts(server.connection, UNSEEN):
            raise AccessRefused(f"{said}: {what} {accepting(server, give)}")
        warnings += (f"{said}. {give}.",)
    return warnings


@frozen(kw_only=True)
class Unseen:
    """What a server does not tell, and by which right it would."""

    what: str
    give: str


def unseen(server: Server, database: str, readers: Readers, profile: str | None) -> tuple[Unseen, ...]:
    """What nobody could look at, of who could read a database; `profile` is what `profiled` gave."""
    found = []
    tells = f"{server} does not tell {server.connection.login}"
    if not readers.told:
        found.append(
            Unseen(
                what=f"{tells} who else could read {database}, where a dump is before it is sanitised",
                give="Give it the actions viewUser on the cluster, and viewUser and viewRole on admin",
            )
        )
    if profile is None:
        found.append(
            Unseen(
                what=f"{tells} whether the profiler of {database} is on, which would keep documents that are "
                "not sanitised",
                give=f"Give it the role dbAdmin on {database}",
            )
        )
    return tuple(found)


def accepting(server: Server, give: str) -> str:
    """What to do where nobody could look and somebody must."""
    return (
        f"{give}; or, where that cannot be and you know that nobody may read it, set `{UNSEEN}: true` in the "
        f"extra of connection {server.connection.connection_id}."
    )


UNPROFILED = (
    "As an administrator: db.getSiblingDB({0!r}).setProfilingLevel(0), and drop system.profile there."
)


def profiled(session: Session, database: str) -> str | None:
    """Who would keep the documents of a database as well, in words: the profiler; "" where it is off.

    None where the server does not tell. Raises PyMongoError.
    """
    if not session.server.features.profiler:
        return ""
    try:
        level = int(session.command(database, {"profile": -1})["was"])
    except OperationFailure as error:
        if error.code in NOT_TOLD:
            return None
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
