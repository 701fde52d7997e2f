"""What a cluster warns of does not reach whoever asked it something."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig, Urllib3HttpNode
from elasticsearch import Elasticsearch

from env_sync.engines.elasticsearch.quiet_node import QuietNode

NODE = NodeConfig(scheme="http", host="search.test", port=9200)
WARNS = {
    "content-type": "application/json",
    "x-elastic-product": "Elasticsearch",
    "warning": '299 Elasticsearch-7.17.29 "this request accesses system indices: [.tasks]"',
}


class Answer(NamedTuple):
    """What a node gives."""

    meta: ApiResponseMeta
    body: bytes


def answer(*_: object, **__: object) -> Answer:
    headers = HttpHeaders(WARNS)
    meta = ApiResponseMeta(status=200, http_version="1.1", headers=headers, duration=0.0, node=NODE)
    return Answer(meta, b'{"found": true}')


@pytest.mark.parametrize(("node", "warned"), [(Urllib3HttpNode, 1), (QuietNode, 0)])
def test_no_warning_is_made(
    monkeypatch: pytest.MonkeyPatch, node: type[Urllib3HttpNode], warned: int
) -> None:
    monkeypatch.setattr(Urllib3HttpNode, "perform_request", answer)
    with (
        warnings.catch_warnings(record=True) as found,
        Elasticsearch("http://search.test:9200", node_class=node) as client,
    ):
        warnings.simplefilter("always")
        told = client.perform_request("GET", "/", headers={"accept": "application/json"}).body
    assert told == {"found": True}
    assert len(found) == warned
