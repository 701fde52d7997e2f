"""The comparison of branch coverage with the baseline."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from coverage import CoverageData

from sandbox import process
from tests import branch_coverage
from tests.branch_coverage import (
    PACKAGE,
    ROOT,
    SLACK,
    Branches,
    by_package,
    has_bound,
    package_of,
    table,
    too_low,
)


@pytest.mark.parametrize(
    ("file", "package"),
    [
        ("plugins/env_sync/__init__.py", "(top)"),
        ("plugins/env_sync/store/dump_keys.py", "store"),
        ("plugins/env_sync/engines/base/proof.py", "engines/base"),
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
        "plugins/env_sync/__init__.py": found(0, 0),
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


def test_what_servers_test_has_no_bound_without_them() -> None:
    assert has_bound("pipeline", "unit")
    assert has_bound("engines/base", "unit")
    assert not has_bound("engines/mysql", "unit dags")
    assert has_bound("engines/mysql", "unit dags integration")


def without_coverage(file: Path) -> dict[str, str]:
    """The environment of a process whose coverage is not that of these tests: its data is in a file."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return {**kept, "COVERAGE_FILE": str(file)}


def test_only_the_package_of_this_checkout_counts(tmp_path: Path) -> None:
    module = Path("store", "dump_keys.py")
    here, another = ROOT / PACKAGE / module, tmp_path / "env_sync" / module
    another.parent.mkdir(parents=True)
    another.write_text("for _ in (1, 2):\n    pass\n")
    for number, file in enumerate((here, another)):
        data = CoverageData(basename=str(tmp_path / f"coverage.{number}"))
        data.add_arcs({str(file): [(-1, 1), (1, 2), (2, 1)]})
        data.write()
    command = [sys.executable, "-m", "tests.branch_coverage", "unit"]
    printed = process.run(command, cwd=ROOT, env=without_coverage(tmp_path / "coverage"))
    assert [line.split()[0] for line in printed.splitlines()] == ["package", "store"]


def test_a_process_in_another_folder_measures_the_same_files(tmp_path: Path) -> None:
    command = ["run", f"--rcfile={ROOT / 'pyproject.toml'}", "-m", "env_sync.core.redact"]
    process.run(
        [sys.executable, "-m", "coverage", *command],
        cwd=(ROOT / PACKAGE).parent,
        env=without_coverage(tmp_path / "coverage"),
    )
    (part,) = tmp_path.iterdir()
    data = CoverageData(basename=str(part))
    data.read()
    assert str(ROOT / PACKAGE / "core" / "redact.py") in data.measured_files()


def test_suites_without_a_baseline_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "baseline.json"
    file.write_text(json.dumps({"unit": {"steps": 50.0}}))
    monkeypatch.setattr(branch_coverage, "BASELINE", file)
    monkeypatch.setattr(branch_coverage, "measured", lambda: {"steps": Branches(all=4, taken=2)})
    assert branch_coverage.main(["unit"]) == 0
    assert branch_coverage.main(["unit", "dags"]) == 1
    assert "bin/test --coverage-baseline" in capsys.readouterr().out
    assert branch_coverage.main(["unit", "dags", "--update"]) == branch_coverage.main(["unit", "dags"]) == 0
