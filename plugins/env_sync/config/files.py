"""Which files of the hieradata folder make up which environment."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen

from env_sync.config.yaml_nodes import shorten
from env_sync.core.errors import NoHieradata, UnknownEnvironment
from env_sync.domain.problem import Problem
from env_sync.domain.sync import Place

COMMON = "common"
SUFFIX = ".yaml"
ENVIRONMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
"""What can stand in the id of a DAG and in the ids of connections."""


@frozen(kw_only=True)
class SourceFile:
    """One file; `name` is its path within the hieradata folder, as places name it."""

    path: Path
    name: str
    node_class: str


@frozen(kw_only=True)
class SourceFiles:
    """The files of one environment, in the order in which they count, and what lies wrong beside them.

    `hidden` tells that a folder could not be listed, so that files may have been missed.
    """

    common: tuple[SourceFile, ...]
    own: tuple[SourceFile, ...]
    problems: tuple[Problem, ...]
    hidden: bool


def environment_names(folder: Path) -> tuple[str, ...]:
    """Return the names of all environments in the hieradata folder, sorted.

    Raises NoHieradata if the folder is not there or cannot be listed.
    """
    return tuple(sorted({name for path in _listed(folder) if (name := _environment_of(path)) is not None}))


def source_files(folder: Path, environment: str) -> SourceFiles:
    """Return the files of one environment: common.yaml, its own file, then its node classes by name.

    Raises NoHieradata if the folder cannot be listed, UnknownEnvironment if nothing in it is the
    environment's.
    """
    paths = _listed(folder)
    names = sorted({name for path in paths if (name := _environment_of(path)) is not None})
    if environment not in names:
        known = ", ".join(names) or "none"
        raise UnknownEnvironment(
            f"There is no environment {shorten(environment)} in {folder}: it needs a file "
            f"<environment>{SUFFIX} or a folder of that name. Environments there: {known}."
        )
    common: list[SourceFile] = []
    own: list[SourceFile] = []
    problems = [problem for path in paths if (problem := _stray(path)) is not None]
    hidden = False
    for path in paths:
        if path.name == f"{COMMON}{SUFFIX}":
            common.append(SourceFile(path=path, name=path.name, node_class=COMMON))
        elif path.name == f"{environment}{SUFFIX}":
            own.insert(0, SourceFile(path=path, name=path.name, node_class=environment))
        elif path.name == environment:
            try:
                inner = sorted(path.iterdir())
            except OSError as error:
                hidden = True
                read = f"the folder cannot be listed: {error.strerror}"
                problems.append(_problem(environment, read, "give Airflow's user read access"))
                continue
            classes, strays = _node_classes(environment, inner)
            own.extend(classes)
            problems.extend(strays)
    return SourceFiles(common=tuple(common), own=tuple(own), problems=tuple(problems), hidden=hidden)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not _ignored(path))
    except OSError as error:
        raise NoHieradata(
            f"The hieradata folder {folder} cannot be read: {error.strerror}. "
            "Create it or set ENV_SYNC_HIERADATA to where it is."
        ) from None


def _ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "__pycache__"


def _environment_of(path: Path) -> str | None:
    """Return the environment to which an entry of the hieradata folder belongs."""
    if path.suffix == SUFFIX:
        name = path.stem
    elif path.is_dir():
        name = path.name
    else:
        return None
    return name if name != COMMON and ENVIRONMENT_NAME.fullmatch(name) else None


def _stray(path: Path) -> Problem | None:
    """Return what is wrong with an entry of the hieradata folder that looks like hieradata and is none."""
    if path.suffix.lower() in (".yaml", ".yml") and path.suffix != SUFFIX:
        return _problem(path.name, "the file is not read", f"rename it to end in {SUFFIX}")
    if path.suffix != SUFFIX and path.name == COMMON and path.is_dir():
        return _problem(path.name, "the folder is not read", f"write {COMMON}{SUFFIX} for all environments")
    named = path.stem if path.suffix == SUFFIX else path.name
    if (path.suffix == SUFFIX or path.is_dir()) and not ENVIRONMENT_NAME.fullmatch(named):
        return _problem(
            path.name,
            f"`{shorten(named)}` cannot name an environment",
            "use letters, digits, `_` and `-`, and a letter or digit first",
        )
    return None


def _node_classes(environment: str, paths: list[Path]) -> tuple[list[SourceFile], list[Problem]]:
    files: list[SourceFile] = []
    problems: list[Problem] = []
    for path in paths:
        name = f"{environment}/{path.name}"
        if _ignored(path):
            continue
        if path.suffix == SUFFIX:
            files.append(SourceFile(path=path, name=name, node_class=path.stem))
        elif path.suffix.lower() in (".yaml", ".yml"):
            problems.append(_problem(name, "the file is not read", f"rename it to end in {SUFFIX}"))
        elif path.is_dir():
            problems.append(_problem(name, "the folder is not read", f"move its files to {environment}/"))
    if not files:
        problems.append(
            _problem(environment, "the folder holds no hieradata", f"write a file <node class>{SUFFIX} in it")
        )
    return files, problems


def _problem(name: str, read: str, right: str) -> Problem:
    return Problem(place=Place(shorten(name), 1), sync=None, read=read, right=right)
