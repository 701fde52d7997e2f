"""A stage on the server of the tests, and a proxy before it that lacks what DocumentDB lacks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from sandbox.documentdb import DocumentDBProxy
from sandbox.mongodb import MongoDBServer
from tests.integration.mongo.stage import Stage


@pytest.fixture
def stage(mongodb: MongoDBServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A database of the test's own, with nothing in it yet."""
    name = "t_" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    stage = Stage(server=mongodb, database=name, folder=tmp_path)
    stage.set_up()
    yield stage
    for each in (name, f"{name}__incoming"):
        mongodb.drop_database(each)
    # It may change the leases, which nobody else may.
    mongodb.drop_user(stage.user)


@pytest.fixture
def documentdb(stage: Stage, tmp_path: Path) -> Iterator[Stage]:
    """The same through the proxy."""
    with DocumentDBProxy(stage.server.port, tmp_path / "proxy") as proxy:
        yield evolve(stage, proxy=proxy)
