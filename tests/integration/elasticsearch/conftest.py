"""Clusters of both versions, two of each, which start side by side; and a stage on them for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox.elasticsearch import NEWER, OLDER, ElasticsearchServer
from sandbox.process import ServerMissing
from tests.integration.elasticsearch.stage import Stage

Clusters = dict[str, ElasticsearchServer]
SETTINGS = {"reindex.remote.whitelist": '"127.0.0.1:*"'}


@pytest.fixture(scope="session")
def clusters(server_folder: Path) -> Iterator[Clusters]:
    """By version and letter; `7b` may reindex from the others."""
    shared = server_folder / "elasticsearch_repositories"
    try:
        servers = {
            name: ElasticsearchServer(
                server_folder / f"elasticsearch{name}",
                OLDER if name.startswith("7") else NEWER,
                repositories=shared,
                settings=SETTINGS if name == "7b" else None,
            )
            for name in ("7a", "7b", "8a", "8b")
        }
    except ServerMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    with ExitStack() as started:
        for server in servers.values():
            started.callback(server.stop)
            server.begin()
        for server in servers.values():
            server.wait()
        yield servers


def stage_on(clusters: Clusters, source: str, target: str, folder: Path) -> Iterator[Stage]:
    """A stage with a repository of its own, and nothing on either cluster."""
    stage = Stage(source=clusters[source], target=clusters[target], folder=folder)
    stage.set_up()
    yield stage
    stage.clear()


@pytest.fixture(params=["7a to 7b", "8a to 8b", "7a to 8a"])
def stage(request: pytest.FixtureRequest, clusters: Clusters, tmp_path: Path) -> Iterator[Stage]:
    """From each version to each that can take from it."""
    source, _, target = request.param.split()
    yield from stage_on(clusters, source, target, tmp_path)


@pytest.fixture
def stage7(clusters: Clusters, tmp_path: Path) -> Iterator[Stage]:
    """Both of 7.17, where there are reindex and statements by query."""
    yield from stage_on(clusters, "7a", "7b", tmp_path)


@pytest.fixture
def stage8(clusters: Clusters, tmp_path: Path) -> Iterator[Stage]:
    """Both of 8.19."""
    yield from stage_on(clusters, "8a", "8b", tmp_path)


@pytest.fixture
def downwards(clusters: Clusters, tmp_path: Path) -> Iterator[Stage]:
    """From 8.19 to 7.17, which cannot be."""
    yield from stage_on(clusters, "8a", "7b", tmp_path)
