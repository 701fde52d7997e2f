"""All weaknesses of a server at once: the look before the night names each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve

from env_sync.domain.sync import Action
from tests.integration.mongo.stage import SECRET, Stage
from tests.integration.weaknesses import are_named

REDACT = "- update: people\n  updates: [{q: {}, u: {$unset: {email: ''}}, multi: true}]\n"
LEASES = "leases_of_all_weaknesses"


@pytest.fixture
def users(stage: Stage) -> Iterator[dict[str, list[dict[str, str]]]]:
    """Who could read incoming, or change the leases, by name; made for this test alone."""
    incoming, mine = f"{stage.database}__incoming", f"own_{stage.database}"
    made = {
        "reads_incoming": [{"role": "read", "db": incoming}],
        "reads_all": [{"role": "readAnyDatabase", "db": "admin"}],
        "reads_oplog": [{"role": "read", "db": "local"}],
        "gives_rights": [{"role": "userAdminAnyDatabase", "db": "admin"}],
        "sets_up": [{"role": "dbAdminAnyDatabase", "db": "admin"}],
        "watches": [{"role": mine, "db": "admin"}],
        "gives_oplog": [{"role": "userAdmin", "db": "local"}],
        "has_role_of_incoming": [{"role": mine, "db": incoming}],
        "becomes_root": [{"role": "userAdmin", "db": stage.database}],
        "writes_leases": [{"role": "readWrite", "db": LEASES}],
        "has_role_of_leases": [{"role": mine, "db": LEASES}],
    }
    looking = {"resource": {"db": incoming, "collection": ""}, "actions": ["find"]}
    releasing = {"resource": {"db": LEASES, "collection": "leases"}, "actions": ["update"]}
    # The server of these tests does not tell of the users of all databases, so it is asked for live's.
    users_of_live = {"resource": {"db": stage.database, "collection": ""}, "actions": ["viewUser"]}
    sees, group = f"sees_{stage.database}", f"cn=group_{stage.database},dc=example"
    watching = {"resource": {"db": "", "collection": ""}, "actions": ["changeStream"]}
    with stage.server.connected() as client:
        client.admin.command("createRole", mine, privileges=[watching], roles=[])
        client.admin.command("createRole", group, privileges=[watching], roles=[])
        client.admin.command("createRole", sees, privileges=[users_of_live], roles=[])
        client[incoming].command("createRole", mine, privileges=[looking], roles=[])
        client[LEASES].command("createRole", mine, privileges=[releasing], roles=[])
        root = [{"role": "root", "db": "admin"}]
        client[stage.database].command("createUser", "dba", pwd=SECRET, roles=root)
        stage.server.grant(stage.user, [{"role": sees, "db": "admin"}])
        for name, roles in made.items():
            stage.server.create_user(f"{name}_{stage.database}", SECRET, roles)
        yield made
        for name in made:
            stage.server.drop_user(f"{name}_{stage.database}")
        client[stage.database].command("dropUser", "dba")
        for each in (mine, group, sees):
            client.admin.command("dropRole", each)
        for each in (incoming, LEASES):
            client[each].command("dropRole", mine)
    stage.server.drop_database(LEASES)


@pytest.mark.probe("a right that reaches the copies")
@pytest.mark.probe("leases that somebody else made or may change")
def test_each_of_all_weaknesses_is_named(stage: Stage, users: dict[str, list[dict[str, str]]]) -> None:
    incoming = f"{stage.database}__incoming"
    stage.server.grant(stage.user, [{"role": role, "db": LEASES} for role in ("readWrite", "dbAdmin")])
    with stage.server.connected() as client:
        client[stage.database].people.insert_one({"_id": 1, "email": "ada@home.example"})
        client[incoming].precious.insert_one({"_id": 1})
        client[incoming].command("profile", 1)
        leases = client[LEASES]
        leases.command("create", "leases", validator={"rows": {"$size": 0}})
        leases.leases.create_index("rows", name="mine", expireAfterSeconds=1)
        leases.command("create", "promotions", viewOn="own", pipeline=[])
    connection: Any = stage.connection()
    connection = evolve(connection, extra={**connection.extra, "lease_database": LEASES})
    # Its lease is taken in the usual place.
    engine = stage.engine(Action.PULL, transformation=REDACT)
    engine.release_lease()
    engine = type(engine)(evolve(engine.work, connection=connection))
    found = (
        *engine.preflight_server(),
        *engine.preflight([stage.folder / "sanitise.yaml"], None).findings,
    )

    def reader(name: str) -> str:
        return rf"problem: .*\b{name}_{stage.database} \(by .*could read {incoming}"

    def writer(name: str) -> str:
        return f"problem: {name}_{stage.database} .*could change who may touch which"

    are_named(
        {
            **{name: reader(name) for name in users if not name.endswith("leases")},
            **{name: writer(name) for name in users if name.endswith("leases")},
            "a group of LDAP": rf"problem: .*members of cn=group_{stage.database},dc=example \(by role",
            "leases with a validator": "problem: .*collection leases has the options validator",
            "an index of the leases": "problem: .*collection leases has the index mine",
            "a journal that is a view": "problem: .*promotions is a view",
            "a profiler": rf"problem: the profiler of {incoming} .* is on \(level 1\)",
            "a copy in the way": "problem: .*Env Sync did not make it",
        },
        found,
    )
