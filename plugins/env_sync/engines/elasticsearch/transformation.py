"""Transformations: YAML files of updates and deletes by query. Parsed and checked before any is run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from env_sync.domain.manifest import Transformation
from env_sync.engines.base.command_file import read_command_file, wrong
from env_sync.engines.elasticsearch.names import matches

UPDATE, DELETE = "update_by_query", "delete_by_query"
TAKES: Mapping[str, tuple[str, ...]] = {UPDATE: ("query", "script"), DELETE: ("query",)}
"""What each statement must be given beside the pattern of its indices."""
SCRIPT = frozenset({"lang", "source", "params"})


@frozen(kw_only=True)
class Statement:
    """One statement; `line` is where it stands in its file, from 1."""

    file: str
    line: int
    api: str
    pattern: str
    body: Mapping[str, Any]

    def __str__(self) -> str:
        return f"Transformation {self.file}, line {self.line} ({self.api} {self.pattern})"


@frozen(kw_only=True)
class Read:
    """A transformation that was read: what will be run, and what the proof will say of it."""

    statements: tuple[Statement, ...]
    said: Transformation


def read_transformations(files: Sequence[Path]) -> tuple[Read, ...]:
    """Read the files once; what is run is what was hashed. Raises TransformationFailed."""
    return tuple(_read(file) for file in files)


def without_index(read: Sequence[Read], names: Collection[str]) -> list[Statement]:
    """The statements whose pattern is for none of these indices."""
    return [
        statement
        for each in read
        for statement in each.statements
        if not any(matches(name, [statement.pattern]) for name in names)
    ]


def _read(file: Path) -> Read:
    read = read_command_file(file, "statements", f"{DELETE}: <index>")
    statements = tuple(_statement(file.name, line, body) for line, body in read.items)
    return Read(statements=statements, said=read.said)


def _statement(file: str, line: int, body: object) -> Statement:
    if not isinstance(body, dict) or not all(isinstance(key, str) for key in body):
        raise wrong(file, line, f"it is no statement: write `{UPDATE}: <index>` and what belongs to it")
    api = next(iter(body), "")
    if api not in TAKES:
        raise wrong(file, line, f"a statement must begin with {' or '.join(TAKES)}, and this one does not")
    pattern = body[api]
    if not isinstance(pattern, str) or not pattern or "," in pattern:
        raise wrong(file, line, f"`{api}` must name one index, or a pattern with `*`")
    given = [key for key in body if key != api]
    if sorted(given) != sorted(TAKES[api]):
        raise wrong(
            file, line, f"`{api}` takes {' and '.join(f'`{each}`' for each in TAKES[api])}, no less, no more"
        )
    if not isinstance(body["query"], dict) or not body["query"]:
        raise wrong(file, line, "`query` must be a query, such as `match_all: {}`")
    if api == UPDATE:
        _check_script(body["script"], file, line)
    return Statement(
        file=file, line=line, api=api, pattern=pattern, body={key: body[key] for key in TAKES[api]}
    )


def _check_script(script: object, file: str, line: int) -> None:
    if not isinstance(script, dict) or not isinstance(script.get("source"), str):
        raise wrong(file, line, "`script` needs its text as `source`: a stored script is not in the proof")
    if unknown := sorted(set(script) - SCRIPT):
        raise wrong(file, line, f"`script` takes {', '.join(sorted(SCRIPT))}, and not `{unknown[0]}`")
