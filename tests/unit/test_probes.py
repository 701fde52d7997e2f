"""The tables of results that a run of the tests ends with: scenarios by subject, probes by engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest

from tests.probes.kinds import ENGINES, FILES, KINDS, MONGODB, MYSQL, POSTGRESQL
from tests.probes.table import NAME, ProbeTable, is_whole
from tests.result_table import SAID, ResultTable

ROOT = Path(__file__).resolve().parents[2]
CONFORMANCE = ROOT / "tests" / "integration" / "conformance" / "test_kills.py"
KIND = "a forged proof"
NO_ROWS = "personal values in errors"
"""A kind that cannot be tried on files."""


def report(
    outcome: Literal["passed", "failed", "skipped"],
    *properties: tuple[str, object],
    when: Literal["setup", "call", "teardown"] = "call",
) -> pytest.TestReport:
    return pytest.TestReport("test", ("test", 0, "test"), {}, outcome, None, when, user_properties=properties)


def in_cell(row: str, column: str, table: str = NAME) -> tuple[str, object]:
    return (table, [row, column])


def probed(*reports: pytest.TestReport) -> ProbeTable:
    table = ProbeTable()
    for each in reports:
        table.pytest_runtest_logreport(each)
    return table


def test_a_table_has_a_row_for_each_scenario_and_a_column_for_each_subject() -> None:
    table = ResultTable("some", "Scenario")
    for each in (
        report("passed", in_cell("two", "B", "some"), when="setup"),
        report("passed", in_cell("two", "B", "some"), (SAID, "0.1 s outage")),
        report("passed", in_cell("one", "A", "some")),
        report("failed", in_cell("one", "B", "some")),
        report("skipped", in_cell("two", "A", "some"), when="setup"),
        report("passed", in_cell("three", "A", "another")),
    ):
        table.pytest_runtest_logreport(each)
    assert table.lines() == [
        "Scenario  A        B",
        "two       SKIPPED  0.1 s outage",
        "one       ok       FAILED",
    ]


def test_what_fails_after_a_test_passed_counts() -> None:
    table = ResultTable("some", "Scenario")
    table.pytest_runtest_logreport(report("passed", in_cell("one", "A", "some")))
    table.pytest_runtest_logreport(report("failed", in_cell("one", "A", "some"), when="teardown"))
    assert table.cell("one", "A") == "FAILED"


def test_one_probe_that_fails_breaks_its_kind() -> None:
    table = probed(
        report("passed", in_cell(KIND, POSTGRESQL)),
        report("failed", in_cell(KIND, POSTGRESQL)),
        report("passed", in_cell(KIND, POSTGRESQL)),
        report("passed", in_cell(KIND, MYSQL)),
        report("skipped", in_cell(KIND, MYSQL)),
        report("skipped", in_cell(KIND, MONGODB)),
        report("skipped", in_cell(NO_ROWS, FILES), when="setup"),
    )
    assert [table.cell(KIND, engine) for engine in (POSTGRESQL, MYSQL, MONGODB, FILES)] == [
        *("BROKEN", "holds", "-", "-"),
    ]
    assert table.cell(NO_ROWS, FILES) == "not applicable"
    [line] = [line for line in table.lines() if line.startswith(KIND)]
    assert line.split()[3:5] == ["BROKEN", "holds"]


def test_what_was_not_run_and_not_explained_is_missing() -> None:
    table = probed(report("passed", in_cell(KIND, POSTGRESQL)), report("skipped", in_cell(KIND, MYSQL)))
    missing = table.missing()
    assert (KIND, POSTGRESQL) not in missing
    assert {(KIND, MYSQL), (KIND, FILES)} < set(missing)
    assert (NO_ROWS, FILES) not in missing


def test_a_test_may_probe_several_kinds_on_some_engines() -> None:
    item = an_item("MariaDB", (KIND, NO_ROWS), {}, (NO_ROWS,), {"engines": ["postgresql"]})
    ProbeTable().pytest_collection_modifyitems([item])
    assert item.user_properties == [(NAME, [KIND, MYSQL]), (NAME, [NO_ROWS, MYSQL])]


def test_a_kind_that_is_not_there_is_an_error() -> None:
    with pytest.raises(pytest.UsageError, match="'a forged prof', which no kind is called"):
        ProbeTable().pytest_collection_modifyitems([an_item("Files", ("a forged prof",), {})])


def test_a_probe_must_be_of_an_engine() -> None:
    with pytest.raises(pytest.UsageError, match="in the folder of no engine"):
        ProbeTable().pytest_collection_modifyitems([an_item("", (KIND,), {})])


def an_item(subject: str, *markers: Sequence[str] | Mapping[str, object]) -> pytest.Item:
    """A test of the conformance suite; each of its markers is given as its arguments and its named ones."""
    pairs = zip(markers[::2], markers[1::2], strict=True)
    made = [SimpleNamespace(args=arguments, kwargs=named) for arguments, named in pairs]

    def iter_markers(name: str) -> Iterator[Any]:
        assert name == "probe"
        return iter(made)

    item = SimpleNamespace(
        path=CONFORMANCE,
        nodeid="test",
        iter_markers=iter_markers,
        callspec=SimpleNamespace(params={"subject": subject} if subject else {}),
        user_properties=[],
    )
    return cast("pytest.Item", item)


@pytest.mark.parametrize(
    ("arguments", "options", "whole"),
    [
        (["tests/integration"], {}, True),
        (["tests"], {}, True),
        ([str(ROOT)], {}, True),
        (["tests/integration"], {"markexpr": "probe"}, True),
        (["tests/integration"], {"markexpr": "not slow"}, False),
        (["tests/integration"], {"keyword": "mysql"}, False),
        (["tests/integration"], {"changed_since": "main"}, False),
        (["tests/integration"], {"collectonly": True}, False),
        (["tests/integration"], {"lf": True}, False),
        (["tests/integration/conformance", "tests/unit"], {}, False),
    ],
)
def test_only_a_run_of_all_probes_must_have_every_result(
    arguments: list[str], options: dict[str, object], whole: bool
) -> None:
    chosen = {
        "keyword": "",
        "markexpr": "",
        "collectonly": False,
        "lf": False,
        "changed_since": None,
        **options,
    }
    config = SimpleNamespace(
        rootpath=ROOT,
        invocation_params=SimpleNamespace(dir=ROOT),
        args=arguments,
        option=SimpleNamespace(**chosen),
    )
    assert is_whole(cast("pytest.Config", config)) == whole


def test_each_kind_has_a_name_of_its_own_and_says_of_each_engine_one_thing() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        assert {*kind.not_applicable, *kind.not_probed} <= {*ENGINES.values()}, kind.name
        assert not {*kind.not_applicable} & {*kind.not_probed}, kind.name
