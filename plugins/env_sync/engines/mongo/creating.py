"""Making collections and their indexes from definitions, as far as the server can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from env_sync.engines.mongo.definitions import Definition, Kind, shown
from env_sync.engines.mongo.features import Features
from env_sync.engines.mongo.session import Session

IMAGES = "changeStreamPreAndPostImages"
"""The option with which a server keeps each document as it was before a change, in a database of its own."""
ONE_REQUEST = 20
"""Indexes that are built together: the server reads the collection once for all of them."""


def suited(definition: Definition, features: Features) -> tuple[Definition | None, tuple[str, ...]]:
    """What the server can have of it, None for nothing at all; and a warning for each thing left out."""
    name = shown(definition.name)
    if definition.kind is Kind.VIEW and not features.views:
        return None, (f"view {name} was left out: {features.product} has no views",)
    warnings = []
    kind, options = definition.kind, dict(definition.options)
    if features.options is not None:
        for option in sorted(options.keys() - features.options):
            del options[option]
            warnings.append(
                f"collection {name} was made without its option {option}, which {features.product} has not"
            )
    if kind is Kind.TIMESERIES and not features.timeseries:
        kind = Kind.COLLECTION
    indexes = []
    for index in definition.indexes:
        lacks = _lacks(index, features)
        if lacks:
            warnings.append(
                f"index {shown(str(index['name']))} of collection {name} was left out: {features.product} "
                f"has no {lacks}"
            )
        else:
            indexes.append(index)
    suits = Definition(name=definition.name, kind=kind, options=options, indexes=tuple(indexes))
    return suits, tuple(warnings)


def create(
    session: Session, database: str, name: str, definition: Definition, *, images: bool = True
) -> None:
    """Make a collection, a view or a time series, with its options and without its indexes.

    Without `images` the server keeps none of what its documents were before a change.
    """
    options = {each: value for each, value in definition.options.items() if images or each != IMAGES}
    session.write(database, {"create": name, **options})


def build_indexes(
    session: Session, database: str, name: str, definition: Definition, *, unique: bool | None = None
) -> None:
    """Build its indexes; with `unique` only those that are so, or only those that are not."""
    wanted = [
        dict(index) for index in definition.indexes if unique is None or bool(index.get("unique")) is unique
    ]
    for first in range(0, len(wanted), ONE_REQUEST):
        session.write(database, {"createIndexes": name, "indexes": wanted[first : first + ONE_REQUEST]})


def _lacks(index: Mapping[str, Any], features: Features) -> str:
    """What of an index the server has not; "" where it has all of it."""
    if features.index_kinds is not None:
        for kind in index["key"].values():
            if kind not in features.index_kinds:
                return f"indexes of kind {kind}"
        if any("$**" in field for field in index["key"]):
            return "wildcard indexes"
    if features.index_options is not None:
        for option in sorted(index.keys() - features.index_options):
            return f"index option {option}"
    return ""
