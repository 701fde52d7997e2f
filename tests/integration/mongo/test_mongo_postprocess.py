"""Rules for documents, through the engine: in the proof, and closed where they fail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

from env_sync.core.errors import AccessRefused, ProofMissing, TransformationFailed
from env_sync.domain.manifest import Transformation
from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.domain.postprocess.replace_text import Replacement, ReplaceText
from env_sync.engines.base.contract import Dump
from env_sync.engines.mongo.engine import MongoEngine
from tests.integration.mongo.stage import SECRET, Stage
from tests.integration.postprocess.bound import bound

ABOVE, BELOW = "staging.govuk-internal.digital", "integration.govuk-internal.digital"
BACKENDS = [
    {"_id": 1, "backend_id": "static", "backend_url": f"http://static.{ABOVE}/"},
    {"_id": 2, "backend_id": "search-api", "backend_url": f"http://search-api.{ABOVE}/"},
    {
        "_id": 3,
        "backend_id": "spotlight-proxy",
        "backend_url": "https://spotlight-proxy.staging.publishing.service.gov.uk/",
    },
    {"_id": 4, "backend_id": "campaign", "backend_url": "https://campaign.example.org/a"},
]
PATH = "/government/uploads/system/uploads/1/zq-private"
ASSETS = [
    {"_id": 1, "legacy_url_path": f"{PATH}-1.pdf"},
    {"_id": 2, "legacy_url_path": f"{PATH}-2.pdf", "access_limited": ["5d1e"]},
    {"_id": 3, "legacy_url_path": f"{PATH}-3.pdf", "access_limited_organisation_ids": ["8a4f"]},
    {"_id": 4, "legacy_url_path": f"{PATH}-4.pdf", "access_limited": [], "more": 1},
]
TRANSFORMATION = (
    "- {insert: backends, documents: [{_id: 5, backend_id: new, backend_url: 'http://new.%s/'}]}\n"
)


def router() -> Postprocess:
    rule = bound("router", "integration", "mongo")
    assert isinstance(rule, Postprocess)
    return rule


def assets() -> Postprocess:
    rule = bound("govuk_assets_production", "integration", "documentdb")
    assert isinstance(rule, Postprocess)
    return rule


def as_said(rule: Postprocess) -> Transformation:
    return Transformation(name=f"postprocess/{rule.rule}", sha256=rule.sha256)


def dumped(stage: Stage, collection: str, documents: Sequence[dict[str, Any]]) -> Dump:
    with stage.server.connected() as client:
        client[stage.database][collection].insert_many(documents)
    return stage.dump()[0]


def documents(stage: Stage, collection: str) -> list[dict[str, Any]]:
    with stage.server.connected() as client:
        return list(client[stage.database][collection].find(sort=[("_id", 1)]))


def raw(stage: Stage, dump: Dump, rule: Postprocess, *, transformation: str = "") -> MongoEngine:
    """An engine whose incoming is restored and raw."""
    work = stage.engine(transformation=transformation).work
    engine = MongoEngine(evolve(work, sync=evolve(work.sync, postprocess=(rule,))))
    with engine.at_work():
        engine.restore(dump)
    return engine


def test_a_router_is_rewritten_after_the_transformation_and_it_is_in_the_proof(stage: Stage) -> None:
    rule, dump = router(), dumped(stage, "backends", BACKENDS)
    engine = raw(stage, dump, rule, transformation=TRANSFORMATION % ABOVE)
    file = engine.work.sync.transformation
    assert file
    with engine.at_work():
        stamp = engine.sanitise([file], [rule])
    assert [one.name for one in stamp.transformations] == [file.name, "postprocess/rewrite_domain"]
    assert stamp.transformations[1:] == (as_said(rule),)
    assert documents(stage, "backends") == BACKENDS
    for wrong in (stamp.transformations[:1], (stamp.transformations[0], as_said(assets()))):
        with engine.at_work(), pytest.raises(ProofMissing):
            engine.promote(wrong, lambda: None)
    with engine.at_work():
        engine.promote(stamp.transformations, lambda: None)
    assert [one["backend_url"] for one in documents(stage, "backends")] == [
        f"http://static.{BELOW}/",
        f"http://search-api.{BELOW}/",
        f"https://spotlight-proxy.{BELOW}/",
        "https://campaign.example.org/a",
        f"http://new.{BELOW}/",
    ]


def test_names_of_limited_files_are_gone_and_it_is_in_the_proof(documentdb: Stage) -> None:
    engine = raw(documentdb, dumped(documentdb, "assets", ASSETS), assets())
    with engine.at_work():
        stamp = engine.sanitise([], [assets()])
        engine.promote((as_said(assets()),), lambda: None)
    told = engine.work.changed_rows.take()
    assert [str(one) for one in told.statements] == ["postprocess redact_last_part:1 update assets: 2 rows"]
    assert told.warnings == ()
    assert stamp.transformations == (as_said(assets()),)
    found = documents(documentdb, "assets")
    assert [found[0], found[3]] == [ASSETS[0], ASSETS[3]]
    for before, after in zip(ASSETS[1:3], found[1:3], strict=True):
        path = after["legacy_url_path"]
        assert re.fullmatch(r"/government/uploads/system/uploads/1/redacted-[0-9a-f]{24}", path)
        assert after == {**before, "legacy_url_path": path}


def fails(stage: Stage, dump: Dump, rule: Postprocess, why: str) -> None:
    before = documents(stage, "backends") + documents(stage, "assets")
    engine = raw(stage, dump, rule)
    with engine.at_work(), pytest.raises(TransformationFailed, match=why) as failed:
        engine.sanitise([], [rule])
    assert "zq-private" not in str(failed.value)
    assert stage.names(f"{stage.database}__incoming") == set()
    with engine.at_work():
        assert engine.incoming_stamp() is None
        with pytest.raises(ProofMissing):
            engine.promote((as_said(rule),), lambda: None)
    assert documents(stage, "backends") + documents(stage, "assets") == before


def test_a_router_that_does_not_say_its_domain_fails_it(stage: Stage) -> None:
    fails(
        stage, dumped(stage, "backends", BACKENDS[1:]), router(), "holds 0 documents with backend_id static"
    )


def test_a_limited_path_that_is_no_text_fails_it(stage: Stage) -> None:
    odd = {"_id": 9, "legacy_url_path": ["zq-private"], "access_limited": ["5d1e"]}
    fails(stage, dumped(stage, "assets", [*ASSETS, odd]), assets(), "is no text")


@pytest.mark.probe("what a transformation does not reach")
@pytest.mark.parametrize(
    ("collection", "field"), [("files", "legacy_url_path"), ("assets", "path")], ids=["collection", "field"]
)
def test_a_rule_that_would_pass_everything_by_fails_it(stage: Stage, collection: str, field: str) -> None:
    renamed = [
        {field if key == "legacy_url_path" else key: value for key, value in one.items()} for one in ASSETS
    ]
    fails(stage, dumped(stage, collection, renamed), assets(), "is not there, or holds no document with")


@pytest.mark.probe("what a transformation does not reach")
def test_a_rule_for_which_there_is_no_document_is_a_warning(stage: Stage) -> None:
    engine = raw(stage, dumped(stage, "assets", [ASSETS[0], ASSETS[3]]), assets())
    with engine.at_work():
        engine.sanitise([], [assets()])
    told = engine.work.changed_rows.take()
    assert [str(one) for one in told.statements] == ["postprocess redact_last_part:1 update assets: 0 rows"]
    [warning] = told.warnings
    assert warning.startswith("postprocess redact_last_part:1 update assets changed no row")


@pytest.mark.probe("a right that reaches the copies")
def test_only_a_rule_that_sanitises_keeps_others_out(stage: Stage) -> None:
    """Who may read live reads the same documents as soon as a rule that does not sanitise has run."""
    dump = dumped(stage, "backends", BACKENDS)
    watcher = f"watcher_{stage.database}"
    stage.server.create_user(watcher, SECRET, [{"role": "readAnyDatabase", "db": "admin"}])
    try:
        engine = raw(stage, dump, router())
        assert not any(watcher in each.what for each in engine.preflight([], None).findings)
        with engine.at_work():
            stamp = engine.sanitise([], [router()])
            engine.promote(stamp.transformations, lambda: None)
        with pytest.raises(AccessRefused, match=rf"{watcher} \(by role readAnyDatabase\)"):
            raw(stage, dump, assets())
    finally:
        with stage.server.connected() as client:
            client.admin.command("dropUser", watcher)


def test_a_rule_for_sql_is_refused(stage: Stage) -> None:
    rule = ReplaceText(table="a", replacements=(Replacement(columns=("b",), old="c", new="d"),))
    fails(stage, dumped(stage, "backends", BACKENDS), rule, "does not run on")


def test_the_same_rule_with_other_parameters_is_another(stage: Stage) -> None:
    rule = router()
    engine = raw(stage, dumped(stage, "backends", BACKENDS), rule)
    with engine.at_work():
        engine.sanitise([], [rule])
        with pytest.raises(ProofMissing):
            engine.promote((as_said(evolve(rule, to="elsewhere.example.com")),), lambda: None)  # type: ignore[call-arg]
