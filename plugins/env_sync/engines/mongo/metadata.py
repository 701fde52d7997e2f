"""Stamps: what a copy says about itself, in a collection of ours in the database that it is about."""

from __future__ import annotations

import datetime as dt
from typing import Any, TypeVar

from attrs import frozen

from env_sync.core.serialization import from_plain, to_plain
from env_sync.engines.base.contract import Stamp
from env_sync.engines.base.proof import unreadable
from env_sync.engines.mongo.names import LIVE_STAMP, STAMP, Place
from env_sync.engines.mongo.session import Session

T = TypeVar("T")

KEY = "stamp"
"""The `_id` of the one document in a collection of a stamp."""


@frozen(kw_only=True)
class Promoted:
    """What promote adds to the stamp of what it made live; `at` in UTC."""

    at: dt.datetime
    first: bool
    warnings: tuple[str, ...]


@frozen(kw_only=True)
class LiveStamp:
    """What live says about itself."""

    stamp: Stamp
    promoted: Promoted


def read_stamp(session: Session, place: Place) -> Stamp | None:
    """What incoming says about itself there; None where it says nothing that can be read."""
    found = session.find_one(place.database, STAMP, KEY)
    return _read(Stamp, found)


def write_stamp(session: Session, place: Place, stamp: Stamp) -> None:
    """Replace it."""
    session.put(place.database, STAMP, {"_id": KEY, "said": to_plain(stamp)})


def read_live_stamp(session: Session, database: str) -> LiveStamp | None:
    """What live says about itself; None where it says nothing that can be read."""
    return _read(LiveStamp, session.find_one(database, LIVE_STAMP, KEY))


def read_or_refuse(session: Session, database: str, where: str) -> LiveStamp | None:
    """What live, called `where`, says about itself; None where it says nothing. Raises StampUnreadable."""
    found = session.find_one(database, LIVE_STAMP, KEY)
    stamp = _read(LiveStamp, found)
    if stamp is None and found is not None:
        raise unreadable(where, f"drop the collection {LIVE_STAMP}")
    return stamp


def write_live_stamp(session: Session, database: str, stamp: LiveStamp) -> None:
    """Replace it."""
    session.put(database, LIVE_STAMP, {"_id": KEY, "said": to_plain(stamp)})


def _read(kind: type[T], found: dict[str, Any] | None) -> T | None:
    try:
        return from_plain(kind, found["said"]) if found else None
    except (KeyError, ValueError, TypeError):
        return None
