"""What the tests of pg_dump and pg_restore share."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from env_sync.core.cancellation import Cancellation
from env_sync.core.secret import Secret
from env_sync.core.stopwatch import Stopwatch
from env_sync.engines.base.contract import DumpFacts, ServerConnection
from env_sync.engines.postgresql.archive import Archive, read_archive
from env_sync.engines.postgresql.dump import dump_database
from env_sync.engines.postgresql.restore import restore_archive
from env_sync.engines.postgresql.verify import verify_archive
from sandbox.postgresql import SUPERUSER, PostgreSQLServer

LOG = logging.getLogger("env_sync.tests")


class Steps:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.unit = ""
        self.told: list[int] = []
        self.finished = False

    def start(self, what: str, total: int | None, unit: str) -> None:
        self.total, self.unit = total, unit

    def advance(self, done: int) -> None:
        self.told.append(done)

    def finish(self) -> None:
        self.finished = True


def connection(server: PostgreSQLServer, **changed: Any) -> ServerConnection:
    wanted: dict[str, Any] = {
        "connection_id": "env_sync_test_server",
        "environment": "test",
        "host": server.host,
        "port": server.port,
        "login": SUPERUSER,
        "password": Secret(server.password),
        "extra": {},
    }
    return ServerConnection(**(wanted | changed))


def dump(server: PostgreSQLServer, database: str, to: Path, **options: Any) -> DumpFacts:
    wanted: dict[str, Any] = {
        "connection": connection(server),
        "compression": "gzip:1",
        "cancellation": Cancellation(),
        "progress": Steps(),
        "log": LOG,
    }
    wanted |= options
    return dump_database(wanted.pop("connection"), database, to, **wanted)


def read(file: Path) -> Archive:
    return read_archive(file, cancellation=Cancellation(), log=LOG)


def verify(file: Path, **options: Any) -> None:
    wanted: dict[str, Any] = {"cancellation": Cancellation(), "progress": Steps(), "log": LOG}
    verify_archive(file, **(wanted | options))


def restore(server: PostgreSQLServer, file: Path, database: str, **options: Any) -> tuple[str, ...]:
    wanted: dict[str, Any] = {
        "connection": connection(server),
        "jobs": 2,
        "cancellation": Cancellation(),
        "progress": Steps(),
        "stopwatch": Stopwatch(),
        "log": LOG,
    }
    wanted |= options
    return restore_archive(read(file), wanted.pop("connection"), database, **wanted)
