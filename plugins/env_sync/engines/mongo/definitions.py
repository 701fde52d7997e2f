"""What a collection is beside its documents: its kind, its options and its indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import bson
from attrs import field, frozen
from bson import json_util
from bson.errors import BSONError

from env_sync.core.errors import DumpDamaged

LEAVE_OUT = ("ns", "v", "background", "buildUUID")
"""Of an index: what the server says or makes by itself."""
ID_INDEX = "_id_"
CANONICAL = json_util.JSONOptions(json_mode=json_util.JSONMode.CANONICAL, tz_aware=True, document_class=dict)


class Kind(StrEnum):
    """What stands behind the name of a collection."""

    COLLECTION = "collection"
    VIEW = "view"
    TIMESERIES = "timeseries"


@frozen(kw_only=True)
class Definition:
    """One collection, as it is made anew. Options are those of `create`, indexes those of `createIndexes`."""

    name: str
    kind: Kind
    options: Mapping[str, Any] = field(factory=dict)
    indexes: tuple[Mapping[str, Any], ...] = ()
    """Without the one on `_id`, which the server makes."""

    def to_bson(self) -> bytes:
        """As it is kept in a database: keys with dots and dollars keep their place."""
        return bson.encode(
            {
                "name": self.name,
                "kind": str(self.kind),
                "options": dict(self.options),
                "indexes": [dict(index) for index in self.indexes],
            }
        )


def from_bson(content: bytes) -> Definition:
    """The definition out of its BSON. Raises ValueError where it is none."""
    try:
        read = bson.decode(content)
        return Definition(
            name=read["name"],
            kind=Kind(read["kind"]),
            options=read["options"],
            indexes=tuple(read["indexes"]),
        )
    except (BSONError, KeyError, TypeError) as problem:
        raise ValueError("not a definition") from problem


def described(listed: Mapping[str, Any], indexes: Sequence[Mapping[str, Any]]) -> Definition:
    """A definition out of what listCollections and listIndexes say."""
    options = listed.get("options") or {}
    return Definition(
        name=listed["name"],
        kind=_kind(str(listed.get("type") or ""), options),
        options=options,
        indexes=_cleaned(indexes),
    )


def to_metadata(definition: Definition) -> str:
    """The metadata of mongodump, in canonical Extended JSON."""
    indexes: list[Mapping[str, Any]] = []
    if definition.kind is Kind.COLLECTION and "clusteredIndex" not in definition.options:
        indexes.append({"v": 2, "key": {"_id": 1}, "name": ID_INDEX})
    indexes += [{"v": 2, **index} for index in definition.indexes]
    metadata = {
        "options": definition.options,
        "indexes": indexes,
        "uuid": "",
        "collectionName": definition.name,
        "type": str(definition.kind),
    }
    return json_util.dumps(metadata, json_options=CANONICAL)


def from_metadata(name: str, text: str | bytes, kind: str = "") -> Definition:
    """The definition out of mongodump's metadata; `kind` as the archive says it.

    Raises DumpDamaged, without quoting: a partial index or a validator may hold values.
    """
    try:
        read = json_util.loads(text, json_options=CANONICAL) if text else {}
        options = read.get("options") or {}
        if not isinstance(options, dict):
            raise TypeError("options")
        return Definition(
            name=name,
            kind=_kind(kind or read.get("type") or "", options),
            options=options,
            indexes=_cleaned(read.get("indexes") or ()),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, BSONError):
        raise DumpDamaged(
            f"The metadata of collection {shown(name)} cannot be read: the dump is damaged or not whole"
        ) from None


def shown(name: str) -> str:
    """A name as a message can hold it."""
    text = "".join(c if c.isprintable() else "?" for c in name)
    return text if len(text) <= 120 else f"{text[:120]}..."


def _kind(said: str, options: Mapping[str, Any]) -> Kind:
    """By the options where they tell: not every server and every dump says it in words."""
    if "timeseries" in options:
        return Kind.TIMESERIES
    return Kind.VIEW if "viewOn" in options else Kind(said or Kind.COLLECTION)


def _cleaned(indexes: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    cleaned = []
    for index in indexes:
        key = index["key"]
        if index["name"] == ID_INDEX or list(key) == ["_id"]:
            continue
        cleaned.append({name: value for name, value in index.items() if name not in LEAVE_OUT})
    return tuple(cleaned)
