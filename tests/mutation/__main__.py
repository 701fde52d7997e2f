"""Lets mutmut change modules in small ways, and looks whether the tests notice each change.

    python -m tests.mutation [--write] [--jobs N] [--keep FOLDER] [MODULE ...]

Exits with 1 where a module's score is lower than in baseline.json, where a module named there has no mutant
(it may have been renamed), where a mutant survives that survivors.yaml does not explain, and where that
explains what does not survive. --write puts the scores that were reached into the baseline. MODULE is a file
below plugins/env_sync or a pattern of such; without any, all that pyproject.toml names. --keep has mutmut's
copy of the project made there, and leaves it for `mutmut show` and `mutmut browse`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutation.mutants import Change, Judged, read_judged
from tests.mutation.project import make_project, mutant_pattern
from tests.mutation.scores import (
    lower_scores,
    read_baseline,
    score,
    table,
    without_mutants,
    write_baseline,
)
from tests.mutation.survivors import explained_in_vain, read_survivors, unexplained

MUTMUT = Path(sys.executable).with_name("mutmut")


def main(arguments: Sequence[str]) -> int:
    """Judge mutants, print what became of them, and give the exit code."""
    asked = _parse(arguments)
    with TemporaryDirectory(prefix="env-sync-mutation-") as temporary:
        judged = judge(asked.keep or Path(temporary), asked.modules, asked.jobs)
    return report(judged, read_survivors(), whole=not asked.modules, write=asked.write)


def judge(folder: Path, modules: Sequence[str], jobs: int) -> list[Judged]:
    """Let mutmut judge the mutants of these modules, or of all, in a copy of the project."""
    make_project(folder)
    ran = subprocess.run(
        [MUTMUT, "run", "--max-children", str(jobs), *map(mutant_pattern, modules)],
        cwd=folder,
        check=False,
        # It draws its progress for a terminal.
        stdout=None if sys.stdout.isatty() else subprocess.PIPE,
        text=True,
    )
    if ran.returncode:
        sys.exit(f"{ran.stdout or ''}\nmutmut ended with {ran.returncode}.")
    return read_judged(folder)


def report(
    judged: Sequence[Judged], explained: Mapping[Change, Sequence[str]], *, whole: bool, write: bool
) -> int:
    """Print the scores and what is wrong, of all modules (`whole`) or of some; gives the exit code."""
    scores = score(judged)
    print(table(scores))
    baseline = read_baseline()
    if write:
        baseline = scores if whole else {**baseline, **scores}
        write_baseline(baseline)
    problems = [f"It survives: {one}" for one in unexplained(judged, explained)]
    problems += [
        f"survivors.yaml explains what does not survive: {one}"
        for one in explained_in_vain(judged, explained)
    ]
    problems += lower_scores(scores, baseline)
    if whole:
        problems += without_mutants(scores, baseline)
    for problem in problems:
        print(f"\n{problem}")
    return 1 if problems else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
