"""The branches of each package that the tests take, compared with those that they took before.

    python -m tests.branch_coverage [--update] SUITE...

Reads what `coverage run` left of these suites of tests, prints a table, and exits with 1 where a package has
less than `branch_coverage.json` beside this file says for the same suites. `--update` writes there what is
measured now.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from attrs import evolve, frozen
from coverage import Coverage

BASELINE = Path(__file__).with_suffix(".json")
ROOT = Path(__file__).parents[1]
PACKAGE = "plugins/env_sync"
BY_SERVERS = ("engines/", "store", "board")
"""How packages begin whose tests need servers: without those, what they take of them says nothing."""
WITHOUT_SERVERS = "engines/base"
"""One of them that needs none."""
SLACK = 1.0
"""Percentage points by which two runs of the same code may differ: which of two ends a wait is chance."""


@frozen
class Branches:
    """How many branches there are, and how many of them were taken."""

    all: int = 0
    taken: int = 0

    @property
    def percent(self) -> float:
        """The part that was taken; 100 where there are none."""
        return 100 * self.taken / self.all if self.all else 100.0


def package_of(file: str) -> str:
    """The package of a file by its path in the repository; each engine is one."""
    folder = PurePosixPath(file).relative_to(PACKAGE).parent
    return "/".join(folder.parts[:2]) or "(top)"


def by_package(files: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Branches]:
    """The sums of each package; `files` are those of coverage's JSON report."""
    sums: dict[str, Branches] = defaultdict(Branches)
    for file, found in files.items():
        name, summary = package_of(file), found["summary"]
        sums[name] = evolve(
            sums[name],
            all=sums[name].all + summary["num_branches"],
            taken=sums[name].taken + summary["covered_branches"],
        )
    return dict(sorted(sums.items()))


def has_bound(package: str, suites: str) -> bool:
    """Whether a package may take no less of its branches in these suites than before."""
    return "integration" in suites.split() or package == WITHOUT_SERVERS or not package.startswith(BY_SERVERS)


def too_low(found: Mapping[str, Branches], baseline: Mapping[str, float]) -> list[str]:
    """The packages that have less than before; one that is not in the baseline has no bound yet."""
    return [name for name, each in found.items() if each.percent < baseline.get(name, 0) - SLACK]


def table(found: Mapping[str, Branches], baseline: Mapping[str, float]) -> Iterator[str]:
    """The lines to print."""
    width = max(map(len, ("package", *found)))
    yield f"{'package':{width}}  branches  taken      %  before"
    for name, each in found.items():
        before = f"{baseline[name]:6.1f}" if name in baseline else "      "
        yield f"{name:{width}}  {each.all:8}  {each.taken:5}  {each.percent:5.1f}  {before}".rstrip()


def measured() -> Mapping[str, Branches]:
    """The sums of all data files of this run, which are combined into one.

    The compatibility tests run the package of another commit as well; only that of this checkout counts.
    """
    data = Coverage()
    data.combine()
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        data.json_report(include=[str(ROOT / PACKAGE / "*")], outfile=str(report))
        files: Mapping[str, Mapping[str, Any]] = json.loads(report.read_text())["files"]
    return by_package(files)


def main(arguments: list[str]) -> int:
    """Print the table; gives the exit code."""
    suites = " ".join(each for each in arguments if each != "--update")
    found = measured()
    baselines = json.loads(BASELINE.read_text())
    if "--update" in arguments:
        baselines[suites] = {
            name: round(each.percent, 1) for name, each in found.items() if has_bound(name, suites)
        }
        BASELINE.write_text(json.dumps(baselines, indent=2) + "\n")
    baseline = baselines.get(suites, {})
    sys.stdout.write("\n".join(table(found, baseline)) + "\n")
    if suites not in baselines:
        sys.stdout.write(
            f"\n{BASELINE.name} has no baseline for {suites}: bin/test --coverage-baseline writes one.\n"
        )
        return 1
    low = too_low(found, baseline)
    if low:
        sys.stdout.write(
            f"\nLess than before: {', '.join(low)}. Test the branches that are new, or say in the commit why "
            "not and run bin/test --coverage-baseline.\n"
        )
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
