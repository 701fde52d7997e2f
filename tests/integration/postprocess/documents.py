"""A server with MongoDB's protocol, and its documents as an engine offers them to a postprocess."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from attrs import frozen
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError

from env_sync.errors import TransformationFailed
from sandbox import process
from sandbox.process import Process, ServerMissing

Document = dict[str, Any]


class DocumentServer:
    """SecantusDB on a spare port of 127.0.0.1, for these tests alone."""

    def __init__(self, folder: Path) -> None:
        program = Path(sys.executable).with_name("secantusd-py")
        if not program.exists():
            raise ServerMissing(f"there is no {program}; install requirements/demo.txt")
        self._folder = folder
        self._port = process.free_port()
        self._process = Process(
            "SecantusDB",
            [program, "--port", str(self._port), "--storage-path", folder / "data"],
            log=folder / "server.log",
        )

    def start(self) -> Self:
        (self._folder / "data").mkdir(parents=True)
        self._process.start()
        self._process.wait_until(self._answers)
        return self

    def stop(self) -> None:
        self._process.stop()

    @contextlib.contextmanager
    def database(self, name: str) -> Iterator[Database[Document]]:
        """An empty database."""
        with MongoClient[Document](
            "127.0.0.1", self._port, directConnection=True, serverSelectionTimeoutMS=10_000
        ) as client:
            yield client[name]
            client.drop_database(name)

    def _answers(self) -> bool:
        with (
            contextlib.suppress(PyMongoError),
            MongoClient[Document](
                "127.0.0.1", self._port, directConnection=True, serverSelectionTimeoutMS=500
            ) as client,
        ):
            client.admin.command("ping")
            return True
        return False


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
