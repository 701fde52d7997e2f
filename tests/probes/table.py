"""The table of probes, kind by engine: what holds, what is broken, and what cannot be or was not tried."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath

import pytest

from tests.changed import engine_of
from tests.parameters import parameters_of
from tests.probes.kinds import ENGINES, KINDS, Kind
from tests.result_table import ResultTable, put_into

MARKER = "probe"
NAME = "probes"
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
HOLDS, BROKEN = "holds", "BROKEN"
NOT_APPLICABLE, NOT_PROBED, NOT_RUN = "not applicable", "not probed", "-"


class ProbeTable(ResultTable):
    """A plugin of pytest that collects the results of all tests that carry the marker."""

    def __init__(self) -> None:
        super().__init__(NAME, "Kind of attack")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Let each report say for itself what it probes: it may come from another process."""
        for item in items:
            for marker in item.iter_markers(MARKER):
                folder = engine_of(item.path, _subject(item))
                if folder is None:
                    raise pytest.UsageError(f"{item.nodeid} is a probe in the folder of no engine")
                for kind in marker.args if folder in marker.kwargs.get("engines", ENGINES) else ():
                    if kind not in BY_NAME:
                        raise pytest.UsageError(f"{item.nodeid} probes {kind!r}, which no kind is called")
                    put_into(NAME, item, kind, ENGINES[folder])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table and what it means."""
        super().pytest_terminal_summary(terminalreporter)
        for kind in KINDS if self.results else ():
            terminalreporter.write_line("")
            terminalreporter.write_line(f"{kind.name}: {kind.tries} {kind.must_hold}")
            for engine, reason in (*kind.not_applicable.items(), *kind.not_probed.items()):
                terminalreporter.write_line(f"  {engine}, {_declared(kind, engine)}: {reason}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """In CI, where every server must be there, a cell without a result fails a run of all probes."""
        config = session.config
        if hasattr(config, "workerinput") or not os.environ.get("CI") or not is_whole(config):
            return
        if missing := self.missing():
            reporter = config.pluginmanager.getplugin("terminalreporter")
            reporter.write_line("")
            for kind, engine in missing:
                reporter.write_line(f"No probe of {kind!r} was run on {engine}.", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def missing(self) -> list[tuple[str, str]]:
        """The kinds and engines of which nothing was run, and nothing is said either."""
        return [
            (kind.name, engine)
            for kind in KINDS
            for engine in ENGINES.values()
            if self.cell(kind.name, engine) == NOT_RUN
        ]

    def rows(self) -> Sequence[str]:
        """All kinds, whether probed in this run or not."""
        return [kind.name for kind in KINDS]

    def columns(self) -> Sequence[str]:
        """All engines."""
        return list(ENGINES.values())

    def cell(self, row: str, column: str) -> str:
        """One probe that fails breaks it; else one that passed is needed to say that it holds."""
        outcomes = {result.outcome for result in self.results.get((row, column), ())}
        if "failed" in outcomes:
            return BROKEN
        if "passed" in outcomes:
            return HOLDS
        return _declared(BY_NAME[row], column)


def is_whole(config: pytest.Config) -> bool:
    """Whether this run has all probes: of the whole folder, with nothing left out."""
    wanted = config.rootpath / "tests" / "integration"
    chosen = [PurePath(config.invocation_params.dir, argument) for argument in config.args]
    option = config.option
    return (
        any(wanted == path or path in wanted.parents for path in chosen)
        and not option.keyword
        and option.markexpr in ("", MARKER)
        and not (option.collectonly or getattr(option, "lf", False) or option.changed_since)
    )


def _declared(kind: Kind, engine: str) -> str:
    if engine in kind.not_applicable:
        return NOT_APPLICABLE
    return NOT_PROBED if engine in kind.not_probed else NOT_RUN


def _subject(item: pytest.Item) -> str:
    return str(parameters_of(item).get("subject", ""))
