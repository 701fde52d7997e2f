"""Frozen values to plain JSON-able data and back: for XCom, for manifests and for stamps."""

from __future__ import annotations

import datetime as dt
import functools
from pathlib import Path
from typing import Any, TypeVar

from cattrs.preconf.json import JsonConverter, make_converter

from env_sync.core.errors import NotUnderstood

T = TypeVar("T")


def to_plain(value: object) -> Any:
    """Dicts, lists, text, numbers and None; moments as ISO 8601 text in UTC."""
    return _converter().unstructure(value)


def from_plain(kind: type[T], data: object) -> T:
    """The value that `to_plain` made the data from; fields that it does not know are ignored.

    Raises NotUnderstood, a ValueError, where the data is not of that kind.
    """
    try:
        return _converter().structure(data, kind)
    except Exception as problem:  # noqa: BLE001 - cattrs raises whatever its hooks do; it means one thing
        raise NotUnderstood(
            f"What is stored as {kind.__name__} cannot be read ({type(problem).__name__}): another version "
            "of Env Sync wrote it. Clear the whole group, so that one version does all of it."
        ) from None


@functools.cache
def _converter() -> JsonConverter:
    converter = make_converter(detailed_validation=False)
    converter.register_unstructure_hook(dt.datetime, lambda moment: moment.astimezone(dt.UTC).isoformat())
    converter.register_structure_hook(dt.datetime, lambda text, _: _moment(text))
    converter.register_unstructure_hook(Path, str)
    converter.register_structure_hook(Path, lambda text, _: Path(text))
    return converter


def _moment(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
