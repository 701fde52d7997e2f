"""What clusters are filled with: a small database, and one with everything in it that the engine knows.

A database of the suite is the indices whose names begin with its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from elasticsearch import Elasticsearch

from tests.integration.conformance.subject import PRIVATE

JSON = {"accept": "application/json", "content-type": "application/json"}
ONE_SHARD = {"index.number_of_shards": 1, "index.number_of_replicas": 0}
PEOPLE: Mapping[str, Any] = {
    "properties": {
        "generation": {"type": "keyword"},
        "email": {"type": "keyword"},
        "kind": {"type": "keyword"},
        "number": {"type": "integer"},
        # Not to be compressed: some scenarios need a dump of some size.
        "noise": {"type": "keyword", "index": False},
    }
}
VALUES: Mapping[str, list[Any]] = {
    "keyword": ["", "ünïcode 😀 \u202e", "two\r\nlines", "nul\0inside", '"quoted"', ["a", "b"], [], None],
    "text": ["some words, some other words", "x" * 40_000],
    "long": [0, -(2**63), 2**63 - 1, "17"],
    "integer": [-(2**31), 2**31 - 1],
    "short": [-(2**15), 2**15 - 1],
    "byte": [-128, 127],
    "double": [0.1, -0.0, 1.7976931348623157e308, 5e-324],
    "float": [3.4028234663852886e38],
    "half_float": [65504],
    "boolean": [True, False, "true", ""],
    "date": ["2026-03-29T01:30:00.001Z", "0001-01-01", 0],
    "date_nanos": ["2026-03-29T01:30:00.123456789Z"],
    "binary": ["AAECAw=="],
    "ip": ["192.0.2.1", "2001:db8::1"],
    "geo_point": [{"lat": 51.5, "lon": -0.1}, "51.5,-0.1", [-0.1, 51.5]],
    "completion": ["suggested", {"input": ["one", "two"], "weight": 3}],
    "integer_range": [{"gte": 1, "lt": 10}],
    "date_range": [{"gte": "2026-01-01", "lte": "2026-12-31"}],
    "ip_range": ["192.0.2.0/24"],
}
"""Values of every type that the core of both versions has, as they are written."""
IDS = ("1", "ünïcode 😀", "with space", "a/b?c#d", "%2f", '"quoted"', "x" * 512)
ODD_NAME = "odd.name_+ünï'(1)~!@$^&={}[];%41%s`$(id)`"
"""The end of the name of an index."""


def ask(client: Elasticsearch, method: str, path: str, body: Any = None, *, ignoring: int = 0) -> Any:
    """One request as a superuser makes it, and its answer as values. Raises ApiError but for one status."""
    headers = JSON if body is not None else {"accept": JSON["accept"]}
    # To make a client with other options takes longer than most requests.
    patient = client.options(ignore_status=[ignoring]) if ignoring else client
    return patient.perform_request(method, path, headers=headers, body=body).body


def write(
    client: Elasticsearch, index: str, documents: Mapping[str, Mapping[str, Any]], **where: str
) -> None:
    """Write documents by their ids; `where` may be their routing."""
    lines: list[Any] = []
    for name, document in documents.items():
        lines += [{"index": {"_id": name, **where}}, document]
    answer = client.bulk(index=index, operations=lines, refresh=True)
    assert not answer["errors"], answer


def fill_small(
    client: Elasticsearch, database: str, generation: str, rows: Mapping[str, Mapping[str, Any]]
) -> None:
    """People and notes, as applications find them: by the names of aliases."""
    for kind in ("people", "notes"):
        body: dict[str, Any] = {
            "settings": ONE_SHARD,
            "aliases": {f"{database}-{kind}": {"is_write_index": True}},
        }
        if kind == "people":
            body["mappings"] = PEOPLE
        ask(client, "PUT", f"/{database}-{kind}-{generation}", body)
    write(client, f"{database}-people-{generation}", rows)
    write(client, f"{database}-notes-{generation}", {"first": {"note": "first"}})


def fill_rich(client: Elasticsearch, database: str) -> None:
    """Everything at once."""
    for name, body in _indices(database).items():
        client.indices.create(index=f"{database}-{name}", body=body)
    for name, documents in _documents().items():
        write(client, f"{database}-{name}", documents)
    write(client, f"{database}-routed", {"1": {"note": "by the key"}}, routing="a key / of ours")
    client.delete(index=f"{database}-shards", id="7", refresh=True)
    client.index(index=f"{database}-shards", id="8", document={"note": "changed"}, refresh=True)
    for path, template in _templates(database).items():
        ask(client, "PUT", path, template)


def add_what_never_comes_down(client: Elasticsearch, database: str) -> None:
    """Settings of its own cluster, a closed and a hidden index, and a template that is for none of them."""
    of_its_cluster: dict[str, dict[str, Any]] = {
        "shards": {"index.routing.allocation.exclude._name": "no-such-node"},
        "archive": {"index.blocks.write": True},
    }
    for name, settings in of_its_cluster.items():
        client.indices.put_settings(index=f"{database}-{name}", settings=settings)
    for name, hidden in {"closed": False, "hidden": True}.items():
        client.indices.create(index=f"{database}-{name}", settings={**ONE_SHARD, "index.hidden": hidden})
        write(client, f"{database}-{name}", {"1": {"email": f"{name}@{PRIVATE}.example"}})
    client.indices.close(index=f"{database}-closed")
    ask(client, "PUT", f"/_index_template/{database}-other", {"index_patterns": ["of-nothing-here-*"]})


def change_rich(client: Elasticsearch, database: str) -> None:
    """Change documents in each of its corners; can be done again."""
    write(client, f"{database}-people", {"again": {"kind": "letter", "email": f"again@{PRIVATE}.example"}})
    write(client, f"{database}-types", {"again": {"keyword": "again"}})
    write(client, f"{database}-nested", {"1": {"parts": [{"name": "again"}]}})
    write(client, f"{database}-{ODD_NAME}", {"again": {"note": "again"}})
    write(client, f"{database}-shards", {str(number): {"note": "again"} for number in range(20, 30)})
    client.options(ignore_status=404).delete(index=f"{database}-ids", id=IDS[1], refresh=True)


def add_rich(client: Elasticsearch, database: str) -> None:
    """An index, a field, an alias and a template that it did not have."""
    client.indices.create(index=f"{database}-added", settings=ONE_SHARD)
    write(client, f"{database}-added", {"1": {"added": True}})
    client.indices.put_mapping(index=f"{database}-shards", properties={"added": {"type": "ip"}})
    client.indices.put_alias(index=f"{database}-shards", name=f"{database}-added-alias")
    body = {"index_patterns": [f"{database}-added*"], "priority": 9}
    ask(client, "PUT", f"/_index_template/{database}-added", body)


def _indices(database: str) -> dict[str, dict[str, Any]]:
    every_type = {kind: {"type": kind} for kind in VALUES}
    return {
        "people": {"settings": ONE_SHARD, "mappings": PEOPLE},
        "types": {"settings": ONE_SHARD, "mappings": {"properties": every_type}},
        "shards": {
            "settings": {
                "index.number_of_shards": 3,
                "index.number_of_replicas": 0,
                "index.refresh_interval": "7s",
                "index.max_result_window": 20_000,
                "index.sort.field": "note",
                "index.sort.order": "desc",
            },
            "mappings": {"properties": {"note": {"type": "keyword"}}},
            "aliases": {
                f"{database}-all": {},
                f"{database}-some": {"filter": {"term": {"note": "changed"}}},
                f"{database}-written": {"is_write_index": True},
                f"{database}-hidden-alias": {"is_hidden": True},
            },
        },
        "routed": {
            "settings": {**ONE_SHARD, "index.number_of_shards": 2},
            "mappings": {"_routing": {"required": True}},
            "aliases": {
                f"{database}-all": {},
                f"{database}-by-key": {"index_routing": "1", "search_routing": "1,2"},
            },
        },
        "mapped": {
            "settings": {
                **ONE_SHARD,
                "index.mapping.total_fields.limit": 50,
                "analysis": {
                    "filter": {"few": {"type": "stop", "stopwords": ["some"]}},
                    "analyzer": {
                        "ours": {
                            "type": "custom",
                            "tokenizer": "standard",
                            "filter": ["lowercase", "few"],
                        }
                    },
                    "normalizer": {"low": {"type": "custom", "filter": ["lowercase"]}},
                },
            },
            "mappings": {
                "_meta": {"owner": "the suite"},
                "dynamic": "strict",
                "date_detection": False,
                "dynamic_templates": [
                    {"words": {"match_mapping_type": "string", "mapping": {"type": "keyword"}}}
                ],
                "properties": {
                    "text": {
                        "type": "text",
                        "analyzer": "ours",
                        "fielddata": True,
                        "fields": {"raw": {"type": "keyword", "normalizer": "low", "ignore_above": 99}},
                    },
                    "same": {"type": "alias", "path": "text"},
                    "copied": {"type": "text", "copy_to": "text", "store": True},
                    "off": {"type": "object", "enabled": False},
                    "inner": {"dynamic": True, "properties": {"number": {"type": "long", "null_value": 0}}},
                },
            },
        },
        "nested": {
            "settings": ONE_SHARD,
            "mappings": {"properties": {"parts": {"type": "nested"}, "deep": {"enabled": False}}},
        },
        "ids": {"settings": ONE_SHARD},
        "no-source": {
            "settings": ONE_SHARD,
            "mappings": {"_source": {"enabled": False}, "properties": {"note": {"type": "keyword"}}},
        },
        "empty": {"settings": ONE_SHARD},
        "replicated": {"settings": {"index.number_of_shards": 1, "index.number_of_replicas": 1}},
        ODD_NAME: {"settings": ONE_SHARD},
        "archive": {"settings": ONE_SHARD},
        "named-hidden": {"settings": {**ONE_SHARD, "index.hidden": True}},
    }


def _documents() -> dict[str, dict[str, dict[str, Any]]]:
    types = ((kind, value) for kind, values in VALUES.items() for value in values)
    deep: dict[str, Any] = {"end": True}
    for _ in range(15):
        deep = {"n": [deep, None, {}]}
    return {
        "people": dict(_people()),
        "types": {str(number): {kind: value} for number, (kind, value) in enumerate(types)},
        "shards": {str(number): {"note": f"note {number}"} for number in range(20)},
        "mapped": {"1": {"text": "Some words", "off": {"any": ["thing", 1]}, "inner": {"new": "field"}}},
        "nested": {
            "1": {"parts": [{"name": "a", "size": 1}, {"name": "b"}], "deep": deep},
            "2": {},
            "large": {"deep": "x" * 1_000_000},
        },
        "ids": {name: {"id": name} for name in IDS},
        "no-source": {"1": {"note": "kept nowhere"}, "2": {"note": "nor this"}},
        "replicated": {"1": {"note": "twice"}},
        ODD_NAME: {"1": {"note": "odd"}},
        "archive": {"1": {"note": "not to be changed"}},
        "named-hidden": {"1": {"note": "hidden"}},
    }


def _people() -> Iterator[tuple[str, dict[str, Any]]]:
    for number in range(20):
        yield str(number), {"kind": "person", "number": number, "email": f"{number}@{PRIVATE}.example"}
    for number in range(4):
        yield f"letter {number}", {"kind": "letter", "noise": f"{PRIVATE} {number}"}


def _templates(database: str) -> dict[str, dict[str, Any]]:
    return {
        f"/_component_template/{database}-part": {
            "template": {"mappings": {"properties": {"part": {"type": "keyword"}}}}
        },
        f"/_index_template/{database}-shards": {
            "index_patterns": [f"{database}-shards*", f"{database}-more-*"],
            "priority": 7,
            "composed_of": [f"{database}-part"],
            "template": {"settings": {"index.number_of_shards": 2}},
        },
        f"/_template/{database}-legacy": {
            "index_patterns": [f"{database}-old-*", f"{database}-ids"],
            "order": 3,
            "settings": {"index": {"number_of_shards": "2"}},
        },
    }
