"""Where the time of a test run goes: seconds by module and by kind of servers, over all workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import pytest

MOST = 25
"""Lines of each table."""


class Seconds:
    """A plugin that adds up the durations of tests, fixtures included, and prints them at the end."""

    def __init__(self, kinds: Mapping[str, Callable[[str], str]]) -> None:
        """`kinds` name the tables; each says of a test's id to which line it belongs."""
        self._kinds = kinds
        self._sums: Mapping[str, dict[str, float]] = {name: defaultdict(float) for name in kinds}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, kind in self._kinds.items():
            self._sums[name][kind(report.nodeid)] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for name in self._kinds:
            terminalreporter.section(f"seconds by {name}")
            for line in self.lines(name):
                terminalreporter.write_line(line)

    def lines(self, name: str) -> Iterator[str]:
        """The lines of a table, the longest first, and their sum."""
        found = sorted(self._sums[name].items(), key=lambda item: -item[1])
        for kind, seconds in found[:MOST]:
            yield f"{seconds:8.1f}  {kind}"
        if rest := found[MOST:]:
            yield f"{sum(seconds for _, seconds in rest):8.1f}  {len(rest)} others"
        yield f"{sum(self._sums[name].values()):8.1f}  in all"


def module_of(nodeid: str) -> str:
    """The module of a test by its id."""
    return nodeid.partition("::")[0].removeprefix("tests/")
