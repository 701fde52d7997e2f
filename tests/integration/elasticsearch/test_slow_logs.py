"""Indices that are not sanitised yet log no request, however their source is set."""

from __future__ import annotations

from typing import Any

import pytest

from env_sync.domain.finding import Level
from env_sync.domain.sync import Action, CopyWay
from env_sync.engines.elasticsearch import scroll
from env_sync.engines.elasticsearch.copied_documents import end_filling
from env_sync.engines.elasticsearch.session import Cluster
from tests.integration.elasticsearch.stage import Stage, index_documents, indices, request

SECRET = "ann@home.example"
SANITISE = """\
- update_by_query: people
  query: {exists: {field: mail}}
  script: {lang: set_field, source: mail, params: {value: "gone@example.org"}}
"""
LOUD = {
    "index.indexing.slowlog.source": "true",
    "index.indexing.slowlog.threshold.index.trace": "0ms",
    "index.search.slowlog.threshold.fetch.warn": "0ms",
}


def slow_logs(stage: Stage, index: str) -> dict[str, str]:
    """The settings of its slow logs that an index has of its own."""
    path = f"/{index}/_settings?flat_settings&expand_wildcards=all"
    [found] = request(stage.target, "GET", path).values()
    return {name: value for name, value in found["settings"].items() if "slowlog" in name}


@pytest.mark.probe("raw values in logs and profiles")
@pytest.mark.parametrize("way", [CopyWay.REPOSITORY, CopyWay.REINDEX, CopyWay.SCROLL])
def test_incoming_logs_nothing_and_live_what_its_source_does(
    stage7: Stage, monkeypatch: pytest.MonkeyPatch, way: CopyWay
) -> None:
    index_documents(stage7.source, "people", 3, mail=SECRET)
    request(stage7.source, "PUT", "/people/_settings", LOUD)
    seen: list[dict[str, str]] = []
    ask = Cluster.ask

    def watched(cluster: Cluster, method: str, path: str, *rest: Any, **params: Any) -> Any:
        if "_update_by_query" in path and method == "POST" and "env-sync-none" not in path:
            [incoming] = indices(stage7.target)
            seen.append(slow_logs(stage7, incoming))
        return ask(cluster, method, path, *rest, **params)

    monkeypatch.setattr(Cluster, "ask", watched)
    stage7.bring(transformation=SANITISE, copy_way=way)
    [during] = seen
    assert during.pop("index.indexing.slowlog.source") == "false"
    assert len(during) == 12
    assert set(during.values()) == {"-1"}
    [live] = indices(stage7.target)
    assert slow_logs(stage7, live) == LOUD


@pytest.mark.probe("raw values in logs and profiles")
def test_it_is_silent_while_it_is_filled(stage7: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    index_documents(stage7.source, "people", 3, mail=SECRET)
    request(stage7.source, "PUT", "/people/_settings", LOUD)
    engine = stage7.engine(copy_way=CopyWay.SCROLL)
    seen: list[dict[str, str]] = []

    def watched(*given: Any) -> None:
        [incoming] = indices(stage7.target)
        seen.append(slow_logs(stage7, incoming))
        end_filling(*given)

    monkeypatch.setattr(scroll, "end_filling", watched)
    stage7.fill(engine)
    assert [set(each.values()) for each in seen] == [{"-1", "false"}]


def test_a_cluster_that_logs_what_it_is_sent_is_told_of(stage7: Stage) -> None:
    name = "logger.org.elasticsearch.http.HttpTracer"
    request(stage7.target, "PUT", "/_cluster/settings", {"transient": {name: "trace"}})
    try:
        findings = stage7.engine(Action.COPY, take=False).preflight_server()
        assert any(name in each.what for each in findings if each.level is Level.NOTE)
    finally:
        request(stage7.target, "PUT", "/_cluster/settings", {"transient": {name: None}})
