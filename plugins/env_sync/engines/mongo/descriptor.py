"""What is known of MongoDB and Amazon DocumentDB before they are used; see `EngineDescriptor`."""

from __future__ import annotations

from functools import partial

from attrs import evolve

from env_sync.domain.capabilities import Capabilities
from env_sync.domain.engine_descriptor import EngineDescriptor
from env_sync.domain.sync import Action
from env_sync.engines.mongo.names import refusals

MONGO = EngineDescriptor(
    name="mongo",
    label="MongoDB",
    engine="env_sync.engines.mongo.engine:MongoEngine",
    capabilities=Capabilities(
        actions=frozenset({Action.PUSH, Action.PULL}),
        storagebackends=frozenset({"s3"}),
        transformation=True,
        postprocess=True,
        pre_dump_transformation=False,
        excluded_tables=True,
        previous=False,
    ),
    refusals=refusals,
)
DOCUMENTDB = evolve(
    MONGO, name="documentdb", label="Amazon DocumentDB", refusals=partial(refusals, dbms="documentdb")
)
