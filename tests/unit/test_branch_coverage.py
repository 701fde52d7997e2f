"""The comparison of branch coverage with the baseline."""

from __future__ import annotations

from typing import Any

import pytest

from tests.branch_coverage import SLACK, Branches, by_package, package_of, table, too_low


@pytest.mark.parametrize(
    ("file", "package"),
    [
        ("plugins/env_sync/plan.py", "(top)"),
        ("plugins/env_sync/store/keys.py", "store"),
        ("plugins/env_sync/engines/proof.py", "engines"),
        ("plugins/env_sync/engines/mysql/swap.py", "engines/mysql"),
    ],
)
def test_the_package_of_a_file(file: str, package: str) -> None:
    assert package_of(file) == package


def found(branches: int, covered: int) -> dict[str, Any]:
    return {"summary": {"num_branches": branches, "covered_branches": covered}}


def test_the_files_of_a_package_are_added_up() -> None:
    files = {
        "plugins/env_sync/store/a.py": found(10, 5),
        "plugins/env_sync/store/b.py": found(30, 20),
        "plugins/env_sync/plan.py": found(0, 0),
    }
    assert by_package(files) == {"(top)": Branches(0, 0), "store": Branches(40, 25)}
    assert by_package(files)["store"].percent == 62.5
    assert by_package(files)["(top)"].percent == 100


def test_less_than_before_is_told() -> None:
    measured = {"a": Branches(100, 80), "b": Branches(100, 80), "new": Branches(10, 0)}
    assert too_low(measured, {"a": 80.0, "b": 80.0 + SLACK}) == []
    assert too_low(measured, {"a": 80.1 + SLACK, "b": 10.0}) == ["a"]
    assert list(table(measured, {"a": 81.0}))[1:] == [
        "a             100     80   80.0    81.0",
        "b             100     80   80.0",
        "new            10      0    0.0",
    ]
