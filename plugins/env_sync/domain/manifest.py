"""A dump's life story: where its data was born, by which syncs it came here, and what was done to it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import cattrs
from attrs import frozen
from cattrs.cols import list_structure_factory

from env_sync.core.errors import DumpDamaged

FORMAT = 1


@frozen(kw_only=True)
class Transformation:
    """A transformation as it was applied: its file's name and the SHA-256 of its text."""

    name: str
    sha256: str


@frozen(kw_only=True)
class Parent:
    """The dump that a database came from, and what was done to it before it was live there."""

    environment: str
    """The environment that pushed the dump."""
    key: str
    sha256: str
    transformations: tuple[Transformation, ...]
    pulled_into: str
    """The environment that pulled it, and sanitised it with those transformations."""
    before: tuple[Transformation, ...] = ()
    """What had been applied before the dump was taken."""
    reason: str = ""
    """Why nothing had to be sanitised there, where that was said."""


@frozen(kw_only=True)
class Manifest:
    """One dump. Times are UTC, sizes are bytes, hashes are SHA-256 in hexadecimal."""

    environment: str
    sync: str
    run: str
    dbms: str
    database: str
    engine_version: str
    server_version: str
    key: str
    size: int
    sha256: str
    started: dt.datetime
    finished: dt.datetime
    data_time: dt.datetime
    """When the data was read in the environment where it was born."""
    born_in: str
    parents: tuple[Parent, ...]
    """From the nearest to the oldest."""
    transformations: tuple[Transformation, ...]
    """Applied to a copy before the dump was taken."""
    consistent: bool = True
    """Whether all of it is of one moment."""
    read_from: str = ""
    """Which member of a replica set was read; "" where there is nothing to tell."""
    sanitised: str = ""
    """Its badge: `SANITISED`, `SANITISED ABOVE` or `NOT SANITISED`; "" where an earlier version wrote it."""
    reason: str = ""
    """Why nothing had to be sanitised, where that was said."""
    format: int = FORMAT


def to_json(manifest: Manifest) -> str:
    """The manifest as JSON for people and programs; ValueError where a time has no zone."""
    return json.dumps(_CONVERTER.unstructure(manifest), indent=2, ensure_ascii=False) + "\n"


def from_json(text: str | bytes, *, key: str) -> Manifest:
    """The manifest out of the JSON that was read at `key`, which errors name; unknown fields are ignored.

    Raises DumpDamaged where it is not JSON, is of another format, or lacks something.
    """
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise DumpDamaged(f"The manifest {key} is not JSON; {_ADVICE}") from problem
    if not isinstance(read, dict):
        raise DumpDamaged(f"The manifest {key} is not a JSON object; {_ADVICE}")
    found = read.get("format")
    if type(found) is int and found != FORMAT:
        raise DumpDamaged(
            f"The manifest {key} is of format {found}, this version of Env Sync reads format {FORMAT}: "
            "it was written by another version; bring both to the same one"
        )
    try:
        # A missing format must not become the default.
        return _CONVERTER.structure({"format": None, **read}, Manifest)
    except cattrs.BaseValidationError as problem:
        wrong = "; ".join(cattrs.transform_error(problem, path="manifest")[:3])
        raise DumpDamaged(f"The manifest {key} is not as it was written: {wrong}; {_ADVICE}") from None


_ADVICE = "restore another dump by its timestamp, or push again"


def _time_text(time: dt.datetime) -> str:
    if time.tzinfo is None:
        raise ValueError("a time in a manifest needs a zone")
    return time.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def _time(text: Any, _: type) -> dt.datetime:
    time = dt.datetime.fromisoformat(_exactly(text, str))
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time.astimezone(dt.UTC)


def _exactly(value: Any, kind: type) -> Any:
    """The value, if it is of just that type; cattrs by itself would turn null into the text "None"."""
    if type(value) is not kind:
        raise TypeError(f"not of type {kind.__name__}")
    return value


def _tuple_hook(converter: cattrs.Converter, kind: Any) -> Callable[[Any, Any], Any]:
    items = list_structure_factory(kind, converter)
    return lambda value, to: tuple(items(_exactly(value, list), to))


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook(dt.datetime, _time_text)
    converter.register_structure_hook(dt.datetime, _time)
    converter.register_structure_hook(str, _exactly)
    converter.register_structure_hook(int, _exactly)
    converter.register_structure_hook(bool, _exactly)
    converter.register_structure_hook_factory(
        lambda kind: kind in (tuple[Transformation, ...], tuple[Parent, ...]),
        lambda kind: _tuple_hook(converter, kind),
    )
    return converter


_CONVERTER = _converter()
