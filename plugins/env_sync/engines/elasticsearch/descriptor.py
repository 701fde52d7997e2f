"""What is known of Elasticsearch before it is used; see `EngineDescriptor`."""

from __future__ import annotations

from env_sync.domain.capabilities import Capabilities
from env_sync.domain.engine_descriptor import EngineDescriptor
from env_sync.domain.sync import Action
from env_sync.engines.elasticsearch.names import refusals

ELASTICSEARCH = EngineDescriptor(
    name="elasticsearch",
    label="Elasticsearch",
    engine="env_sync.engines.elasticsearch.engine:ElasticsearchEngine",
    capabilities=Capabilities(
        actions=frozenset({Action.PUSH, Action.PULL, Action.COPY}),
        storagebackends=frozenset({"elasticsearch"}),
        transformation=True,
        postprocess=False,
        pre_dump_transformation=False,
        excluded_tables=False,
        previous=False,
        indices=True,
    ),
    refusals=refusals,
    extra=frozenset(
        {
            *("ca_certs", "scheme", "timeout"),
            *("accept_unseen_readers", "accepted_lease_writers", "accepted_readers", "open_to_anybody"),
        }
    ),
)
