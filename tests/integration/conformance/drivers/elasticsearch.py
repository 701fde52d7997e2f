"""Elastic's client: the requests that it sends to a cluster, each with its body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote
from weakref import WeakKeyDictionary

import pytest
from elastic_transport import Transport

from tests.integration.conformance.drivers.watching import OURS, Driver, Session

LOGIN = "authorization"
SHORT = 20_000
"""Characters of a body up to which it is told."""


class ElasticClient(Driver):
    """See the module. A session is a client; those of Env Sync log in, as those of the tests do not."""

    def __init__(self) -> None:
        super().__init__()
        self._sessions: WeakKeyDictionary[Transport, Session] = WeakKeyDictionary()

    def patch(self, patched: pytest.MonkeyPatch) -> None:
        """See Driver."""
        perform, close = Transport.perform_request, Transport.close

        def performed(transport: Transport, method: str, target: str, **named: Any) -> Any:
            session = self._session(transport, named.get("headers"))
            with self.sending(session, _text(method, target, named.get("body"))):
                return perform(transport, method, target, **named)

        def closed(transport: Transport) -> None:
            close(transport)
            session = self._sessions.pop(transport, None)
            if session is not None:
                self.tell(lambda watcher: watcher.closed(session))

        patched.setattr(Transport, "perform_request", performed)
        patched.setattr(Transport, "close", closed)

    def _session(self, transport: Transport, headers: object) -> Session | None:
        """The session of a client; None where it is not one of Env Sync."""
        if not isinstance(headers, Mapping) or LOGIN not in headers:
            return None
        if transport not in self._sessions:
            [node] = transport.node_pool.all()
            session = self._sessions[transport] = Session(OURS, port=node.port)
            self.tell(lambda watcher: watcher.opened(session))
        return self._sessions[transport]


def _text(method: str, target: str, body: object) -> str:
    """A request: its method, its path, and its body where that is short."""
    said = f"{method} {unquote(target)}"
    if body is None:
        return said
    told = json.dumps(body, default=str)
    return f"{said} {told}" if len(told) <= SHORT else f"{said} ({len(told)} characters)"
