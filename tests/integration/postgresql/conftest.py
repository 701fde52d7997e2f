from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.postgresql import PostgreSQLServer
from tests.integration.postgresql.stage import VERSIONS, Stage, set_up
from tests.swept_tests import sweep_over

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """An ordinary run tries each test on one of the servers."""
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    sweep_over(ours, "any_stage", at_most=1)
    sweep_over(ours, "server", at_most=1)
    sweep_over(ours, "any_server", at_most=1)


@pytest.fixture(
    params=[*((version, False) for version in VERSIONS), ("postgresql18", True)],
    ids=lambda param: f"{param[0]}-{'superuser' if param[1] else 'rds'}",
)
def any_stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """A server of each version, and a superuser's or an RDS-like role for the sync."""
    name, superuser = request.param
    server: PostgreSQLServer = request.getfixturevalue(name)
    yield set_up(server, tmp_path, superuser=superuser)
    server.clear()


@pytest.fixture(params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[PostgreSQLServer]:
    """A server of each version."""
    server: PostgreSQLServer = request.getfixturevalue(request.param)
    yield server
    server.clear()


@pytest.fixture
def stage(postgresql18: PostgreSQLServer, tmp_path: Path) -> Iterator[Stage]:
    """A server of the newest version, and an RDS-like role for the sync."""
    yield set_up(postgresql18, tmp_path, superuser=False)
    postgresql18.clear()


@pytest.fixture
def named_stage(postgresql18: PostgreSQLServer, tmp_path: Path) -> Iterator[Callable[[str], Stage]]:
    """The same for a database of any name."""
    yield lambda name: set_up(postgresql18, tmp_path, superuser=False, database=name)
    postgresql18.clear()
