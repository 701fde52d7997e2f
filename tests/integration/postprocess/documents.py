"""The documents of a database, as an engine offers them to a postprocess."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen
from pymongo.database import Database
from pymongo.errors import PyMongoError

from env_sync.core.errors import TransformationFailed

Document = dict[str, Any]


@frozen
class Documents:
    """As an engine does it: plain database commands, and errors without values."""

    database: Database[Document]

    def find(self, collection: str, wanted: Mapping[str, Any], fields: Sequence[str]) -> Iterator[Document]:
        yield from self.database[collection].find(dict(wanted), dict.fromkeys(fields, 1), batch_size=100)

    def run(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return dict(self.database.command(dict(command)))
        except PyMongoError as error:
            raise TransformationFailed(f"A command failed with {type(error).__name__}") from None
