"""The engines that there are, by `dbms`."""

from __future__ import annotations

from collections.abc import Mapping

from env_sync.engines.contract import Engine
from env_sync.engines.elasticsearch.engine import ElasticsearchEngine
from env_sync.engines.files.engine import FilesEngine
from env_sync.engines.mongo.engine import MongoEngine
from env_sync.engines.mysql.engine import MySQLEngine
from env_sync.engines.postgresql.engine import PostgreSQLEngine

ENGINES: Mapping[str, type[Engine]] = {
    "postgresql": PostgreSQLEngine,
    "mysql": MySQLEngine,
    "mongo": MongoEngine,
    "documentdb": MongoEngine,
    "files": FilesEngine,
    "elasticsearch": ElasticsearchEngine,
}
