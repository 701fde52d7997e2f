from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.mariadb import MariaDBServer
from sandbox.mysql import server_class
from tests.conftest import run_server
from tests.integration.mysql.stage import Stage, set_up, tear_down

LOG = {"log-bin": "binlog", "server-id": "1", "log-bin-trust-function-creators": "1", "expire-logs-days": "3"}
"""So MariaDB writes what MySQL writes by itself."""


@pytest.fixture(scope="session")
def logging_server(server_folder: Path) -> Iterator[MariaDBServer]:
    """One that writes a binary log, as those with replicas do, and that keeps names in lower case."""
    settings = {"lower-case-table-names": "1", **(LOG if server_class().family == "MariaDB" else {})}
    yield from run_server(lambda: server_class()(server_folder / "logging", settings=settings))


@pytest.fixture
def stage(mariadb: MariaDBServer, tmp_path: Path) -> Iterator[Stage]:
    """A live database, and an account for the sync as on RDS."""
    made = set_up(mariadb, tmp_path)
    yield made
    tear_down(made)


@pytest.fixture
def named_stage(mariadb: MariaDBServer, tmp_path: Path) -> Iterator[Callable[[str], Stage]]:
    """The same for a database of any name."""
    made: list[Stage] = []

    def make(name: str) -> Stage:
        made.append(set_up(mariadb, tmp_path, name))
        return made[-1]

    yield make
    for each in made:
        tear_down(each)
