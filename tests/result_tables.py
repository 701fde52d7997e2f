"""The tables that are printed at the end of a run.

Registered for all tests: with pytest-xdist the process that gets the reports reads no conftest.py below the
folder that is run.
"""

from __future__ import annotations

import pytest

from tests.probes.table import ProbeTable
from tests.result_table import CONFORMANCE, ResultTable


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(ResultTable(CONFORMANCE, "Scenario"))
    config.pluginmanager.register(ProbeTable())
