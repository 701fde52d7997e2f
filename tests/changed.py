"""Which tests a change can affect, for `bin/test --changed`.

A test depends on the files that its module imports, directly or not, on each `conftest.py` above it, and on
the files and top-level folders that any of those names in a string: tests read `docs/` or `deploy/role.sql`,
an Airflow of the acceptance tests is given `plugins`. It also depends on what lies beside or below one of
these modules and is no module, such as a template or a recording: that is often named by a pattern. Engines
are imported by name, so a test of one engine does not depend on the files of another. What nothing names, and
what all tests are run with, affects all.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.imports import imported, strings
from tests.parameters import parameters_of

ROOT = Path(__file__).resolve().parents[1]
IMPORTED_FROM = (ROOT, ROOT / "plugins")
ENGINES = ROOT / "plugins" / "env_sync" / "engines"
BY_NAME = "env_sync.engines."
"""How the string begins that names an engine's class."""
OF_EVERY_TEST = re.compile(
    r"bin/(test|setup-servers)|\.ci/.*|pyproject\.toml|requirements.*|sandbox/venv\.sh"
)
ONLY_READ = re.compile(r"\.(md|png)$|^LICENSE$")
"""Files that affect no test but those that name them."""
SUBJECTS: Mapping[str, str] = {
    "PostgreSQL": "postgresql",
    "MariaDB": "mysql",
    "MySQL": "mysql",
    "MongoDB": "mongo",
    "DocumentDB": "mongo",
    "Elasticsearch": "elasticsearch",
    "Files": "files",
}
"""The engine of a subject of the conformance suite, by the first word of its name."""


def changed_files(since: str) -> frozenset[Path]:
    """The files that differ from the commit at which this branch left `since`, uncommitted ones included.

    Raises pytest.UsageError where git knows no such commit.
    """
    base = _git("merge-base", "HEAD", since) or [since]
    named = [
        *_git("diff", "--name-only", "--no-renames", *base),
        *_git("ls-files", "--others", "--exclude-standard"),
    ]
    return frozenset(ROOT / name for name in named)


def select(items: Iterable[pytest.Item], changed: frozenset[Path]) -> Iterator[pytest.Item]:
    """The tests that a change of these files can affect."""
    for item in items:
        params = parameters_of(item)
        if is_affected(item.path, engine_of(item.path, str(params.get("subject", ""))), changed):
            yield item


def is_affected(test: Path, engine: str | None, changed: frozenset[Path]) -> bool:
    """Whether a change of these files can affect a test module; `engine` is the one that the test is of."""
    relevant = {file for file in changed if engine is None or _engine_of_file(file) in (None, engine)}
    if engine is not None:
        relevant |= changed & _closure(ENGINES / engine / "engine.py", engine)
    code = _closure(test, engine).union(*(_closure(each, engine) for each in _conftests(test)))
    return any(
        file in code
        or _is_beside(file, code)
        or OF_EVERY_TEST.fullmatch(_name(file))
        or (_is_named_by(file, code) if _is_named(file) else not ONLY_READ.search(_name(file)))
        for file in relevant
    )


def engine_of(test: Path, subject: str) -> str | None:
    """The engine that a test is of: that of its subject, or the one that its folder is named after."""
    if subject:
        return SUBJECTS.get(subject.split()[0])
    return _engine_of_file(test)


def _engine_of_file(file: Path) -> str | None:
    names = {each.name for each in ENGINES.iterdir() if (each / "engine.py").exists()}
    return next((part for part in file.relative_to(ROOT).parts[:-1] if part in names), None)


def _conftests(test: Path) -> Iterator[Path]:
    for folder in test.parents:
        if (file := folder / "conftest.py").exists():
            yield file
        if folder == ROOT:
            return


@cache
def _closure(file: Path, engine: str | None) -> frozenset[Path]:
    """A file with all that it imports, directly or not; of the engines imported by name only this one."""
    seen: set[Path] = set()
    todo = [file]
    while todo:
        current = todo.pop()
        if current not in seen and current.exists():
            seen.add(current)
            todo += _imports(current)
            todo += [each for name, each in _by_name(current) if engine in (None, name)]
    return frozenset(seen)


@cache
def _imports(file: Path) -> tuple[Path, ...]:
    return tuple(target for name, _ in imported(file) if (target := _file_of(name)))


@cache
def _by_name(file: Path) -> tuple[tuple[str, Path], ...]:
    return tuple(
        (text.split(".")[2], target)
        for text in _strings(file)
        if text.startswith(BY_NAME) and (target := _file_of(text.partition(":")[0]))
    )


@cache
def _strings(file: Path) -> frozenset[str]:
    # This module names every folder, and all tests import it.
    return frozenset() if file == Path(__file__) else frozenset(strings(file))


def _file_of(module: str) -> Path | None:
    parts = module.split(".")
    for folder in IMPORTED_FROM:
        for file in (folder.joinpath(*parts).with_suffix(".py"), folder.joinpath(*parts, "__init__.py")):
            if file.exists():
                return file
    return None


def _is_beside(file: Path, code: Iterable[Path]) -> bool:
    """Whether this is no module, and the first modules in its folder or above are among these."""
    if file.suffix == ".py":
        return False
    folders = (each for each in file.parents if ROOT in each.parents)
    folder = next((each for each in folders if any(each.glob("*.py"))), None)
    return any(each.parent == folder for each in code)


def _is_named(file: Path) -> bool:
    """Whether any code at all names this file or its top-level folder, so that it is known who reads it."""
    return file.suffix == ".py" or _is_named_by(file, _all_code())


def _is_named_by(file: Path, code: Iterable[Path]) -> bool:
    names = {file.name, _name(file), file.relative_to(ROOT).parts[0]}
    return any(names & _strings(each) for each in code)


@cache
def _all_code() -> frozenset[Path]:
    return frozenset(
        file for folder in ("tests", "sandbox", "plugins", "dags") for file in (ROOT / folder).rglob("*.py")
    )


def _name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(
        ["git", "-c", "core.quotePath=false", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise pytest.UsageError(f"git {' '.join(arguments)}: {done.stderr.strip() or 'found nothing'}")
    return done.stdout.splitlines()
