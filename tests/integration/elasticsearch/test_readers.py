"""Whoever could read incoming on a cluster stops what sanitises, unless the connection accepts it by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve

from env_sync.core.errors import AccessRefused, ProofMissing
from env_sync.core.secret import Secret
from env_sync.domain.finding import Level
from env_sync.domain.sync import Action
from env_sync.engines.base.contract import Preflight, ServerConnection
from tests.integration.elasticsearch.stage import Stage, count, index_documents, indices
from tests.integration.elasticsearch.stub import secured

SECRET = "a password of these tests"  # of a login that the test's own server asks for
SANITISE = "- delete_by_query: people\n  query: {match_all: {}}\n"
WIDE = {"cluster": [], "indices": [{"names": ["*"], "privileges": ["read", "view_index_metadata"]}]}
NARROW = {"cluster": [], "indices": [{"names": ["people"], "privileges": ["read"]}]}
SUPERUSER = {
    "cluster": ["all"],
    "indices": [{"names": ["*"], "privileges": ["all"]}],
    "metadata": {"_reserved": True},
}


@pytest.fixture
def security() -> dict[str, Any]:
    """What a cluster says where nobody but administrators could read incoming."""
    return {
        "role": {"superuser": SUPERUSER, "wide": WIDE, "narrow": NARROW},
        "user": {
            "elastic": {"roles": ["superuser"], "enabled": True, "metadata": {"_reserved": True}},
            "app": {"roles": ["narrow"], "enabled": True, "metadata": {}},
            "env_sync": {"roles": ["superuser"], "enabled": True, "metadata": {}},
        },
        "role_mapping": {},
        "api_key": {"api_keys": []},
    }


@pytest.fixture
def connection(stage7: Stage, security: dict[str, Any]) -> Iterator[ServerConnection]:
    """A connection to the target that has a login, and accepts nobody."""
    index_documents(stage7.source, "people", 3)
    index_documents(stage7.target, "people", 1)
    with secured(stage7.target.port, {"env_sync": SECRET}, security) as port:
        yield evolve(
            stage7.connection(stage7.target, port),
            login="env_sync",
            password=Secret(SECRET),
            extra={"scheme": "http", "timeout": 20},
        )


def looked(stage: Stage, connection: ServerConnection, **fields: Any) -> Preflight:
    engine = stage.engine(transformation=SANITISE, take=False, work={"connection": connection}, **fields)
    return engine.preflight([stage.folder / "sanitise.yaml"], None)


def problems(stage: Stage, connection: ServerConnection, level: Level = Level.PROBLEM, **fields: Any) -> str:
    """What a look before the night finds."""
    found = looked(stage, connection, **fields).findings
    return "\n".join(each.what for each in found if each.level is level)


@pytest.mark.probe("a right that reaches the copies")
@pytest.mark.parametrize("action", [Action.COPY, Action.PULL])
def test_an_open_cluster_stops_what_sanitises(stage7: Stage, action: Action) -> None:
    index_documents(stage7.source, "people", 3)
    stage7.push()
    # A form of Airflow makes text of what it takes.
    extra = {"scheme": "http", "open_to_anybody": "false"}
    connection = evolve(stage7.connection(stage7.target), extra=extra)
    engine = stage7.engine(action, transformation=SANITISE, work={"connection": connection})
    with pytest.raises(
        AccessRefused, match=r"anybody without a login .* nothing was restored.*open_to_anybody"
    ):
        stage7.fill(engine)
    assert indices(stage7.target) == set()
    assert "anybody without a login" in problems(stage7, connection)


def test_an_open_cluster_that_is_accepted_is_told_each_night(stage7: Stage) -> None:
    index_documents(stage7.source, "people", 3)
    engine = stage7.engine(transformation=SANITISE)
    [warning] = stage7.fill(engine).warnings
    assert "could be read by anybody before it was sanitised" in warning
    assert problems(stage7, stage7.connection(stage7.target)) == ""
    assert warning in problems(stage7, stage7.connection(stage7.target), Level.NOTE)


@pytest.mark.probe("a right that reaches the copies")
@pytest.mark.parametrize(
    ("path", "name", "value", "said"),
    [
        ("user", "nosy", {"roles": ["wide"], "enabled": True}, r"nosy \(by role wide: read on \*\)"),
        ("role_mapping", "staff", {"roles": ["wide"], "enabled": True}, "role_mapping:staff"),
        ("api_key", "api_keys", [{"id": "k1", "username": "elastic"}], "api_key:k1"),
        (
            "role",
            "narrow",
            {"cluster": ["create_snapshot"]},
            r"app \(by role narrow: create_snapshot on the cluster\)",
        ),
    ],
)
def test_whoever_could_read_incoming_stops_it(
    stage7: Stage,
    connection: ServerConnection,
    security: dict[str, Any],
    path: str,
    name: str,
    value: Any,
    said: str,
) -> None:
    assert problems(stage7, connection) == ""
    assert "elastic (by role superuser" in looked(stage7, connection).said
    security[path] = {**security[path], name: value}
    engine = stage7.engine(transformation=SANITISE, work={"connection": connection})
    with pytest.raises(AccessRefused, match=said) as refused:
        stage7.fill(engine)
    assert "accepted_readers" in str(refused.value)
    assert indices(stage7.target) == {"people"}
    [only] = problems(stage7, connection).splitlines()
    assert "could read incoming" in only
    accepted = only.partition(" (by")[0]
    extra = {**connection.extra, "accepted_readers": [accepted]}
    assert problems(stage7, evolve(connection, extra=extra)) == ""
    assert f"{accepted} (by" in problems(stage7, evolve(connection, extra=extra), Level.NOTE)


def test_our_own_account_that_pushes(
    stage7: Stage, connection: ServerConnection, security: dict[str, Any]
) -> None:
    cluster = ["monitor", "create_snapshot", "cluster:admin/repository/get"]
    records = {"names": [".env-sync*"], "privileges": ["all"]}
    security["role"]["pushes"] = {"cluster": cluster, "indices": [*NARROW["indices"], records]}
    security["user"]["env_sync_push"] = {"roles": ["pushes"], "enabled": True}
    assert "env_sync_push (by role pushes: create_snapshot on the cluster)" in problems(stage7, connection)
    extra = {**connection.extra, "accepted_lease_writers": ["env_sync_push"]}
    accepting = evolve(connection, extra=extra)
    assert problems(stage7, accepting) == ""
    stage7.fill(stage7.engine(transformation=SANITISE, work={"connection": accepting}))
    # What reads incoming itself is no part of a push.
    security["role"]["pushes"] = {"cluster": cluster, "indices": [*WIDE["indices"], records]}
    assert "env_sync_push (by role pushes: read on *)" in problems(stage7, accepting)


def test_who_is_accepted_by_name_stops_nothing(
    stage7: Stage, connection: ServerConnection, security: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    security["user"]["nosy"] = {"roles": ["wide"], "enabled": True}
    accepting = evolve(connection, extra={**connection.extra, "accepted_readers": ["nosy"]})
    caplog.set_level("INFO")
    stage7.bring(transformation=SANITISE, work={"connection": accepting})
    assert count(stage7.target, "people") == 0
    assert any("nosy (by role wide: read on *)" in each for each in caplog.messages)


@pytest.mark.probe("a right that reaches the copies")
def test_strangers_who_are_given_a_role(
    stage7: Stage, connection: ServerConnection, security: dict[str, Any]
) -> None:
    security["anonymous"] = {"username": "_anonymous", "roles": ["narrow"]}
    assert problems(stage7, connection) == ""
    security["anonymous"] = {"username": "_anonymous", "roles": ["wide"]}
    engine = stage7.engine(transformation=SANITISE, work={"connection": connection})
    with pytest.raises(AccessRefused, match=r"anybody without a login \(by role wide: read on \*\)"):
        stage7.fill(engine)
    assert indices(stage7.target) == {"people"}


@pytest.mark.probe("a right that is given during a pull")
def test_somebody_who_is_let_in_meanwhile(
    stage7: Stage, connection: ServerConnection, security: dict[str, Any]
) -> None:
    engine = stage7.engine(transformation=SANITISE, work={"connection": connection})
    stage7.fill(engine)
    security["user"]["nosy"] = {"roles": ["wide"], "enabled": True}
    with pytest.raises(AccessRefused, match=r"nosy .* incoming was dropped and live is untouched"):
        stage7.sanitise(engine)
    assert indices(stage7.target) == {"people"}
    with pytest.raises(ProofMissing):
        stage7.promote(engine)
    assert count(stage7.target, "people") == 1


UNTOLD = "does not tell env_sync who else could read incoming"


def test_a_cluster_that_does_not_tell_is_a_warning(
    stage7: Stage, connection: ServerConnection, security: dict[str, Any]
) -> None:
    """Of the report: a line in a log, which is all that it was, is read by nobody."""
    del security["role"]
    assert problems(stage7, connection) == ""
    assert UNTOLD in problems(stage7, connection, Level.NOTE)
    filled = stage7.fill(stage7.engine(transformation=SANITISE, work={"connection": connection}))
    [warning] = filled.warnings
    assert UNTOLD in warning


@pytest.mark.probe("a right that reaches the copies")
def test_one_where_sanitising_is_required_is_refused_until_that_is_accepted(
    stage7: Stage, connection: ServerConnection, security: dict[str, Any]
) -> None:
    del security["api_key"]
    required: dict[str, Any] = {"transformation": SANITISE, "must_sanitise": True}
    for said in ({}, {"accept_unseen_readers": "false"}):
        unaccepted = evolve(connection, extra={**connection.extra, **said})
        with pytest.raises(AccessRefused, match=f"{UNTOLD}.*nothing was restored.*accept_unseen_readers"):
            stage7.fill(stage7.engine(work={"connection": unaccepted}, **required))
        assert indices(stage7.target) == {"people"}
        assert UNTOLD in problems(stage7, unaccepted, must_sanitise=True)
    accepting = evolve(connection, extra={**connection.extra, "accept_unseen_readers": "true"})
    assert problems(stage7, accepting, must_sanitise=True) == ""
    [warning] = stage7.fill(stage7.engine(work={"connection": accepting}, **required)).warnings
    assert UNTOLD in warning


def test_names_that_are_no_list(stage7: Stage, connection: ServerConnection) -> None:
    wrong = evolve(connection, extra={**connection.extra, "accepted_readers": "nosy"})
    engine = stage7.engine(transformation=SANITISE, work={"connection": wrong})
    with pytest.raises(AccessRefused, match="is no list of names"):
        stage7.fill(engine)


def test_where_the_repository_is_is_told(stage7: Stage, connection: ServerConnection) -> None:
    assert f"{stage7.target.repositories / stage7.repository}" in problems(stage7, connection, Level.NOTE)
