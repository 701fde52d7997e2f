"""The engines that there are, by `dbms`.

Each is imported when it is first asked for: every task of Airflow reads the DAG file anew, and the drivers of
six kinds of server, of which a task needs one, take longer to import than most tasks take to run.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping

from env_sync.engines.base.contract import Engine

ENGINES: Mapping[str, str] = {
    "postgresql": "env_sync.engines.postgresql.engine:PostgreSQLEngine",
    "mysql": "env_sync.engines.mysql.engine:MySQLEngine",
    "mongo": "env_sync.engines.mongo.engine:MongoEngine",
    "documentdb": "env_sync.engines.mongo.engine:MongoEngine",
    "files": "env_sync.engines.files.engine:FilesEngine",
    "elasticsearch": "env_sync.engines.elasticsearch.engine:ElasticsearchEngine",
}


def engine_class(dbms: str) -> type[Engine]:
    """The engine of a `dbms`, one of `ENGINES`."""
    found: type[Engine] = pkgutil.resolve_name(ENGINES[dbms])
    return found
