"""How the integration tests are shared out among the workers of pytest-xdist, where their time goes, and what
those of several folders use.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer

from tests.integration.clusters import Clusters, clusters_in
from tests.integration.kept_clients import clients_of_session, kept_clients
from tests.integration.kept_keys import kept_keys
from tests.integration.scheduling import ByServers, servers_of
from tests.seconds import Seconds, module_of

__all__ = ["clients_of_session", "kept_clients", "kept_keys"]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Seconds({"module": module_of, "servers": servers_of}))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByServers:
    return ByServers(config, log)


@pytest.fixture(scope="session")
def clusters(server_folder: Path) -> Iterator[Clusters]:
    """Clusters of Elasticsearch, for the tests of the engine and for its scenarios."""
    yield clusters_in(server_folder)
    clusters_in(server_folder).stop()
