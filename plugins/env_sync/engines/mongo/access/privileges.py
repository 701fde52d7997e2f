"""What the roles of users allow on a server, out of what it says of both: who could read, or change, what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from attrs import frozen

from env_sync.engines.base.readers import Reader
from env_sync.engines.mongo.archive import BUCKETS
from env_sync.engines.mongo.definitions import shown
from env_sync.engines.mongo.lease_database import JOURNAL, LEASES

Key = tuple[str, str]
"""A user or a role: its database, and its name."""
Said = Mapping[str, Any]
"""What a server says of one."""

ADMIN = "admin"
ADMINISTRATORS = frozenset({"root", "__system", "restore", "backup"})
"""Roles of those who run the server, or keep copies of all of it: they are told of, and stop nothing."""
OF_EACH_DATABASE = frozenset({"read", "readWrite", "dbOwner", "dbAdmin", "userAdmin", "enableSharding"})
"""Roles that the server has made in each database."""
READ_ANY = frozenset(
    {"readAnyDatabase", "readWriteAnyDatabase", "dbAdminAnyDatabase", "userAdminAnyDatabase"}
)
READ_ONE = frozenset({"read", "readWrite", "dbOwner", "dbAdmin", "userAdmin"})
"""`dbAdmin` may switch on the profiler, which keeps documents, and read it; `userAdmin` may give a right."""
READ_OPLOG = frozenset({"read", "readWrite", "dbOwner", "userAdmin"})
"""On `local`: each change of every collection is in its oplog. `userAdmin` may give the others."""
GIVE_RIGHTS = frozenset({"userAdmin", "dbOwner"})
"""They may change the password of whom the database holds, too."""
LOOKS = frozenset({"find", "changeStream", "anyAction"})
SETS_UP = frozenset({"enableProfiler", "createUser", "createRole", "grantRole", "changePassword"})
"""Actions on a database after which one may look into it."""
RIGHTS = frozenset({"createUser", "createRole", "grantRole", "changePassword", "anyAction"})
BECOMES = frozenset({"changePassword", "anyAction"})
"""Actions after which one may log in as a user of the database."""
OF_THE_SERVER = frozenset({"applyOps", "internal", "impersonate", "anyAction"})
OPLOG = "local"
OPLOGS = frozenset({"", "oplog.rs", "oplog.$main"})
"""What of `local` shows changes: "" is all of it. What else is there is the replica set's own."""
WHO_IS_WHO = frozenset({"system.users", "system.roles"})
"""Collections of `admin` that say who is who."""
WRITE_ONE = frozenset({"readWrite", "dbOwner", "dbAdmin", "userAdmin"})
ONLY_READS = frozenset(
    {
        *("find", "listCollections", "listIndexes", "collStats", "dbStats", "dbHash", "indexStats"),
        *("changeStream", "killCursors", "planCacheRead", "validate", "viewUser", "viewRole"),
    }
)
WRITES = frozenset(
    {
        *("insert", "update", "remove", "createCollection", "createIndex", "collMod", "convertToCapped"),
        *("dropCollection", "dropDatabase", "renameCollectionSameDB", "anyAction"),
    }
)
OF_GROUPS = ("=", "/")
"""In names of roles that are groups of LDAP (`cn=...`) or OIDC (`okta/...`), whose members nobody tells."""


@frozen(kw_only=True)
class Accounts:
    """Who is on a server, as far as it tells."""

    users: Mapping[Key, Said]
    """What usersInfo says."""
    roles: Mapping[Key, Said]
    """What rolesInfo says, of the roles that somebody made."""
    ours: Key
    asked: frozenset[str] = frozenset({ADMIN})
    """Databases of whose roles it was asked."""
    untold: frozenset[str] = frozenset()
    """Those of them, other than `admin`, of whose roles it does not tell."""

    def held(self, user: Said) -> frozenset[Key]:
        """All roles that a user has, by another one as well."""
        held: set[Key] = set()
        waiting = _roles_of(user)
        while waiting:
            role = waiting.pop()
            if role not in held:
                held.add(role)
                waiting += _roles_of(self.roles.get(role, {}))
        return frozenset(held)

    def databases_of_roles(self) -> frozenset[str]:
        """The databases of the roles, made by somebody, that a user has."""
        held = [role for user in self.users.values() for role in self.held(user)]
        return frozenset(where for where, role in held if role not in OF_EACH_DATABASE)

    def unknown(self, where: str, role: str) -> bool:
        """Whether nobody can say what a role allows."""
        return where in self.untold and role not in OF_EACH_DATABASE and (where, role) not in self.roles

    def privileges(self, where: str, role: str) -> Iterator[tuple[Said, frozenset[str]]]:
        """The resources of a role that somebody made, each with what it allows there."""
        for each in self.roles.get((where, role), {}).get("privileges") or ():
            yield each.get("resource") or {}, frozenset(each.get("actions") or ())


Allows = Callable[[str, str], bool]
"""Whether a role, by its database and name, allows what is asked."""


def readers_in(
    accounts: Accounts, database: str, collections: Collection[str] | None = None
) -> Mapping[Key, Reader]:
    """Who, other than ours, could read a database, its profile or the oplog, or log in as one who could.

    `collections` are those that the database will have; None for whatever they are.
    """
    found: Mapping[Key, Reader] = {}
    while True:
        guarded = guarded_by(accounts, found)

        def allows(where: str, role: str, guarded: frozenset[str] = guarded) -> bool:
            if _looks(accounts, where, role, database, collections):
                return True
            return _becomes(accounts, where, role, guarded)

        more = _others(accounts, allows)
        if more.keys() == found.keys():
            return more
        found = more


