"""Transformations that are YAML files of commands: read whole, hashed as read, and cut into items."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml
from attrs import frozen

from env_sync.core.errors import TransformationFailed
from env_sync.domain.manifest import Transformation
from env_sync.engines.base.command_yaml import load

LARGEST = 4 * 1024 * 1024
"""Bytes of a file."""
NOTHING_DONE = "Incoming is dropped, live is untouched; correct the transformation and run the group again."


@frozen(kw_only=True)
class CommandFile:
    """A file that was read: its items, each with the line where it begins, and what the proof says of it."""

    items: tuple[tuple[int, object], ...]
    said: Transformation


def read_command_file(file: Path, what: str, example: str) -> CommandFile:
    """Read a file once. `what` its items are called, and an `example` of one, are for the errors.

    Raises TransformationFailed.
    """
    try:
        content = file.read_bytes()
    except OSError as problem:
        raise TransformationFailed(
            f"Transformation {file.name} could not be read: {problem.strerror}. It belongs in "
            "include/transformation_sql/ on this worker."
        ) from None
    if len(content) > LARGEST:
        raise wrong(file.name, 1, f"it is larger than {LARGEST} bytes")
    try:
        value, lines = load(content)
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else 1
        raise wrong(file.name, line, f"it is no YAML: {problem.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError):
        raise wrong(file.name, 1, "it is no YAML") from None
    if not isinstance(value, list) or not value:
        raise wrong(file.name, 1, f"it is no list of {what}: write `- {example}` and so on")
    said = Transformation(name=file.name, sha256=hashlib.sha256(content).hexdigest())
    return CommandFile(items=tuple(zip(lines, value, strict=True)), said=said)


def wrong(file: str, line: int, what: str) -> TransformationFailed:
    """The error for what is wrong in a line of a file."""
    return TransformationFailed(f"Transformation {file}, line {line}: {what}. {NOTHING_DONE}")
