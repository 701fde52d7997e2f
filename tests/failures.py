"""A plugin of pytest that writes down which tests failed, for the end of `bin/test`'s output.

pytest -p tests.failures --failures FILE
"""

from __future__ import annotations

from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

LONGEST = 300  # characters of a message


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--failures", metavar="FILE", type=Path, help="write there which tests failed")


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Write a line for each test that failed, with the first line of why."""
    file: Path | None = config.getoption("--failures")
    if file is not None:
        failed = [
            f"{word} {_line(report)}\n"
            for word, category in (("FAILED", "failed"), ("ERROR", "error"))
            for report in terminalreporter.getreports(category)
        ]
        file.write_text("".join(failed))


def _line(report: pytest.TestReport | pytest.CollectReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    said = str(report.longrepr or "") if crash is None else crash.message
    first = next((line for line in said.splitlines() if line.strip()), "")
    return f"{report.nodeid} - {first[:LONGEST]}"
