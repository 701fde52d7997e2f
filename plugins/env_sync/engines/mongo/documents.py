"""The documents of incoming, as a postprocess reads and changes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import bson
from bson.codec_options import CodecOptions
from pymongo.errors import OperationFailure

from env_sync.core.errors import TransformationFailed
from env_sync.domain.postprocess.postprocess import AFTERMATH
from env_sync.engines.mongo.definitions import shown
from env_sync.engines.mongo.errors import describe, is_gone
from env_sync.engines.mongo.session import Session

_READ: CodecOptions[Mapping[str, Any]] = CodecOptions(document_class=dict, tz_aware=True)


class IncomingDocuments:
    """Those of the database in which incoming stands alone.

    Its methods raise PyMongoError where the server went away.
    """

    def __init__(self, session: Session, database: str) -> None:
        self._session = session
        self._database = database

    def find(
        self, collection: str, wanted: Mapping[str, Any], fields: Sequence[str]
    ) -> Iterator[Mapping[str, Any]]:
        """See `Documents.find`. Raises TransformationFailed."""
        command = {"find": collection, "filter": dict(wanted), "projection": dict.fromkeys(fields, 1)}
        try:
            for batch in self._session.cursor(self._database, command):
                for document in batch:
                    yield bson.decode(document.raw, _READ)
        except OperationFailure as error:
            raise self._failed(error, "find", collection) from None

    def run(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Documents.run`. Raises TransformationFailed."""
        name, collection = next(iter(command.items()))
        try:
            return self._session.command(self._database, {**command, "writeConcern": {"w": "majority"}})
        except OperationFailure as error:
            raise self._failed(error, name, str(collection)) from None

    def _failed(self, error: OperationFailure, name: str, collection: str) -> Exception:
        if is_gone(error):
            return error
        return TransformationFailed(
            f"Postprocess: {name} on {shown(collection)} failed: {describe(error)}. {AFTERMATH} Run the "
            "group again."
        )
