"""Watches at the boundary of the database drivers, below all of Env Sync: what is about to be sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import bson
from bson import json_util
from pymongo import MongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

OURS = "env_sync"
"""Begins the name that each client of Env Sync gives to its server, and no client of a test."""
OF_THE_DRIVER = ("lsid", "$db", "$clusterTime", "$readPreference", "txnNumber")
"""What the driver adds to each command."""


def watch_mongo(before: Callable[[str], None]) -> Callable[[], None]:
    """Have `before` called before each command of clients that Env Sync makes from now on: its name, what it
    is on, and its document as JSON, in which rows to be inserted are but counted. Gives what ends that.
    """
    make = MongoClient.__init__

    def watched(client: MongoClient[Any], *arguments: Any, **named: Any) -> None:
        if str(named.get("appname", "")).startswith(OURS):
            named["event_listeners"] = [_Commands(before)]
        make(client, *arguments, **named)

    def put(function: object) -> None:
        setattr(MongoClient, "__init__", function)  # noqa: B010 - mypy refuses to assign a method

    put(watched)
    return lambda: put(make)


class _Commands(CommandListener):
    def __init__(self, before: Callable[[str], None]) -> None:
        self._before = before

    def started(self, event: CommandStartedEvent) -> None:
        self._before(_mongo_text(event.command_name, event.database_name, event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing is told of the reply."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing is told of the reply."""


def _mongo_text(name: str, database: str, command: Mapping[str, Any]) -> str:
    said = {key: value for key, value in command.items() if key not in OF_THE_DRIVER}
    if isinstance(documents := said.get("documents"), Sequence):
        # Rows of a database, which may be large and many.
        said["documents"] = len(documents)
    target = said.get(name)
    where = f"{database}.{target}" if isinstance(target, str) else database
    return f"{name} {where} {json_util.dumps(bson.decode(bson.encode(said)))}"
