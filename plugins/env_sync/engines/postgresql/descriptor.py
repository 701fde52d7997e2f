"""What is known of PostgreSQL before it is used; see `EngineDescriptor`."""

from __future__ import annotations

from env_sync.domain.capabilities import Capabilities
from env_sync.domain.engine_descriptor import DumpFormat, EngineDescriptor
from env_sync.domain.sync import Action
from env_sync.engines.postgresql.names import refusals

MAGIC = b"PGDMP"
"""How an archive of pg_dump begins."""

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
    dump_formats=(
        DumpFormat(begins=MAGIC, name="an archive of pg_dump"),
        DumpFormat(begins=b"--\n-- PostgreSQL database dump", name="a plain script of pg_dump"),
    ),
    extra=frozenset(
        {
            *("lease_database", "maintenance_database", "owner"),
            *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl"),
            *("accept_memberships", "accept_superuser", "accepted_readers"),
        }
    ),
)
