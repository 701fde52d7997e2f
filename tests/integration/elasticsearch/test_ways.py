"""What goes from cluster to cluster, in each way there is."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from env_sync.core.errors import ServerRefused
from env_sync.domain.sync import Action, CopyWay
from tests.integration.elasticsearch.stage import (
    PAIRS,
    Stage,
    count,
    index_documents,
    indices,
    request,
    results_of_tasks,
)

PEOPLE = "people_+ü'(1)&=;%41"
MAPPINGS = {"properties": {"number": {"type": "integer"}, "word": {"type": "keyword"}}}


def fill_source(stage: Stage) -> None:
    body = {
        "settings": {"number_of_shards": 2, "number_of_replicas": 0, "refresh_interval": "7s"},
        "mappings": MAPPINGS,
        "aliases": {
            "pages": {"is_write_index": True},
            "even": {"filter": {"term": {"word": "even"}}, "routing": "1"},
        },
    }
    assert request(stage.source, "PUT", "/pages-2026", body)["acknowledged"]
    index_documents(stage.source, "pages-2026", 30, word="odd")
    request(stage.source, "PUT", "/pages-2026/_doc/routed?routing=1&refresh=true", {"word": "even"})
    request(stage.source, "PUT", f"/{quote(PEOPLE)}", {"settings": {"number_of_replicas": 1}})
    index_documents(stage.source, PEOPLE, 5)
    request(stage.source, "PUT", "/closed", {})
    request(stage.source, "POST", "/closed/_close")
    request(stage.source, "PUT", "/hidden", {"settings": {"index.hidden": True}})
    template = {"index_patterns": ["pages-*"], "template": {"mappings": MAPPINGS}}
    request(stage.source, "PUT", "/_index_template/pages", template)
    request(stage.source, "PUT", "/_index_template/other", {"index_patterns": ["other-*"]})


def check_target(stage: Stage) -> None:
    target = stage.target
    assert [count(target, name) for name in ("pages", quote(PEOPLE), "pages-2026")] == [31, 5, 31]
    assert count(target, "even") == 1
    assert count(target, "*,-.tasks*") == 36
    [(name, found)] = request(target, "GET", "/pages").items()
    assert found["mappings"]["properties"]["word"] == {"type": "keyword"}
    assert found["settings"]["index"]["number_of_shards"] == "2"
    assert found["settings"]["index"]["refresh_interval"] == "7s"
    assert found["aliases"]["pages"] == {"is_write_index": True}
    assert found["aliases"]["even"]["filter"] == {"term": {"word": "even"}}
    assert found["aliases"]["even"]["search_routing"] == "1"
    assert request(target, "GET", f"/{name}/_doc/routed?routing=1")["_routing"] == "1"
    assert not {each for each in indices(target) if "closed" in each or "hidden" in each}
    templates = request(target, "GET", "/_index_template")["index_templates"]
    assert {each["name"] for each in templates} >= {"pages"}
    assert "other" not in {each["name"] for each in templates}


def test_a_push_and_a_pull(stage8: Stage) -> None:
    fill_source(stage8)
    taken = stage8.push()
    assert re.fullmatch(r"[0-9-]{10}t[0-9]{6}z-search-1", taken.dump_key)
    assert taken.indices == 2
    engine = stage8.engine(Action.PULL)
    filled = stage8.fill(engine)
    assert (filled.dump_key, filled.indices, filled.documents, filled.warnings) == (taken.dump_key, 2, 36, ())
    assert (filled.source_environment, filled.data_time) == ("staging", taken.data_time)
    assert count(stage8.target, "*") == 0
    stage8.sanitise(engine)
    stage8.promote(engine)
    check_target(stage8)


@pytest.mark.parametrize(
    ("stage", "way"),
    [
        ("7a to 8a", CopyWay.REPOSITORY),
        # The sandbox's 8.19 has no reindex.
        ("7a to 7b", CopyWay.REINDEX),
        *((pair, CopyWay.SCROLL) for pair in PAIRS),
    ],
    indirect=["stage"],
)
def test_a_copy(stage: Stage, way: CopyWay) -> None:
    fill_source(stage)
    engine = stage.engine(copy_way=way)
    filled = stage.fill(engine)
    assert (filled.indices, filled.documents, filled.warnings) == (2, 36, ())
    assert "copy_way says so" in filled.way
    assert results_of_tasks(stage.target) == 0
    stage.sanitise(engine)
    stage.promote(engine)
    check_target(stage)


def test_a_copy_says_why_it_takes_its_way(stage7: Stage) -> None:
    fill_source(stage7)
    assert "through the snapshot repository (it is the best" in stage7.fill(stage7.engine()).way
    request(stage7.target, "DELETE", f"/_snapshot/{stage7.repository}")
    way = stage7.fill(stage7.engine()).way
    assert f"by reindex from remote (not through the snapshot repository: {stage7.repository} is not" in way


def test_a_copy_without_repository_and_reindex_scrolls(stage8: Stage) -> None:
    fill_source(stage8)
    request(stage8.source, "DELETE", f"/_snapshot/{stage8.repository}")
    way = stage8.fill(stage8.engine()).way
    assert "by scroll and bulk" in way
    assert "not by reindex from remote: the target" in way


def test_no_older_cluster_takes_what_a_newer_one_holds(downwards: Stage) -> None:
    fill_source(downwards)
    engine = downwards.engine()
    with (
        engine.at_work(),
        pytest.raises(ServerRefused, match=r"8\.19\.21, and the target is 7"),
    ):
        engine.copy()
    assert indices(downwards.target) == set()
