"""The project as mutmut can read it: a copy in which plugins/ is called src/.

mutmut finds a package only in the project's folder or in src/. It leaves functions with a decorator alone,
among them those that hold a lease for the length of a block. A decorator that is applied in a statement after
the function does the same, and leaves a function that mutmut takes.
"""

from __future__ import annotations

import fnmatch
import shutil
import tomllib
from collections.abc import Iterable
from pathlib import Path

import libcst as cst

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "src/env_sync"
READ_BY_TESTS = ("tests", "sandbox", "docs", "pyproject.toml")
MOVABLE = (
    "contextlib.contextmanager",
    "functools.cache",
    "functools.cached_property",
    "property",
)
"""Decorators that do the same to a function when they are applied after it."""


def make_project(folder: Path) -> None:
    """Copy what the tests need into the folder."""
    _copy("plugins", folder / "src")
    for name in READ_BY_TESTS:
        _copy(name, folder / name)
    for module in _mutated(folder):
        module.write_text(without_decorators(module.read_text()))
    # Where mutmut runs the tests, which look for modules in plugins/.
    mutants = folder / "mutants"
    mutants.mkdir(exist_ok=True)
    if not (mutants / "plugins").is_symlink():
        (mutants / "plugins").symlink_to("src")


def mutant_pattern(module: str) -> str:
    """How mutmut calls the mutants of a module, given by its path below the package or by a pattern."""
    return f"env_sync.{module.removesuffix('.py').replace('/', '.')}.*"


def without_decorators(source: str) -> str:
    """The same module with decorators applied in statements of their own."""
    return cst.parse_module(source).visit(_ApplyAfterwards()).code


class _ApplyAfterwards(cst.CSTTransformer):
    def leave_FunctionDef(  # noqa: N802 - libcst's name
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef | cst.FlattenSentinel[cst.BaseStatement]:
        name = updated_node.name.value
        decorators = [cst.Module([]).code_for_node(each.decorator) for each in updated_node.decorators]
        if len(decorators) != 1 or decorators[0] not in MOVABLE:
            return updated_node
        applied = cst.parse_statement(f"{name} = {decorators[0]}({name})")
        return cst.FlattenSentinel([updated_node.with_changes(decorators=()), applied])


def _mutated(folder: Path) -> Iterable[Path]:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]["only_mutate"]
    for module in (folder / PACKAGE).rglob("*.py"):
        if any(fnmatch.fnmatch(str(module.relative_to(folder)), pattern) for pattern in patterns):
            yield module


def _copy(name: str, to: Path) -> None:
    source = ROOT / name
    if source.is_dir():
        shutil.copytree(source, to, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        shutil.copy2(source, to)
