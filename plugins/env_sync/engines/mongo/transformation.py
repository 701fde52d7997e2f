"""Transformations: YAML files of database commands in Extended JSON. Parsed and checked before any is run."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from bson import json_util
from bson.errors import BSONError

from env_sync.domain.manifest import Transformation
from env_sync.engines.base.command_file import read_command_file, wrong
from env_sync.engines.mongo.definitions import shown

ALLOWED: Mapping[str, frozenset[str]] = {
    "update": frozenset({"updates", "let", "comment"}),
    "delete": frozenset({"deletes", "let", "comment"}),
    "insert": frozenset({"documents", "comment"}),
    "aggregate": frozenset({"pipeline", "let", "comment", "allowDiskUse", "collation", "hint"}),
}
"""The commands that a transformation may use, and what each may be given beside its collection."""
READ = json_util.JSONOptions(tz_aware=True, document_class=dict)


@frozen(kw_only=True)
class Command:
    """One command; `line` is where it stands in its file, from 1."""

    file: str
    line: int
    name: str
    collections: tuple[str, ...]
    """What it reads or writes: the first is what it is about."""
    body: Mapping[str, Any]

    def __str__(self) -> str:
        return f"Transformation {self.file}, line {self.line} ({self.name} {shown(self.collections[0])})"


@frozen(kw_only=True)
class Read:
    """A transformation that was read: what will be run, and what the proof will say of it."""

    commands: tuple[Command, ...]
    said: Transformation


def read_transformations(files: Sequence[Path]) -> tuple[Read, ...]:
    """Read the files once; what is run is what was hashed. Raises TransformationFailed."""
    return tuple(_read(file) for file in files)


def unknown_collections(read: Sequence[Read], known: Collection[str]) -> tuple[tuple[Command, str], ...]:
    """Each command that names a collection which is not there, with that name."""
    return tuple(
        (command, name)
        for each in read
        for command in each.commands
        for name in command.collections
        if name not in known
    )


def _read(file: Path) -> Read:
    read = read_command_file(file, "commands", "update: <collection>")
    commands = tuple(_command(file.name, line, body) for line, body in read.items)
    return Read(commands=commands, said=read.said)


def _command(file: str, line: int, body: object) -> Command:
    if not isinstance(body, dict) or not all(isinstance(key, str) for key in body):
        raise wrong(file, line, "it is no command: write `update: <collection>` and what belongs to it")
    name = next(iter(body), "")
    if name not in ALLOWED:
        raise wrong(
            file, line, f"a command must begin with one of {', '.join(ALLOWED)}, and this one does not"
        )
    collection = body[name]
    if not isinstance(collection, str) or not collection:
        raise wrong(file, line, f"`{name}` must name a collection")
    if collection.startswith(("system.", "env_sync.")):
        raise wrong(file, line, "collections of the server and of Env Sync cannot be changed")
    unknown = [key for key in body if key != name and key not in ALLOWED[name]]
    if unknown:
        raise wrong(
            file, line, f"`{name}` takes {', '.join(sorted(ALLOWED[name]))}, and not {shown(unknown[0])}"
        )
    others = tuple(_checked(name, body, file, line))
    return Command(
        file=file,
        line=line,
        name=name,
        collections=(collection, *others),
        body=_extended(body, file, line),
    )


def _checked(name: str, body: Mapping[str, Any], file: str, line: int) -> Iterator[str]:
    """What must hold for a command; gives the other collections that it writes."""
    if name == "aggregate":
        stages = body.get("pipeline")
        if not isinstance(stages, list) or not stages or not all(isinstance(each, dict) for each in stages):
            raise wrong(file, line, "`pipeline` must be a list of stages")
        target = stages[-1].get("$merge")
        into = target.get("into") if isinstance(target, dict) else target
        if not isinstance(into, str):
            raise wrong(
                file,
                line,
                "an aggregate must end in `$merge` into a collection of this database, named without a "
                "database: otherwise it changes nothing, or something else",
            )
        if into.startswith(("system.", "env_sync.")):
            raise wrong(file, line, "collections of the server and of Env Sync cannot be changed")
        yield into
        return
    field = {"update": "updates", "delete": "deletes", "insert": "documents"}[name]
    statements = body.get(field)
    if (
        not isinstance(statements, list)
        or not statements
        or not all(isinstance(each, dict) for each in statements)
    ):
        raise wrong(file, line, f"`{field}` must be a list that is not empty")
    if name == "update" and not all(
        isinstance(each.get("multi"), bool) and "q" in each and "u" in each for each in statements
    ):
        # Without it one document would be changed, and the others would stay as they are.
        raise wrong(
            file, line, "each of `updates` needs `q`, `u`, and `multi: true` (or false, for one document)"
        )
    if name == "delete" and not all(each.get("limit") in (0, 1) and "q" in each for each in statements):
        raise wrong(file, line, "each of `deletes` needs `q`, and `limit: 0` (or 1, for one document)")


def _extended(body: Mapping[str, Any], file: str, line: int) -> Mapping[str, Any]:
    """Its Extended JSON as values."""
    try:
        value: dict[str, Any] = json_util.loads(json.dumps(body), json_options=READ)
    except (TypeError, ValueError, RecursionError, BSONError, KeyError):
        raise wrong(
            file,
            line,
            'a value is no Extended JSON: write moments as {"$date": "2026-01-01T00:00:00Z"}, quoted, and '
            "ids as "
            '{"$oid": "..."}',
        ) from None
    return value
