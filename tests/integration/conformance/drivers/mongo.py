"""PyMongo: the commands that go to a server, as the driver's own monitoring tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import bson
import pytest
from bson import json_util
from pymongo import MongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from tests.integration.conformance.drivers.watching import OURS, Driver, Session

OF_THE_DRIVER = ("lsid", "$db", "$clusterTime", "$readPreference", "txnNumber")
"""What the driver adds to each command."""
BY_ITSELF = frozenset({"endSessions", "saslStart", "saslContinue"})
"""Commands that the driver sends by itself, as many as it has connections and sessions."""
FEW = 4000
"""Bytes of documents up to which an insert is told with them."""


class PyMongo(Driver):
    """See the module. A session is a client, which has a pool of connections."""

    def __init__(self) -> None:
        super().__init__()
        self._sessions: WeakKeyDictionary[object, Session] = WeakKeyDictionary()

    def patch(self, patched: pytest.MonkeyPatch) -> None:
        """See Driver."""
        make, close = MongoClient.__init__, MongoClient.close

        def made(client: Any, *arguments: Any, **named: Any) -> None:
            name = str(named.get("appname", ""))
            if not name.startswith(OURS):
                make(client, *arguments, **named)
                return
            port = arguments[1] if len(arguments) > 1 else named.get("port")
            session = Session(name, port=port)
            make(client, *arguments, **named, event_listeners=[_Commands(self, session)])
            self._sessions[client] = session
            self.tell(lambda watcher: watcher.opened(session))

        def closed(client: Any) -> None:
            close(client)
            session = self._sessions.pop(client, None)
            if session is not None:
                self.tell(lambda watcher: watcher.closed(session))

        patched.setattr(MongoClient, "__init__", made)
        patched.setattr(MongoClient, "close", closed)


class _Commands(CommandListener):
    def __init__(self, driver: PyMongo, session: Session) -> None:
        self._driver = driver
        self._session = session

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name not in BY_ITSELF:
            text = _text(event.command_name, event.database_name, event.command)
            self._driver.tell(lambda watcher: watcher.sends(self._session, text, None))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self._driver.tell(lambda watcher: watcher.sent(self._session, event.command_name, None))

    def failed(self, event: CommandFailedEvent) -> None:
        self._driver.tell(lambda watcher: watcher.sent(self._session, event.command_name, None))


def _text(name: str, database: str, command: Mapping[str, Any]) -> str:
    said = {key: value for key, value in command.items() if key not in OF_THE_DRIVER}
    documents = said.get("documents")
    if isinstance(documents, Sequence) and len(bson.encode({"documents": documents})) > FEW:
        said["documents"] = len(documents)
    target = said.get(name)
    where = f"{database}.{target}" if isinstance(target, str) else database
    return f"{name} {where} {json_util.dumps(bson.decode(bson.encode(said)))}"
