"""What is known of MySQL and MariaDB before they are used; see `EngineDescriptor`."""

from __future__ import annotations

from env_sync.domain.capabilities import Capabilities
from env_sync.domain.engine_descriptor import EngineDescriptor
from env_sync.domain.sync import Action
from env_sync.engines.mysql.names import refusals

MYSQL = EngineDescriptor(
    name="mysql",
    label="MySQL and MariaDB",
    engine="env_sync.engines.mysql.engine:MySQLEngine",
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
