"""The lease on a MongoDB server: a document in a database of Env Sync's own."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen
from pymongo.errors import DuplicateKeyError, OperationFailure

from env_sync.engines.base.document_lease import Found
from env_sync.engines.mongo.lease_database import LEASES as COLLECTION
from env_sync.engines.mongo.lease_database import check_plain
from env_sync.engines.mongo.orphaned_operations import end_earlier_operations, name_of_worker
from env_sync.engines.mongo.session import Server, Session

KEY = "leases"
DUPLICATE, WRITE_CONFLICT = 11000, 112
"""Codes of the server for a write that came second."""


@frozen
class MongoLeases:
    """See LeaseServer."""

    server: Server

    def __str__(self) -> str:
        return str(self.server)

    def session(self) -> contextlib.AbstractContextManager[Session]:
        """A session for the length of a block. Raises NameRefused where what is trusted there is not ours."""
        return self._checked("")

    def session_at_work(self, database: str, token: str) -> contextlib.AbstractContextManager[Session]:
        """One that the server knows by the name of its worker."""
        return self._checked(name_of_worker(database, token))

    def end_earlier(self, session: Session, database: str, token: str, log: logging.Logger) -> None:
        """End the operations of steps that are gone."""
        end_earlier_operations(session, database, token, log)

    def errors(self, what: str) -> contextlib.AbstractContextManager[None]:
        """The driver's errors as ours."""
        return self.server.errors(what)

    def read(self, session: Session) -> Found | None:
        """The document."""
        found = session.find_one(self.server.lease_database, COLLECTION, KEY)
        return Found(rows=found["rows"], version=found["revision"]) if found else None

    def replace(self, session: Session, rows: Sequence[Any], found: Found | None) -> bool:
        """Write it where it has still the revision that was found, or none."""
        revision = int(found.version) if found else 0
        new = {"_id": KEY, "revision": revision + 1, "rows": list(rows)}
        command: dict[str, Any] = {"insert": COLLECTION, "documents": [new]}
        if found is not None:
            command = {
                "findAndModify": COLLECTION,
                "query": {"_id": KEY, "revision": revision},
                "update": new,
                "fields": {"_id": 1},
            }
        try:
            reply = session.write(self.server.lease_database, command)
        except OperationFailure as error:
            if isinstance(error, DuplicateKeyError) or error.code in (DUPLICATE, WRITE_CONFLICT):
                return False
            raise
        return found is None or bool(reply.get("value"))

    @contextlib.contextmanager
    def _checked(self, name: str) -> Iterator[Session]:
        with self.server.session(name) as session:
            # Also what gives a lease back looks, whether it was cancelled or not.
            with self.errors("Looking at the leases"), session.uninterrupted():
                check_plain(session)
            yield session

    def now(self, session: Session) -> dt.datetime:
        """The clock of the primary."""
        return session.now()
