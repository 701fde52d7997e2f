"""An index of incoming goes by no other name and is hidden, whatever templates there are, or is refused."""

from __future__ import annotations

from typing import Any

import pytest

from env_sync.core.errors import AccessRefused
from env_sync.domain.sync import CopyWay
from env_sync.engines.elasticsearch import copying, reindex, scroll
from env_sync.engines.elasticsearch.incoming import HIGHEST, set_up
from env_sync.engines.elasticsearch.session import Cluster
from tests.integration.elasticsearch.stage import Stage, count, index_documents, indices, request

SANITISE = "- delete_by_query: people\n  query: {match_all: {}}\n"


def rival(priority: int, **template: Any) -> dict[str, Any]:
    return {"index_patterns": ["env-sync-*"], "priority": priority, "template": template}


@pytest.mark.probe("what the server itself does with a copy")
@pytest.mark.parametrize("way", [CopyWay.SCROLL, CopyWay.REINDEX])
def test_a_template_in_the_place_of_ours(
    stage7: Stage, monkeypatch: pytest.MonkeyPatch, way: CopyWay
) -> None:
    index_documents(stage7.source, "people", 3)

    def and_then_replaced(cluster: Cluster) -> None:
        set_up(cluster)
        request(stage7.target, "PUT", "/_index_template/env-sync", rival(HIGHEST, aliases={"peek": {}}))

    def written(*_: Any) -> None:
        pytest.fail("Something was written to it.")

    monkeypatch.setattr(copying, "set_up", and_then_replaced)
    monkeypatch.setattr(scroll, "scroll_index", written)
    monkeypatch.setattr(reindex, "begin_reindex", written)
    with pytest.raises(AccessRefused, match=r"has the alias peek.*nothing was written to it"):
        stage7.fill(stage7.engine(copy_way=way))
    assert indices(stage7.target) == set()


@pytest.mark.probe("what the server itself does with a copy")
def test_a_template_with_the_highest_priority(stage7: Stage) -> None:
    index_documents(stage7.source, "people", 1)
    request(stage7.target, "PUT", "/_index_template/rival", rival(HIGHEST))
    with pytest.raises(AccessRefused, match=r"rival.*delete it"):
        stage7.fill(stage7.engine())
    assert indices(stage7.target) == set()
    request(stage7.target, "PUT", "/_index_template/rival", rival(HIGHEST - 1, aliases={"peek": {}}))
    stage7.bring(copy_way=CopyWay.SCROLL)
    assert count(stage7.target, "people") == 1
    assert "error" in request(stage7.target, "GET", "/_alias/peek")


@pytest.mark.probe("a right that is given during a pull")
@pytest.mark.parametrize("step", ["sanitise", "promote"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("PUT", "/{}/_alias/peek", {}), "it has the alias peek"),
        (("PUT", "/{}/_settings", {"index.hidden": False}), "it is not hidden"),
    ],
)
def test_what_somebody_opens_meanwhile(
    stage7: Stage, step: str, change: tuple[str, str, dict[str, Any]], said: str
) -> None:
    index_documents(stage7.source, "people", 3)
    index_documents(stage7.target, "people", 1)
    engine = stage7.engine(transformation=SANITISE)
    stage7.fill(engine)
    if step == "promote":
        stage7.sanitise(engine)
    [incoming] = indices(stage7.target) - {"people"}
    method, path, body = change
    assert request(stage7.target, method, path.format(incoming), body) == {"acknowledged": True}
    with pytest.raises(AccessRefused, match=f"is not closed: {said}.*ive is untouched"):
        getattr(stage7, step)(engine)
    assert count(stage7.target, "people") == 1
    if step == "sanitise":
        assert indices(stage7.target) == {"people"}
