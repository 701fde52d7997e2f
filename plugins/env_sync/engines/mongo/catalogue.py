"""What incoming is made of: each collection's definition and how many documents it got, kept beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bson
from attrs import frozen

from env_sync.core.errors import RestoreFailed
from env_sync.engines.mongo.definitions import Definition, Kind, from_bson
from env_sync.engines.mongo.names import CATALOGUE, Place
from env_sync.engines.mongo.session import Session

AT_ONCE = 500


@frozen(kw_only=True)
class Entry:
    """One collection or view of incoming, the so-manieth."""

    number: int
    definition: Definition

    @property
    def name(self) -> str:
        """Its name in live."""
        return self.definition.name

    @property
    def filled(self) -> bool:
        """Whether it holds documents of its own."""
        return self.definition.kind is not Kind.VIEW


def write_catalogue(session: Session, place: Place, entries: Sequence[Entry]) -> None:
    """Write all entries into a place that has none."""
    for first in range(0, len(entries), AT_ONCE):
        documents = [
            {"_id": entry.number, "definition": bson.Binary(entry.definition.to_bson())}
            for entry in entries[first : first + AT_ONCE]
        ]
        session.write(place.database, {"insert": CATALOGUE, "documents": documents})


def read_catalogue(session: Session, place: Place) -> tuple[Entry, ...]:
    """All entries of a place. Raises RestoreFailed where one cannot be read."""
    found: list[Mapping[str, Any]] = [
        bson.decode(raw.raw)
        for batch in session.cursor(place.database, {"find": CATALOGUE, "sort": {"_id": 1}})
        for raw in batch
    ]
    try:
        return tuple(
            Entry(number=int(each["_id"]), definition=from_bson(each["definition"])) for each in found
        )
    except (KeyError, ValueError, TypeError):
        raise RestoreFailed(
            f"What Env Sync noted about incoming in {place.database} cannot be read: somebody wrote there. "
            "Run the group again from restore; live is untouched."
        ) from None
