"""How the integration tests are shared out among the workers of pytest-xdist, and where their time goes."""

from __future__ import annotations

import pytest
from xdist.remote import Producer

from tests.integration.scheduling import ByServers, servers_of
from tests.seconds import Seconds, module_of


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Seconds({"module": module_of, "servers": servers_of}))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByServers:
    return ByServers(config, log)
