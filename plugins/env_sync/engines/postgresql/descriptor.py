"""What is known of PostgreSQL before it is used; see `EngineDescriptor`."""

from __future__ import annotations

from env_sync.domain.capabilities import Capabilities
from env_sync.domain.engine_descriptor import EngineDescriptor
from env_sync.domain.sync import Action
from env_sync.engines.postgresql.names import refusals

POSTGRESQL = EngineDescriptor(
    name="postgresql",
    label="PostgreSQL",
    engine="env_sync.engines.postgresql.engine:PostgreSQLEngine",
    capabilities=Capabilities(
        actions=frozenset({Action.PUSH, Action.PULL}),
        storagebackends=frozenset({"s3"}),
        transformation=True,
        postprocess=True,
        pre_dump_transformation=True,
        excluded_tables=True,
        previous=True,
    ),
    refusals=refusals,
)
