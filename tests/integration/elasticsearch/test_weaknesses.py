"""All weaknesses of a cluster at once: the look before the night names each."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from env_sync.core.secret import Secret
from tests.integration.elasticsearch.stage import Stage, index_documents, request
from tests.integration.elasticsearch.stub import secured
from tests.integration.elasticsearch.test_readers import SANITISE, SECRET, SUPERUSER, WIDE
from tests.integration.weaknesses import are_named

SECURITY: dict[str, Any] = {
    "role": {
        "superuser": SUPERUSER,
        "wide": WIDE,
        "to_snapshot": {"cluster": ["create_snapshot"]},
        "acts_as": {"cluster": [], "run_as": ["wide_user"]},
        "writer": {"indices": [{"names": [".env-*"], "privileges": ["write"]}]},
    },
    "user": {
        "env_sync": {"roles": ["superuser"], "enabled": True, "metadata": {}},
        "elastic": {"roles": ["superuser"], "enabled": True, "metadata": {"_reserved": True}},
        "wide_user": {"roles": ["wide"], "enabled": True},
        "other_super": {"roles": ["superuser"], "enabled": True},
        "snapshotter": {"roles": ["to_snapshot"], "enabled": True},
        "acting": {"roles": ["acts_as"], "enabled": True},
        "of_a_file": {"roles": ["in_a_file"], "enabled": True},
        "writer": {"roles": ["writer"], "enabled": True},
    },
    "role_mapping": {
        "staff": {"roles": ["wide"], "enabled": True},
        "operators": {"roles": ["acts_as"], "enabled": True},
    },
    "api_key": {"api_keys": [{"id": "k1", "username": "elastic"}]},
    "anonymous": {"username": "_anonymous", "roles": ["wide"]},
}
"""What a cluster says to whom many could read incoming, and one could change the leases."""
LOGS_BODIES = "logger.org.elasticsearch.http.HttpBodyTracer"


@pytest.mark.probe("a right that reaches the copies")
@pytest.mark.probe("leases that somebody else made or may change")
def test_each_of_all_weaknesses_is_named(stage7: Stage) -> None:
    index_documents(stage7.source, "people", 1)
    index_documents(stage7.target, "people", 1)
    leases = {
        "settings": {"index.hidden": False, "index.default_pipeline": "leak", "index.final_pipeline": "leak"},
        "mappings": {"enabled": True, "_source": {"enabled": False}},
        "aliases": {"mine": {}},
    }
    assert request(stage7.target, "PUT", "/.env-sync", leases).get("acknowledged")
    request(stage7.target, "PUT", "/own", {"aliases": {".env-sync-contents": {}}})
    request(stage7.target, "PUT", "/_cluster/settings", {"transient": {LOGS_BODIES: "TRACE"}})
    try:
        with secured(stage7.target.port, {"env_sync": SECRET}, SECURITY) as port:
            connection = evolve(
                stage7.connection(stage7.target, port),
                login="env_sync",
                password=Secret(SECRET),
                extra={"scheme": "http", "timeout": 20},
            )
            engine = stage7.engine(transformation=SANITISE, take=False, work={"connection": connection})
            found = (
                *engine.preflight_server(),
                *engine.preflight([stage7.folder / "sanitise.yaml"], None).findings,
            )
    finally:
        request(stage7.target, "PUT", "/_cluster/settings", {"transient": {LOGS_BODIES: None}})
    readers = {
        "wide_user": "by role wide",
        "other_super": "by role superuser",
        "snapshotter": "by role to_snapshot",
        "acting": "by role acts_as, which may act as wide_user",
        "of_a_file": "by role in_a_file",
        "role_mapping:staff": "by role wide",
        "role_mapping:operators": "by role acts_as, which may act as wide_user",
        "api_key:k1": "by what its owner, elastic, may",
        "anybody without a login": "by role wide",
    }
    are_named(
        {
            **{name: rf"problem: .*{name} \({by}.*could read incoming" for name, by in readers.items()},
            "writer of leases": r"problem: writer \(by role writer.*could change who may touch what",
            "leases in sight": r"problem: \.env-sync on .*it is not hidden",
            "a pipeline": r"problem: \.env-sync on .*index\.default_pipeline is leak",
            "a last pipeline": r"problem: \.env-sync on .*index\.final_pipeline is leak",
            "leases that are not kept": r"problem: \.env-sync on .*its mapping has _source",
            "an alias of the leases": r"problem: \.env-sync on .*it has the alias mine",
            "contents that are an alias": r"problem: \.env-sync-contents on .*it is an alias of own",
            "bodies in the log": f"note: .* logs the bodies of requests .{LOGS_BODIES} is trace",
            "where snapshots are": f"note: Whoever can read .*{stage7.repository} of .*can read the snap",
        },
        [each for each in found if "indices will be copied" not in each.what],
    )
