from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.mariadb import MariaDBServer
from tests.integration.mysql.stage import Stage, set_up, tear_down


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
