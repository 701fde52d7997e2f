"""What mutmut says of each mutant, and what its change is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import change_cwd
from mutmut.utils.format_utils import orig_function_and_class_names_from_key

from tests.mutation.project import PACKAGE

KILLED = ("killed", "timeout", "segfault")
SURVIVED = ("survived", "no tests")


@frozen(order=True)
class Change:
    """A change of a module, by which a mutant is known again after other parts of the module have changed."""

    module: str
    """Its path below the package."""
    function: str
    """Its name, after that of its class if it has one."""
    lines: str
    """Those that are gone, with `-` before them, then those that came, with `+`; without indentation."""

    def __str__(self) -> str:
        return f"{self.module}, {self.function}\n{self.lines}\n"


@frozen(kw_only=True)
class Judged:
    """A mutant and what became of it."""

    change: Change
    killed: bool


class NotJudged(Exception):
    """A mutant has no verdict: mutmut was ended early, or its tests could not be run."""


def read_judged(folder: Path) -> list[Judged]:
    """The mutants that mutmut has judged in a folder. Raises NotJudged."""
    with change_cwd(folder):
        return list(_read(folder))


def change_in(diff: str) -> str:
    """The lines that differ in a unified diff of one function."""
    return "\n".join(
        f"{line[0]} {line[1:].strip()}"
        for line in diff.splitlines()
        if line[:1] in ("-", "+") and not line.startswith(("--- ", "+++ "))
    )


def _read(folder: Path) -> Iterator[Judged]:
    for meta in sorted((folder / "mutants" / PACKAGE).rglob("*.meta")):
        source = meta.relative_to(folder / "mutants").with_suffix("")
        for key, code in json.loads(meta.read_text())["exit_code_by_key"].items():
            if code is None:
                continue
            status = status_by_exit_code[code]
            if status not in (*KILLED, *SURVIVED):
                raise NotJudged(f"{key}: {status} (exit code {code})")
            name, owner = orig_function_and_class_names_from_key(key)
            change = Change(
                module=str(source.relative_to(PACKAGE)),
                function=f"{owner}.{name}" if owner else name,
                lines=change_in(get_diff_for_mutant(key, path=source)),
            )
            yield Judged(change=change, killed=status in KILLED)
