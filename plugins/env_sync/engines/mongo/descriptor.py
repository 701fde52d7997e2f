"""What is known of MongoDB and Amazon DocumentDB before they are used; see `EngineDescriptor`."""

from __future__ import annotations

from functools import partial

from attrs import evolve

from env_sync.domain.capabilities import Capabilities
from env_sync.domain.engine_descriptor import DumpFormat, EngineDescriptor
from env_sync.domain.sync import Action
from env_sync.engines.mongo.names import refusals

MAGIC = b"\x6d\xe2\x99\x81"
"""How an archive of mongodump begins."""

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
    dump_formats=(DumpFormat(begins=MAGIC, name="an archive of mongodump"),),
    extra=frozenset(
        {
            *("auth_source", "direct_connection", "read_preference", "replica_set"),
            *("lease_database", "server_selection_timeout", "tls", "tls_ca_file"),
            *("accept_unseen_readers", "accepted_lease_writers", "accepted_readers", "open_to_anybody"),
        }
    ),
)
DOCUMENTDB = evolve(
    MONGO, name="documentdb", label="Amazon DocumentDB", refusals=partial(refusals, dbms="documentdb")
)
