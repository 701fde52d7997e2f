"""Who else could read incoming or change the leases, out of what a server says of its users and roles."""

from __future__ import annotations

from typing import Any

import pytest

from env_sync.engines.base.readers import Reader
from env_sync.engines.mongo.access.privileges import Accounts, readers_in, writers_in

INCOMING = "router__incoming"
LEASES = "env_sync"
OURS = ("admin", "env_sync")
Said = dict[tuple[str, str], dict[str, Any]]


def having(role: tuple[str, str], *, where: str = "admin", name: str = "somebody") -> Said:
    """One user with one role, given as (role, its database)."""
    return {(where, name): {"user": name, "db": where, "roles": [{"role": role[0], "db": role[1]}]}}


def allowing(resource: dict[str, Any], *actions: str) -> dict[str, Any]:
    return {"roles": [], "privileges": [{"resource": resource, "actions": list(actions)}]}


def accounts(users: Said, roles: Said, ours: tuple[str, str] = OURS, **more: Any) -> Accounts:
    return Accounts(users=users, roles=roles, ours=ours, **more)


def all_readers(
    users: Said, roles: Said, ours: tuple[str, str] = OURS, *collections: str, **more: Any
) -> list[Reader]:
    found = readers_in(accounts(users, roles, ours, **more), INCOMING, collections or None)
    return sorted(found.values(), key=str)


def readers_among(
    users: Said, roles: Said, ours: tuple[str, str] = OURS, *collections: str, **more: Any
) -> list[str]:
    """Those who are no administrators, in words."""
    found = all_readers(users, roles, ours, *collections, **more)
    return [str(each) for each in found if not each.administrator]


ANY = {"db": "", "collection": ""}
CUSTOM: Said = {
    ("admin", "of all"): {
        "roles": [],
        "privileges": [{"resource": {"db": "", "collection": ""}, "actions": ["find"]}],
    },
    ("admin", "of one"): {
        "roles": [],
        "privileges": [{"resource": {"db": "other", "collection": ""}, "actions": ["find"]}],
    },
    (INCOMING, "of its own"): {
        "roles": [],
        "privileges": [{"resource": {"db": INCOMING, "collection": ""}, "actions": ["find"]}],
    },
    ("admin", "indirect"): {"roles": [{"role": "readAnyDatabase", "db": "admin"}], "privileges": []},
    ("admin", "oplog"): allowing({"db": "local", "collection": "oplog.rs"}, "find"),
    ("admin", "streams"): allowing(ANY, "changeStream"),
    ("admin", "streams of one"): allowing({"db": INCOMING, "collection": ""}, "changeStream"),
    ("admin", "streams of another"): allowing({"db": "other", "collection": ""}, "changeStream"),
    ("admin", "profiles"): allowing({"db": INCOMING, "collection": ""}, "enableProfiler"),
    ("admin", "one collection"): allowing({"db": "", "collection": "people"}, "find"),
    ("admin", "gives"): allowing({"db": "admin", "collection": ""}, "grantRole"),
    ("admin", "gives itself the oplog"): allowing({"db": "local", "collection": ""}, "grantRole"),
    ("admin", "replica set"): allowing({"db": "local", "collection": "system.replset"}, "find"),
    ("admin", "profiles of all"): allowing({"db": "", "collection": "system.profile"}, "find"),
    ("admin", "measurements"): allowing({"db": "", "system_buckets": "people"}, "find"),
    ("admin", "buckets"): allowing({"db": "", "collection": "system.buckets.people"}, "find"),
    ("admin", "makes users"): allowing({"db": "admin", "collection": "system.users"}, "insert"),
    ("admin", "changes roles"): allowing({"db": "", "collection": "system.roles"}, "update"),
    ("admin", "copies users"): allowing({"db": "admin", "collection": "system.users"}, "find"),
    ("admin", "grants on a collection"): allowing({"db": "admin", "collection": "x"}, "grantRole"),
    ("admin", "gives in another"): allowing({"db": "other", "collection": ""}, "grantRole"),
    ("admin", "everything"): allowing({"anyResource": True}, "anyAction"),
    ("admin", "applies"): allowing({"cluster": True}, "applyOps"),
    ("admin", "looks"): allowing({"cluster": True}, "viewUser", "serverStatus"),
    ("admin", "in a circle"): {"roles": [{"role": "in a circle", "db": "admin"}], "privileges": []},
}


