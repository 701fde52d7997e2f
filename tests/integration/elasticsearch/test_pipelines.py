"""No pipeline of the target sees a document of incoming; what is live has those of its source.

The clusters of these tests have no pipelines: a document that is to pass one is refused.
"""

from __future__ import annotations

from typing import Any

import pytest
from elasticsearch import Elasticsearch

from env_sync.core.errors import AccessRefused
from env_sync.domain.sync import Action, CopyWay
from env_sync.engines.elasticsearch.engine import ElasticsearchEngine
from env_sync.engines.elasticsearch.session import Cluster
from tests.integration.elasticsearch.stage import Stage, count, index_documents, indices, request

SECRET = "ann@home.example"
SANITISE = """\
- update_by_query: people
  query: {exists: {field: mail}}
  script: {lang: set_field, source: mail, params: {value: "gone@example.org"}}
- delete_by_query: people
  query: {term: {number: 2}}
"""
LEAKING = {"index.default_pipeline": "leak", "index.final_pipeline": "leak_too"}
NONE = dict.fromkeys(LEAKING, "_none")
WRITES = ("/_reindex", "/_update_by_query", "/_delete_by_query")


def pipelines(stage: Stage, index: str) -> dict[str, str]:
    """The pipelines in the settings of an index."""
    path = f"/{index}/_settings?flat_settings&expand_wildcards=all"
    [found] = request(stage.target, "GET", path).values()
    return {name: found["settings"][name] for name in LEAKING if name in found["settings"]}


@pytest.fixture
def written(stage7: Stage, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, dict[str, str]]]:
    """The requests that write documents: path, pipeline, and what their index says of pipelines then."""
    index_documents(stage7.source, "people", 3, mail=SECRET)
    request(stage7.source, "PUT", "/people/_settings", LEAKING)
    found: list[tuple[str, Any, dict[str, str]]] = []
    ask, bulk = Cluster.ask, Elasticsearch.bulk

    def watched(cluster: Cluster, method: str, path: str, body: Any = None, **params: Any) -> Any:
        # The look at what a cluster can do sends no statement.
        if method == "POST" and path.endswith(WRITES) and body:
            pipeline = body["dest"].get("pipeline") if path == "/_reindex" else params.get("pipeline")
            [incoming] = indices(stage7.target)
            found.append((path.rpartition("/")[2], pipeline, pipelines(stage7, incoming)))
        return ask(cluster, method, path, body, **params)

    def watched_bulk(client: Elasticsearch, *given: Any, **params: Any) -> Any:
        [incoming] = indices(stage7.target)
        found.append(("_bulk", params.get("pipeline"), pipelines(stage7, incoming)))
        return bulk(client, *given, **params)

    monkeypatch.setattr(Cluster, "ask", watched)
    monkeypatch.setattr(Elasticsearch, "bulk", watched_bulk)
    return found


@pytest.mark.probe("what the server itself does with a copy")
@pytest.mark.parametrize(
    ("action", "way", "filled_by"),
    [
        (Action.COPY, CopyWay.REPOSITORY, []),
        (Action.COPY, CopyWay.REINDEX, ["_reindex"]),
        (Action.COPY, CopyWay.SCROLL, ["_bulk"]),
        (Action.PULL, CopyWay.AUTO, []),
    ],
)
def test_no_document_of_incoming_passes_a_pipeline(
    stage7: Stage, written: list[Any], action: Action, way: CopyWay, filled_by: list[str]
) -> None:
    if action is Action.PULL:
        stage7.push()
    stage7.bring(action, transformation=SANITISE, copy_way=way)
    unpiped = [(each, "_none", NONE) for each in (*filled_by, "_update_by_query")]
    # A delete passes none, and its request takes none.
    assert written == [*unpiped, ("_delete_by_query", None, NONE)]
    assert count(stage7.target, "people") == 2
    [live] = indices(stage7.target)
    assert pipelines(stage7, live) == LEAKING


def refused(stage: Stage, engine: ElasticsearchEngine, step: str) -> str:
    """What an engine says of pipelines that somebody gave incoming before a step."""
    [incoming] = indices(stage.target)
    request(stage.target, "PUT", f"/{incoming}/_settings", LEAKING)
    with pytest.raises(AccessRefused) as problem:
        getattr(stage, step)(engine)
    return str(problem.value)


@pytest.mark.probe("what the server itself does with a copy")
@pytest.mark.parametrize("step", ["sanitise", "promote"])
def test_pipelines_that_somebody_gives_it_meanwhile(stage7: Stage, step: str) -> None:
    index_documents(stage7.source, "people", 3)
    engine = stage7.engine(transformation="- delete_by_query: people\n  query: {match_all: {}}\n")
    stage7.fill(engine)
    if step == "promote":
        stage7.sanitise(engine)
    said = refused(stage7, engine, step)
    assert "index.default_pipeline is leak; index.final_pipeline is leak_too" in said
    assert "ive is untouched" in said
    assert count(stage7.target, "people") == 0


def test_what_the_source_does_not_say_live_does_not_either(stage7: Stage) -> None:
    request(stage7.source, "PUT", "/people", {"settings": {"index.final_pipeline": "_none"}})
    stage7.bring(copy_way=CopyWay.SCROLL)
    [live] = indices(stage7.target)
    assert pipelines(stage7, live) == {"index.final_pipeline": "_none"}
