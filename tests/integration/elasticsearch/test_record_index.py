"""The indices of leases and records are used only where they are as Env Sync makes them."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from env_sync.core.errors import AccessRefused, NameRefused
from env_sync.core.secret import Secret
from env_sync.domain.finding import Level
from env_sync.domain.settings import Options
from env_sync.domain.sync import Action
from tests.integration.elasticsearch.stage import Stage, count, index_documents, indices, request
from tests.integration.elasticsearch.stub import secured

SECRET = "a password of these tests"  # of a login that the test's own server asks for
HIDDEN = {"index.hidden": True}
PLAIN = {"enabled": False}


def made(settings: dict[str, Any] | None = None, mappings: dict[str, Any] | None = None) -> dict[str, Any]:
    """A body of an index as Env Sync makes it, but for what is given."""
    return {"settings": {**HIDDEN, **(settings or {})}, "mappings": mappings or PLAIN}


def problems(stage: Stage) -> str:
    findings = stage.engine(take=False).preflight_server()
    return "\n".join(each.what for each in findings if each.level is Level.PROBLEM)


@pytest.mark.probe("leases that somebody else made or may change")
@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("mine", {"aliases": {".env-sync": {}}}, "it is an alias of mine"),
        (".env-sync", made({"index.default_pipeline": "leak"}), "index.default_pipeline is leak"),
        (".env-sync", made({"index.final_pipeline": "leak"}), "index.final_pipeline is leak"),
        (".env-sync", made({"index.hidden": False}), "it is not hidden"),
        (".env-sync", {**made(), "aliases": {"mine": {"is_hidden": True}}}, "it has the alias mine"),
        (".env-sync", made(mappings={"enabled": True}), "its mapping is enabled"),
        (".env-sync", made(mappings={**PLAIN, "_source": {"enabled": False}}), "its mapping has _source"),
        (".env-sync", made(mappings={"runtime": {"x": {"type": "long"}}}), "its mapping has runtime"),
    ],
)
def test_leases_that_somebody_else_made(stage7: Stage, name: str, body: dict[str, Any], said: str) -> None:
    assert request(stage7.target, "PUT", f"/{name}", body).get("acknowledged")
    with pytest.raises(NameRefused, match=f"{said}.*neither read nor written"):
        stage7.engine()
    assert count(stage7.target, name) == 0
    assert said in problems(stage7)


@pytest.mark.probe("leases that somebody else made or may change")
def test_what_is_done_to_them_meanwhile(stage7: Stage) -> None:
    engine = stage7.engine()
    with engine.at_work():
        engine.live_stamp()
    assert problems(stage7) == ""
    request(stage7.target, "PUT", "/.env-sync/_settings", {"index.default_pipeline": "leak"})
    with pytest.raises(NameRefused, match=r"index\.default_pipeline is leak"), engine.at_work():
        pytest.fail("A step went on.")


@pytest.mark.probe("leases that somebody else made or may change")
def test_a_template_that_is_for_them(stage7: Stage) -> None:
    template = {"index_patterns": [".e*"], "template": {"settings": {"index.default_pipeline": "leak"}}}
    request(stage7.target, "PUT", "/_index_template/wide", template)
    # Env Sync's own index says that it has none.
    engine = stage7.engine()
    engine.release_lease()
    request(stage7.target, "DELETE", "/.env-sync")
    template["template"] = {"aliases": {"mine": {}}}
    request(stage7.target, "PUT", "/_index_template/wide", template)
    with pytest.raises(NameRefused, match="it has the alias mine"):
        stage7.engine()
    assert count(stage7.target, ".env-sync") == 0


def test_fields_that_a_template_for_everything_brings_mean_nothing(stage7: Stage) -> None:
    fields = {name: {"type": "date"} for name in ("rows", "record", "contents", "token")}
    template = {"index_patterns": [".*"], "template": {"mappings": {"properties": fields}}}
    for server in (stage7.source, stage7.target):
        request(server, "PUT", "/_index_template/all", template)
    index_documents(stage7.source, "people", 1)
    stage7.push()
    stage7.bring(Action.PULL)
    assert count(stage7.target, "people") == 1
    assert problems(stage7) == ""
    [found] = request(stage7.target, "GET", "/.env-sync/_mapping").values()
    assert found["mappings"]["properties"].keys() == fields.keys()


@pytest.mark.probe("leases that somebody else made or may change")
def test_what_goes_along_with_a_snapshot(stage7: Stage) -> None:
    index_documents(stage7.source, "people", 1)
    request(stage7.source, "PUT", "/mine", {"aliases": {".env-sync-contents": {}}})
    with pytest.raises(NameRefused, match="it is an alias of mine"):
        stage7.push(indices=("people",))
    assert count(stage7.source, "mine") == 0
    findings = stage7.engine(Action.PUSH, take=False).preflight_server()
    assert any("it is an alias of mine" in each.what for each in findings)


@pytest.mark.probe("leases that somebody else made or may change")
def test_somebody_else_who_may_change_the_leases(stage7: Stage) -> None:
    security = {
        "role": {"writer": {"indices": [{"names": [".env-*"], "privileges": ["write"]}]}},
        "user": {"writer": {"roles": ["writer"], "enabled": True}},
        "role_mapping": {},
        "api_key": {"api_keys": []},
    }
    with secured(stage7.target.port, {"env_sync": SECRET}, security) as port:
        connection = evolve(stage7.connection(stage7.target, port), login="env_sync", password=Secret(SECRET))
        with pytest.raises(AccessRefused, match=r"writer \(by role writer: write on \.env-\*\).*nothing was"):
            stage7.engine(work={"connection": connection})
        findings = stage7.engine(take=False, work={"connection": connection}).preflight_server()
        assert any("writer (by role writer" in each.what for each in findings)
        extra = {**connection.extra, "accepted_lease_writers": ["writer"]}
        stage7.engine(work={"connection": evolve(connection, extra=extra)})


@pytest.mark.probe("a copy that somebody else made")
def test_a_hidden_index_of_somebody_else_stays(stage7: Stage) -> None:
    index_documents(stage7.source, "people", 1)
    for name in ("env-sync-notes", "env-sync-0123456789ab"):
        request(stage7.target, "PUT", f"/{name}", {"settings": HIDDEN})
    called_so = "env-sync-0123456789ab-people"
    request(stage7.target, "PUT", f"/{called_so}", {"settings": HIDDEN})
    [warning] = stage7.fill(stage7.engine()).warnings
    assert f"{called_so} is called as a copy of Env Sync, and no record tells that it is one" in warning
    others = {"env-sync-notes", "env-sync-0123456789ab", called_so}
    [orphan] = indices(stage7.target) - others
    # As after a kill between two requests: the copy stands there, and its record does not.
    request(stage7.target, "DELETE", "/.env-sync/_doc/incoming-search?refresh=true")
    stage7.fill(stage7.engine())
    [incoming] = indices(stage7.target) - others
    assert incoming != orphan


@pytest.mark.probe("a copy that somebody else made")
def test_what_is_kept_stays_where_the_records_were_deleted(stage7: Stage) -> None:
    index_documents(stage7.source, "people", 1)
    for _ in range(2):
        stage7.bring(options=Options(jobs=2, keep_previous=True))
    kept = indices(stage7.target)
    assert len(kept) == 2
    request(stage7.target, "DELETE", "/.env-sync")
    [warning] = stage7.fill(stage7.engine()).warnings
    assert kept < indices(stage7.target)
    assert "no record tells that it is one" in warning