@pytest.mark.parametrize(
    "role",
    [
        ("readAnyDatabase", "admin"),
        ("readWriteAnyDatabase", "admin"),
        ("read", INCOMING),
        ("dbOwner", INCOMING),
        ("of all", "admin"),
        ("of its own", INCOMING),
        ("indirect", "admin"),
        ("read", "local"),
        ("readWrite", "local"),
        ("dbAdmin", INCOMING),
        ("userAdmin", INCOMING),
        ("userAdmin", "admin"),
        ("dbOwner", "admin"),
        ("userAdminAnyDatabase", "admin"),
        ("dbAdminAnyDatabase", "admin"),
        ("oplog", "admin"),
        ("streams", "admin"),
        ("streams of one", "admin"),
        ("profiles", "admin"),
        ("one collection", "admin"),
        ("gives", "admin"),
        ("everything", "admin"),
        ("applies", "admin"),
        ("userAdmin", "local"),
        ("gives itself the oplog", "admin"),
        ("measurements", "admin"),
        ("buckets", "admin"),
        ("makes users", "admin"),
        ("changes roles", "admin"),
    ],
)
def test_roles_that_read_it(role: tuple[str, str]) -> None:
    [found] = readers_among(having(role), CUSTOM)
    assert found.startswith("somebody (by role ")
    assert readers_among(having(role, name="env_sync"), CUSTOM) == []
    # Another one of that name, whom another database knows.
    assert readers_among(having(role, name="env_sync", where="router"), CUSTOM) != []


@pytest.mark.parametrize(
    "role",
    [
        ("readWrite", "router"),
        ("readAnyDatabase", "router"),
        ("of one", "admin"),
        ("in a circle", "admin"),
        ("clusterMonitor", "admin"),
        ("root", "admin"),
        ("dbAdmin", "router"),
        ("userAdmin", "router"),
        ("read", "config"),
        ("streams of another", "admin"),
        ("gives in another", "admin"),
        ("looks", "admin"),
        ("replica set", "admin"),
        ("profiles of all", "admin"),
        ("copies users", "admin"),
        ("grants on a collection", "admin"),
        ("dbAdmin", "local"),
    ],
)
def test_roles_that_do_not_or_are_administrators(role: tuple[str, str]) -> None:
    assert readers_among(having(role), CUSTOM) == []


def test_a_role_of_an_application_that_is_called_like_an_administrators() -> None:
    roles = {("router", "backup"): {"roles": [{"role": "read", "db": INCOMING}], "privileges": []}}
    assert readers_among(having(("backup", "router")), roles) != []
    assert readers_among(having(("backup", "admin")), roles) == []


def test_who_runs_the_server_is_told_of() -> None:
    for role in ("root", "__system", "backup", "restore"):
        [found] = all_readers(having((role, "admin")), CUSTOM)
        assert (str(found), found.administrator) == (f"somebody (by role {role})", True)


def test_who_may_change_the_password_of_our_own_user() -> None:
    ours = ("router", "env_sync")
    assert readers_among(having(("userAdmin", "router")), CUSTOM, ours) != []


def test_a_user_of_another_database_is_named_with_it() -> None:
    users = having(("read", INCOMING), where="router")
    assert readers_among(users, CUSTOM) == ["router.somebody (by role read)"]


@pytest.mark.parametrize("strong", [("root", "admin"), ("read", INCOMING), ("read", "local")])
@pytest.mark.parametrize(
    "role",
    [("userAdmin", "ops"), ("dbOwner", "ops"), ("changes passwords", "ops"), ("of another", "admin")],
)
def test_who_may_change_the_password_of_one_who_reads(strong: tuple[str, str], role: tuple[str, str]) -> None:
    """A root of a database is no less one: who may log in as it reads everything."""
    roles = {
        ("ops", "changes passwords"): allowing({"db": "ops", "collection": ""}, "changePassword"),
        ("admin", "of another"): allowing({"db": "ops", "collection": ""}, "changePassword"),
    }
    users = having(role)
    assert readers_among(users, roles) == []
    said = readers_among({**users, **having(strong, where="ops", name="dba")}, roles)
    assert f"somebody (by role {role[0]})" in said
    # One who may do that to him again.
    chain = having(("userAdmin", "helpers"), where="else", name="third")
    users = having(role, where="helpers")
    said = readers_among({**users, **having(strong, where="ops", name="dba"), **chain}, roles)
    assert "else.third (by role userAdmin)" in said


def test_a_role_of_our_own_database_that_changes_passwords() -> None:
    ours = ("router", "env_sync")
    roles = {
        ("router", "helpers"): allowing({"db": "router", "collection": ""}, "changePassword"),
        ("router", "inherit"): {"roles": [{"role": "userAdmin", "db": "router"}], "privileges": []},
        ("router", "looks"): allowing({"db": "router", "collection": ""}, "find"),
    }
    for role in ("helpers", "inherit"):
        assert readers_among(having((role, "router")), roles, ours) != []
    assert readers_among(having(("looks", "router")), roles, ours) == []


