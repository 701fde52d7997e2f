"""docs/security.md promises what tests hold, and names them; its threats are those that are probed."""

from __future__ import annotations

import ast
import functools
import re
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


@functools.cache
def decorated_in(file: Path) -> dict[str, list[str]]:
    """The names of the tests of a module, each with what decorates it."""
    return {
        node.name: [ast.unparse(one) for one in node.decorator_list]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


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
        decorators = decorated_in((DOCS / path).resolve()).get(test)
        assert decorators is not None, f"{path} has no {test}"
        assert not [one for one in decorators if re.match(r"pytest\.mark\.(skip\b|xfail)", one)]


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
