"""The table of where the time of a run goes."""

from __future__ import annotations

import pytest

from tests.seconds import Seconds, module_of


def report(nodeid: str, duration: float) -> pytest.TestReport:
    return pytest.TestReport(nodeid, ("", None, ""), {}, "passed", None, "call", duration=duration)


def test_durations_are_added_up() -> None:
    seconds = Seconds({"module": module_of})
    for nodeid, duration in (("tests/a.py::one", 1.0), ("tests/b.py::one", 2.5), ("tests/b.py::two", 0.5)):
        seconds.pytest_runtest_logreport(report(nodeid, duration))
    assert list(seconds.lines("module")) == ["     3.0  b.py", "     1.0  a.py", "     4.0  in all"]