@pytest.mark.parametrize("where", [INCOMING, "router"])
def test_a_role_of_which_the_server_does_not_tell(where: str) -> None:
    """Nobody can say that it is harmless, where it may not be."""
    ours = ("router", "env_sync")
    users = having(("mine", where))
    assert readers_among(users, {}, ours, untold=frozenset({where})) == ["somebody (by role mine)"]
    # One that was dropped meanwhile, and one of a database that holds nobody of whom this is about.
    assert readers_among(users, {}, ours) == []
    assert readers_among(having(("mine", "other")), {}, ours, untold=frozenset({"other"})) == []
    assert readers_among(having(("read", "router")), {}, ours, untold=frozenset({"router"})) == []


def test_a_collection_that_incoming_will_not_have() -> None:
    one = having(("one collection", "admin"))
    assert readers_among(one, CUSTOM, OURS, "cases", "people") != []
    assert readers_among(one, CUSTOM, OURS, "cases") == []
    assert readers_among(having(("measurements", "admin")), CUSTOM, OURS, "cases") == []
    assert readers_among(having(("of all", "admin")), CUSTOM, OURS, "cases") != []
    assert readers_among(having(("of its own", INCOMING)), CUSTOM, OURS, "cases") != []


def test_roles_that_are_groups_of_elsewhere() -> None:
    """Who is in them stands in LDAP or at an identity provider, and in no answer of the server."""
    groups = {
        ("admin", "cn=analysts,dc=example"): {
            "roles": [{"role": "readAnyDatabase", "db": "admin"}],
            "privileges": [],
        },
        ("admin", "okta/support"): allowing({"db": "local", "collection": "oplog.rs"}, "find"),
        ("admin", "cn=web,dc=example"): allowing({"db": "router", "collection": ""}, "find"),
        ("admin", "nobody has it"): allowing(ANY, "find"),
    }
    assert readers_among({}, groups) == [
        "members of cn=analysts,dc=example (by role readAnyDatabase)",
        "members of okta/support (by role okta/support)",
    ]
    # A user of the server who has the role as well is another one; a group of our own is nobody else's.
    held = having(("okta/support", "admin"))
    assert len(readers_among(held, groups)) == 3
    assert len(readers_among(having(("okta/support", "admin"), name="env_sync"), groups)) == 1
    external = having(("readAnyDatabase", "admin"), where="$external", name="CN=ada,O=example")
    assert readers_among(external, {}) == ["$external.CN=ada,O=example (by role readAnyDatabase)"]


@pytest.mark.parametrize(
    ("role", "found"),
    [
        (("readWrite", LEASES), True),
        (("userAdmin", LEASES), True),
        (("releases", LEASES), True),
        (("by name", "admin"), True),
        (("journals", "admin"), True),
        (("only writes", "admin"), True),
        (("only writes everything", "admin"), True),
        (("read", LEASES), False),
        (("looks", LEASES), False),
        (("by another name", "admin"), False),
        (("statistics", "admin"), False),
        # They read incoming as well, and are found there.
        (("readWriteAnyDatabase", "admin"), False),
        (("all", "admin"), False),
        (("root", "admin"), False),
    ],
)
def test_who_may_change_the_leases(role: tuple[str, str], found: bool) -> None:
    roles = {
        (LEASES, "releases"): allowing({"db": LEASES, "collection": "leases"}, "update"),
        (LEASES, "looks"): allowing({"db": LEASES, "collection": ""}, "find", "listIndexes"),
        ("admin", "by name"): allowing({"db": "", "collection": "leases"}, "find", "update"),
        ("admin", "journals"): allowing({"db": "", "collection": "promotions"}, "remove"),
        ("admin", "by another name"): allowing({"db": "", "collection": "sessions"}, "update"),
        ("admin", "only writes"): allowing(ANY, "update"),
        ("admin", "only writes everything"): allowing({"anyResource": True}, "insert"),
        ("admin", "all"): allowing(ANY, "find", "insert", "update", "remove"),
        ("admin", "statistics"): allowing(ANY, "collStats", "dbStats"),
    }
    who = writers_in(accounts(having(role), roles), LEASES)
    assert [each.name for each in who] == (["somebody"] if found else [])


def test_a_role_of_the_leases_of_which_the_server_does_not_tell() -> None:
    untold = accounts(having(("mine", LEASES)), {}, untold=frozenset({LEASES}))
    assert [str(each) for each in writers_in(untold, LEASES)] == ["somebody (by role mine)"]
    assert writers_in(accounts(having(("read", LEASES)), {}, untold=frozenset({LEASES})), LEASES) == ()
