"""What is known of MySQL and MariaDB before they are used; see `EngineDescriptor`."""

from __future__ import annotations

from env_sync.domain.capabilities import Capabilities
from env_sync.domain.engine_descriptor import DumpFormat, EngineDescriptor
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
    dump_formats=(
        DumpFormat(begins=b"-- MySQL dump", name="a dump of MySQL"),
        DumpFormat(begins=b"-- MariaDB dump", name="a dump of MariaDB"),
        DumpFormat(begins=b"/*M!999999", name="a dump of MariaDB"),
    ),
    extra=frozenset(
        {
            *("lease_database", "definer", "ssl_mode", "ssl_ca", "ssl_cert", "ssl_key"),
            *("accept_log_tables", "accept_raw_log", "accept_set_user", "accept_superuser"),
            *("accepted_administrators", "accepted_init_connect", "accepted_readers"),
        }
    ),
)
