"""Tables of results, by row and column, printed at the end of a run.

A test may run in another process (pytest-xdist): where its result belongs travels with its report, as user
properties.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import frozen

CONFORMANCE = "conformance"
"""The table of the conformance suite, scenario by subject."""
SAID = "said"
"""A property by which a test that passed says something instead of "ok"."""
Cell = tuple[str, str]
"""A row and a column."""


@frozen
class Result:
    """How one test ended: pytest's word for it, and what it said."""

    outcome: str
    said: str


def put_into(table: str, item: pytest.Item, row: str, column: str) -> None:
    """Let the result of a test stand in a table; it may stand in several cells."""
    item.user_properties.append((table, [row, column]))


class ResultTable:
    """A plugin of pytest that collects the results of one table. `corner` heads its first column."""

    def __init__(self, name: str, corner: str) -> None:
        self.name = name
        self._corner = corner
        self.results: dict[Cell, list[Result]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what belongs into this table."""
        if report.when != "call" and report.passed:
            return
        said = next((str(value) for name, value in report.user_properties if name == SAID), "ok")
        for name, value in report.user_properties:
            if name == self.name and isinstance(value, list):
                row, column = value
                self.results.setdefault((row, column), []).append(Result(report.outcome, said))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, if any of its tests was run."""
        if self.results:
            terminalreporter.section(self.name)
            for line in self.lines():
                terminalreporter.write_line(line)

    def rows(self) -> Sequence[str]:
        """The rows, in their order: as their first results came."""
        return list(dict.fromkeys(row for row, _ in self.results))

    def columns(self) -> Sequence[str]:
        """The columns, in their order."""
        return sorted({column for _, column in self.results})

    def cell(self, row: str, column: str) -> str:
        """What stands in a cell: the last word on it."""
        results = self.results.get((row, column))
        if not results:
            return ""
        return results[-1].said if results[-1].outcome == "passed" else results[-1].outcome.upper()

    def lines(self) -> list[str]:
        """The table as text."""
        columns = self.columns()
        table = [[self._corner, *columns]]
        table += [[row, *(self.cell(row, column) for column in columns)] for row in self.rows()]
        widths = [max(len(line[number]) for line in table) for number in range(len(columns) + 1)]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
