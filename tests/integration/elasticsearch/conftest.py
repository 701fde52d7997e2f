"""A stage for each test, on two clusters of one version or of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.clusters import Clusters
from tests.integration.elasticsearch.stage import PAIRS, Stage
from tests.swept_tests import sweep_over


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """An ordinary run tries each test of either version on one of them."""
    sweep_over(items, "either", at_most=1)


def stage_on(clusters: Clusters, source: str, target: str, folder: Path) -> Iterator[Stage]:
    """A stage with a repository of its own, and nothing on either cluster."""
    above, below = clusters.get(source, target)
    stage = Stage(source=above, target=below, folder=folder)
    stage.clear()
    stage.set_up()
    yield stage
    stage.clear()


@pytest.fixture(params=PAIRS)
def stage(request: pytest.FixtureRequest, clusters: Clusters, tmp_path: Path) -> Iterator[Stage]:
    """On each of these pairs of clusters."""
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
