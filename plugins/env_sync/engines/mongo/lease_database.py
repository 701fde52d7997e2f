"""Whether the collections of the leases are plain ones, and who else could change what is in them.

Whoever made one first, as a view or with a validator, would decide who may touch live.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymongo.errors import OperationFailure

from env_sync.core.errors import NameRefused
from env_sync.engines.mongo.definitions import ID_INDEX, shown
from env_sync.engines.mongo.errors import NO_SUCH
from env_sync.engines.mongo.session import Session

LEASES = "leases"
JOURNAL = "promotions"
TOLD_BY_DOCUMENTDB = "autoIndexId"
"""An option that each collection has there."""


def check_plain(session: Session) -> None:
    """Raises NameRefused, with what to do, where one is not. Nothing is read or written there.

    Raises PyMongoError.
    """
    if found := tuple(oddities(session)):
        raise NameRefused(refusal(session, found))


def refusal(session: Session, found: Sequence[str]) -> str:
    """What to say where something speaks against it."""
    database = session.server.lease_database
    return (
        f"Database {database} on {session.server}, in which Env Sync keeps who may touch which database, is "
        f"not as Env Sync makes it: {'; '.join(found)}. It was neither read nor written. Find out who did "
        "that; while no sync runs, drop what Env Sync did not make, as an administrator: it is made anew. Or "
        "name another database in lease_database of the connection's extra."
    )


def oddities(session: Session) -> Iterator[str]:
    """What speaks against it, in words. Raises PyMongoError."""
    database = session.server.lease_database
    for listed in _listed(session, database):
        name = shown(str(listed["name"]))
        kind = str(listed.get("type") or "collection")
        if kind != "collection":
            yield f"{name} is a {kind}"
            continue
        options = {
            option
            for option, value in (listed.get("options") or {}).items()
            if value and option != TOLD_BY_DOCUMENTDB
        }
        if options:
            yield f"collection {name} has the options {', '.join(sorted(options))}"
        for index in _indexes(session, database, str(listed["name"])):
            if index.get("name") != ID_INDEX or dict(index.get("key") or {}) != {"_id": 1}:
                yield f"collection {name} has the index {shown(str(index.get('name')))}"
            elif index.get("expireAfterSeconds") is not None:
                yield f"documents of collection {name} go away by themselves"


def _listed(session: Session, database: str) -> Sequence[Mapping[str, Any]]:
    names = {"name": {"$in": [LEASES, JOURNAL]}}
    reply = session.command(database, {"listCollections": 1, "filter": names})
    found: Sequence[Mapping[str, Any]] = reply["cursor"]["firstBatch"]
    return sorted(found, key=lambda each: str(each["name"]))


def _indexes(session: Session, database: str, name: str) -> Sequence[Mapping[str, Any]]:
    try:
        reply = session.command(database, {"listIndexes": name})
    except OperationFailure as error:
        if error.code == NO_SUCH:
            return ()
        raise
    found: Sequence[Mapping[str, Any]] = reply["cursor"]["firstBatch"]
    return found