def guarded_by(accounts: Accounts, found: Mapping[Key, Reader]) -> frozenset[str]:
    """The databases that hold a user who could read: who may change passwords there could as well."""
    return frozenset({ADMIN, accounts.ours[0], *(where for where, _ in found)})


def writers_in(accounts: Accounts, database: str) -> tuple[Reader, ...]:
    """Who, other than ours and administrators, may change the collections of the leases in a database.

    By a role on it, by one on collections of their names anywhere, or by one that changes everything and
    reads nothing: who may do both reads incoming, too, and is found there.
    """
    found = _others(accounts, lambda where, role: _writes(accounts, where, role, database))
    return tuple(sorted((each for each in found.values() if not each.administrator), key=str))


def _others(accounts: Accounts, allows: Allows) -> Mapping[Key, Reader]:
    """Who, but for ours, has a role that allows something, or runs the server."""
    found: dict[Key, Reader] = {}
    for (where, name), user in accounts.users.items():
        held = accounts.held(user)
        if (where, name) == accounts.ours:
            continue
        said = _named(where, name)
        if runs := sorted(role for each, role in held if each == ADMIN and role in ADMINISTRATORS):
            found[where, name] = Reader(name=said, by=f"role {runs[0]}", administrator=True)
        elif by := sorted(role for each, role in held if allows(each, role)):
            found[where, name] = Reader(name=said, by=f"role {shown(by[0])}")
    # Those that a user of the server has as well, too: whoever accepts that one has not accepted the group.
    for where, role in accounts.roles.keys() - accounts.held(accounts.users.get(accounts.ours, {})):
        if where == ADMIN and any(sign in role for sign in OF_GROUPS):
            members: Said = {"roles": [{"role": role, "db": where}]}
            if by := sorted(each for of, each in accounts.held(members) if allows(of, each)):
                group = Reader(name=f"members of {shown(role)}", by=f"role {shown(by[0])}")
                found[where, role] = group
    return found


def _named(where: str, name: str) -> str:
    """A user as messages and connections name it; those of `admin` need no more than their name."""
    return shown(name) if where == ADMIN else f"{shown(where)}.{shown(name)}"


def _roles_of(holder: Said) -> list[Key]:
    given: Iterable[Said] = holder.get("roles") or ()
    return [(str(each["db"]), str(each["role"])) for each in given]


def _looks(
    accounts: Accounts, where: str, role: str, database: str, collections: Collection[str] | None
) -> bool:
    """Whether a role shows what is in a database, or lets somebody give himself the right to see it."""
    if where == ADMIN and role in READ_ANY:
        return True
    if where == database and (role in READ_ONE or accounts.unknown(where, role)):
        return True
    if where == OPLOG and role in READ_OPLOG:
        return True
    return any(
        _allows(resource, actions, database, collections)
        for resource, actions in accounts.privileges(where, role)
    )


def _allows(
    resource: Said, actions: frozenset[str], database: str, collections: Collection[str] | None
) -> bool:
    """The same of a privilege."""
    if resource.get("anyResource"):
        return bool(actions & (LOOKS | SETS_UP | OF_THE_SERVER))
    if resource.get("cluster"):
        return bool(actions & OF_THE_SERVER)
    of, whole = resource.get("db"), _of_all(resource)
    if of in ("", database) and whole and actions & SETS_UP:
        return True
    if of == database and actions & LOOKS:
        return True
    if of == "" and actions & LOOKS and _may_be_one_of(resource, collections):
        return True
    if of == OPLOG:
        shows = actions & LOOKS and str(resource.get("collection") or "") in OPLOGS
        return bool(shows or (whole and actions & RIGHTS))
    if of in ("", ADMIN) and resource.get("collection") in WHO_IS_WHO:
        return bool(actions & WRITES)
    return False


def _becomes(accounts: Accounts, where: str, role: str, guarded: Collection[str]) -> bool:
    """Whether a role lets somebody give himself rights, or log in as one who has them."""
    if where in guarded and (role in GIVE_RIGHTS or accounts.unknown(where, role)):
        return True
    for resource, actions in accounts.privileges(where, role):
        of = resource.get("db")
        if of in guarded and _of_all(resource):
            strong = RIGHTS if of in (ADMIN, accounts.ours[0]) else BECOMES
            if actions & strong:
                return True
    return False


def _of_all(resource: Said) -> bool:
    """Whether a privilege is on a database, and not on one collection of it."""
    return not resource.get("collection") and "system_buckets" not in resource


def _may_be_one_of(resource: Said, collections: Collection[str] | None) -> bool:
    """Whether a privilege on collections of this name anywhere reaches one of those.

    Collections of the server's own, such as system.profile of a profiler that is off, hold none of its
    documents.
    """
    name = str(resource.get("system_buckets", resource.get("collection")) or "").removeprefix(BUCKETS)
    if not name:
        return True
    return not name.startswith("system.") and (collections is None or name in collections)


def _writes(accounts: Accounts, where: str, role: str, database: str) -> bool:
    if where == database and (role in WRITE_ONE or accounts.unknown(where, role)):
        return True
    for resource, actions in accounts.privileges(where, role):
        if resource.get("db") == database and not actions <= ONLY_READS:
            return True
        if (resource.get("db") == "" or resource.get("anyResource")) and actions & WRITES:
            name = str(resource.get("collection") or "")
            if name in (LEASES, JOURNAL) or (not name and not actions & LOOKS):
                return True
    return False
