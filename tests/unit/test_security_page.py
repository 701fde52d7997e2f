"""docs/security.md promises what tests hold, and names them; its threats are those that are probed."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.probes.kinds import KINDS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "security.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def rows(text: str, first: str) -> list[list[str]]:
    """The cells of each row of the table whose first header this is."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first}"))
    table = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return table


PROMISES = rows(section("What is promised"), "Promise")


SKIPS = re.compile(r"\bpytest\.(mark\.)?(skip|skipif|xfail|importorskip)\b")
FOR_EACH_ENGINE = "integration/conformance"
"""Where a test or its fixture may skip an engine that cannot do a thing: it runs on the others."""


@functools.cache
def skipping_in(file: Path) -> dict[str, list[str]]:
    """The names of the tests of a module, each with all by which it may not run, or may fail."""
    tree = ast.parse(file.read_text())
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    of_module = [
        ast.unparse(node) for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    classes = {
        inner.name: [ast.unparse(one) for one in node.decorator_list]
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for inner in node.body
        if isinstance(inner, ast.FunctionDef)
    }
    found = {}
    for name, node in functions.items():
        if name.startswith("test_"):
            parts = [*of_module, *classes.get(name, ()), *map(ast.unparse, node.decorator_list)]
            if FOR_EACH_ENGINE not in file.as_posix():
                parts += [ast.unparse(node)]
                parts += [ast.unparse(functions[each]) for each in _fixtures(node, functions)]
            found[name] = [match[0] for part in parts if (match := SKIPS.search(part))]
    return found


def _fixtures(test: ast.FunctionDef, functions: Mapping[str, ast.FunctionDef]) -> set[str]:
    """The fixtures of its module that a test asks for, and those that they ask for."""
    asked: set[str] = set()
    ahead = [test]
    while ahead:
        named = {argument.arg for argument in ahead.pop().args.args} & functions.keys() - asked
        asked |= named
        ahead += [functions[name] for name in named]
    return asked


def test_what_may_not_run_is_seen(tmp_path: Path) -> None:
    module = tmp_path / "test_x.py"
    module.write_text(
        """
import pytest
@pytest.fixture
def low(): pytest.skip("not here")
@pytest.fixture
def high(low): return low
def test_by_a_fixture(high): pass
def test_in_its_body(): pytest.importorskip("x")
@pytest.mark.skipif(True, reason="x")
def test_by_a_mark(): pass
@pytest.mark.xfail
class TestX:
    def test_by_its_class(self): pass
def test_that_runs(): pass
"""
    )
    seen = skipping_in(module)
    assert sorted(name for name, by in seen.items() if by) == [
        *("test_by_a_fixture", "test_by_a_mark", "test_by_its_class", "test_in_its_body")
    ]
    marked = tmp_path / "test_y.py"
    marked.write_text("pytestmark = pytest.mark.skip\ndef test_of_a_module(): pass\n")
    assert skipping_in(marked) == {"test_of_a_module": ["pytest.mark.skip"]}


def test_there_are_promises() -> None:
    assert len(PROMISES) > 40
    assert len({promise for promise, *_ in PROMISES}) == len(PROMISES)


@pytest.mark.parametrize("row", PROMISES, ids=[row[0][:60] for row in PROMISES])
def test_each_promise_names_a_test_that_runs(row: list[str]) -> None:
    _, by_what, tested = row
    assert by_what
    named = re.findall(r"\[(\w+)\]\((\.\./tests/[^)]+\.py)\)", tested)
    assert named
    # Nothing stands there but tests, and the engine that one of them is of.
    assert re.sub(r"\[\w+\]\([^)]+\)|\(\w+\)|[ ,]", "", tested) == ""
    for test, path in named:
        skipping = skipping_in((DOCS / path).resolve()).get(test)
        assert skipping is not None, f"{path} has no {test}"
        assert not skipping, f"{test} may not run: {skipping}"


def test_each_kind_of_attack_is_in_the_threat_model_once() -> None:
    tries = [row[2] for row in rows(section("Threat model"), "|")]
    named = [each.strip() for cell in tries for each in cell.split(";")]
    assert sorted(named[:-1]) == sorted(kind.name for kind in KINDS)


def test_the_picture_shows_who_the_table_tells_of() -> None:
    model = section("Threat model")
    [picture] = re.findall(r"```mermaid\n(.*?)```", model, re.DOTALL)
    shown = re.findall(r"^  A(\d)\{\{\"(\d) [^\"]+\"\}\} -\.-> (\w+)$", picture, re.MULTILINE)
    assert [number for number, _, _ in shown] == [row[0] for row in rows(model, "|")]
    assert all(number == again for number, again, _ in shown)
    places = set(re.findall(r"\b(\w+)[\[({]", picture))
    assert {place for *_, place in shown} <= places
