"""The settings of one environment, out of common.yaml and its own files."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from env_sync.config.misplaced import HELD_AS, misplaced
from env_sync.config.monitors_reader import MONITORS, read_monitors
from env_sync.config.setting_fields import (
    ENVIRONMENT_FIELDS,
    NAMESPACE,
    OPTION_FIELDS,
    SETTING_FIELDS,
    SettingField,
)
from env_sync.config.suggestion import closest
from env_sync.config.sync_fields import with_options
from env_sync.config.yaml_nodes import Entry, Scalar, shorten, shown
from env_sync.config.yaml_reader import YamlFile
from env_sync.domain.invalid_value import WrongValue
from env_sync.domain.problem import Problem
from env_sync.domain.settings import PRODUCTION, Options, Sanitise, Settings

TASKS = f"{NAMESPACE}tasks"
S3_SYNC_TASKS = f"{NAMESPACE}s3_sync_tasks"
POSTPROCESS = f"{NAMESPACE}postprocess"
KNOWN_KEYS = (TASKS, S3_SYNC_TASKS, POSTPROCESS, MONITORS, *(f"{NAMESPACE}{name}" for name in SETTING_FIELDS))


@frozen
class _Level:
    """What one level of files says: the values that are good, and the names of those that are not."""

    values: Mapping[str, Any]
    bad: frozenset[str]


def read_settings(
    environment: str, common: Sequence[YamlFile], own: Sequence[YamlFile], *, hidden: bool = False
) -> tuple[Settings, tuple[Problem, ...]]:
    """Return the settings of an environment and what is wrong with them.

    Its own files come before common.yaml. A setting that is wrong has its default, except
    `protected` and `sanitise`: wherever what was written cannot be known, the environment is protected,
    and what comes down must be sanitised. `hidden` tells that files may have been missed.
    """
    problems: list[Problem] = []
    own_level = _level(own, problems, hidden)
    common_level = _level(common, problems, hidden=False)
    chosen: dict[str, Any] = {}
    bad: set[str] = set()
    for name in SETTING_FIELDS:
        if name in own_level.bad:
            bad.add(name)
        elif name in own_level.values:
            chosen[name] = own_level.values[name]
        elif name in common_level.bad:
            bad.add(name)
        elif name in common_level.values:
            chosen[name] = common_level.values[name]
    chosen.setdefault("protected", environment.lower() == PRODUCTION or "protected" in bad)
    if "sanitise" in bad:
        chosen["sanitise"] = Sanitise.REQUIRED
    options = Options()
    if "timeouts" in common_level.values:
        options = with_options(options, {"timeouts": common_level.values["timeouts"]})
    options = with_options(options, {name: value for name, value in chosen.items() if name in OPTION_FIELDS})
    monitors, faults = read_monitors(own, common)
    problems += [
        Problem(place=fault.place, sync=None, read=fault.read, right=fault.right) for fault in faults
    ]
    settings = attrs.evolve(
        Settings(options=options, monitors=monitors),
        **{name: value for name, value in chosen.items() if name in ENVIRONMENT_FIELDS},
    )
    return settings, tuple(problems)


def unknown_keys(file: YamlFile) -> tuple[Problem, ...]:
    """Return the top keys of a file that are ours by their name and unknown; others are ignored."""
    if file.root is None:
        return ()
    problems = []
    for key, entry in file.root.entries.items():
        if key in KNOWN_KEYS or not _is_ours(key):
            continue
        meant = _meant(key)
        suggestion = "" if meant is None else f" Did you mean `{meant}`?"
        problems.append(
            _problem(entry, f"unknown key `{shorten(key)}`", f"correct or remove it.{suggestion}")
        )
    return tuple(problems)


def _is_ours(key: str) -> bool:
    """Tell whether a key is in our namespace, or is so by all appearance but for a slip of the pen."""
    if key.startswith(NAMESPACE):
        return True
    written = key[:100].partition(":")[0].lower().replace("-", "_")
    return bool(difflib.get_close_matches(written, (NAMESPACE.rstrip(":"),), cutoff=0.85))


def _meant(key: str) -> str | None:
    """Return the key of ours that was most likely meant by one that is not known."""
    close = closest(key.rpartition(":")[2], (known.removeprefix(NAMESPACE) for known in KNOWN_KEYS))
    return None if close is None else f"{NAMESPACE}{close}"


def _level(files: Iterable[YamlFile], problems: list[Problem], hidden: bool) -> _Level:
    values: dict[str, Any] = {}
    bad: set[str] = set(HELD_AS) if hidden else set()
    first: dict[str, Entry] = {}
    for file in files:
        bad |= {name for name in HELD_AS if may_hide(file, f"{NAMESPACE}{name}")}
        if file.root is None:
            continue
        for one in misplaced(file.root, KNOWN_KEYS, (TASKS, S3_SYNC_TASKS), _is_ours):
            bad.add(one.setting)
            if one.inside is not None or not _is_ours(one.entry.key):
                problems.append(_problem(one.entry, one.read, one.right))
        for entry in (*file.root.entries.values(), *file.root.repeated):
            name = entry.key.removeprefix(NAMESPACE)
            if not entry.key.startswith(NAMESPACE) or name not in SETTING_FIELDS:
                continue
            field = SETTING_FIELDS[name]
            try:
                value = field.reader(entry.value)
            except WrongValue as error:
                bad.add(name)
                problems.append(_problem(entry, f"`{entry.key}` is {_shown_value(entry, field)}", str(error)))
                continue
            if name in values and values[name] != value:
                bad.add(name)
                was = f"{_shown_value(first[name], field)} at {first[name].place}"
                read = f"`{entry.key}` is {_shown_value(entry, field)} and was {was}"
                problems.append(_problem(entry, read, "set it once"))
            elif name not in values:
                values[name], first[name] = value, entry
    return _Level({name: value for name, value in values.items() if name not in bad}, frozenset(bad))


def _shown_value(entry: Entry, field: SettingField) -> str:
    """How a message names the value of a setting."""
    hidden = field.secret and isinstance(entry.value, Scalar) and not entry.value.is_null
    return "a text that is not shown, as it may hold a secret" if hidden else shown(entry.value)


def may_hide(file: YamlFile, wanted: str) -> bool:
    """Tell whether a file may hold one of our keys in a way that was not understood."""
    if file.root is None:
        # Zero bytes are those of UTF-16, which is not read.
        name = wanted.removeprefix(NAMESPACE).encode()
        # Not what only begins with the word, such as the name of a transformation.
        key = re.compile(re.escape(name) + rb"(?![a-z0-9_])")
        return file.raw is None or key.search(file.raw.replace(b"\0", b"").lower()) is not None
    return any(_meant(key) == wanted for key in file.root.entries if key not in KNOWN_KEYS and _is_ours(key))


def _problem(entry: Entry, read: str, right: str) -> Problem:
    return Problem(place=entry.place, sync=None, read=read, right=right)
