"""What a process that is gone left running on the server: found by the name of its session, and ended.

An operation outlives its client. A transformation of a step that was killed could so write into the incoming
that its rerun makes. Whoever has the lease is the only one that is rightly at work, so all else that is named
for that database is ended.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from pymongo.errors import OperationFailure

from env_sync.engines.mongo.errors import describe
from env_sync.engines.mongo.session import POLL, Session

WAIT = 5.0
"""Seconds that are waited for operations that were ended to be gone."""
_GREETINGS = frozenset({"hello", "isMaster", "ismaster"})


def name_of_worker(database: str, token: str) -> str:
    """What a session at work on a database is called on the server; `token` is its process's alone."""
    return f"{_beginning(database)}{token}"


def end_earlier_operations(session: Session, database: str, token: str, log: logging.Logger) -> None:
    """End what others than `token` run that is named for this database, and wait until it is gone.

    Only while the lease is held. A server that refuses is not an error, and the log says so: MongoDB shows a
    user's own operations, and ends them, without any right to it.
    """
    waited_from = time.monotonic()
    ended: set[Any] = set()
    try:
        while running := _running(session, database, token):
            for number in running - ended:
                session.command("admin", {"killOp": 1, "op": number})
                log.warning("Ended operation %s of an earlier step on %s.", number, database)
            ended |= running
            if time.monotonic() - waited_from > WAIT:
                log.warning(
                    "Operations of an earlier step on %s did not end within %.0f seconds: %s. What they "
                    "write to is made anew.",
                    database,
                    WAIT,
                    ", ".join(map(str, sorted(running, key=str))),
                )
                return
            time.sleep(POLL)
    except OperationFailure as error:
        log.info(
            "Operations of an earlier step on %s could not be looked for (%s).", database, describe(error)
        )


def _running(session: Session, database: str, token: str) -> set[Any]:
    reply = session.command("admin", {"currentOp": 1, "$ownOps": True})
    ours = name_of_worker(database, token)
    return {
        operation["opid"]
        for operation in reply.get("inprog") or ()
        if "opid" in operation
        and (name := _name(operation)).startswith(_beginning(database))
        and not name.startswith(ours)
        and _GREETINGS.isdisjoint(operation.get("command") or ())
    }


def _name(operation: Mapping[str, Any]) -> str:
    client = operation.get("clientMetadata") or {}
    return str(operation.get("appName") or (client.get("application") or {}).get("name") or "")


def _beginning(database: str) -> str:
    # No name of a database holds a space.
    return f"env_sync at work on {database} as "
