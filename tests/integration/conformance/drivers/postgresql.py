"""psycopg: what goes to a PostgreSQL server, whether through a cursor or straight through libpq."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
import pytest
from psycopg import sql

from tests.integration.conformance.drivers.watching import OURS, Driver, Session

THROUGH_LIBPQ = ("exec_", "exec_params", "send_prepare", "send_query", "send_query_params")
"""The methods of a connection of libpq that send a statement, each with the text before everything else.

`send_prepare` has the statement's name before it.
"""


class Psycopg(Driver):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: WeakKeyDictionary[object, Session] = WeakKeyDictionary()

    def patch(self, patched: pytest.MonkeyPatch) -> None:
        """See Driver."""
        connection, cursor = psycopg.Connection, psycopg.Cursor
        make, close = connection.__init__, connection.close

        def made(self_: Any, *arguments: Any, **named: Any) -> None:
            make(self_, *arguments, **named)
            name = self_.info.parameter_status("application_name") or ""
            if name.startswith(OURS):
                session = Session(name, self_.info.dbname, self_.info.port, self_.info.backend_pid)
                self.sessions[self_] = session
                self.tell(lambda watcher: watcher.opened(session))

        def closed(self_: Any) -> None:
            was_open = not self_.closed
            close(self_)
            session = self.sessions.get(self_)
            if was_open and session is not None:
                self.tell(lambda watcher: watcher.closed(session))

        patched.setattr(connection, "__init__", made)
        patched.setattr(connection, "close", closed)
        patched.setattr(connection, "pgconn", _Libpq(self), raising=False)
        for name in ("execute", "executemany", "stream"):
            patched.setattr(cursor, name, self._watched(getattr(cursor, name)))
        patched.setattr(cursor, "copy", self._watched_copy(cursor.copy))

    def _watched(self, send: Callable[..., Any]) -> Callable[..., Any]:
        def watched(cursor: Any, query: Any, *arguments: Any, **named: Any) -> Any:
            values = arguments[0] if arguments else named.get("params")
            with self.sending(self.sessions.get(cursor.connection), _text(query, cursor), values):
                return send(cursor, query, *arguments, **named)

        return watched

    def _watched_copy(self, copy: Callable[..., Any]) -> Callable[..., Any]:
        @contextlib.contextmanager
        def watched(cursor: Any, query: Any, *arguments: Any, **named: Any) -> Iterator[Any]:
            with (
                self.sending(self.sessions.get(cursor.connection), _text(query, cursor)),
                copy(cursor, query, *arguments, **named) as copying,
            ):
                yield copying

        return watched


def _text(query: Any, cursor: Any) -> str:
    if isinstance(query, sql.Composable):
        return query.as_string(cursor)
    return query.decode(errors="replace") if isinstance(query, bytes) else str(query)


class _Libpq:
    """The attribute `pgconn` of a connection: libpq's own for psycopg, and one that tells for all others."""

    def __init__(self, driver: Psycopg) -> None:
        self._driver = driver

    def __get__(self, connection: Any, _: object = None) -> Any:
        pgconn = connection.__dict__["pgconn"]
        if sys._getframe(1).f_globals["__name__"].partition(".")[0].startswith("psycopg"):
            return pgconn
        return _Telling(self._driver, self._driver.sessions.get(connection), pgconn)

    def __set__(self, connection: Any, pgconn: object) -> None:
        connection.__dict__["pgconn"] = pgconn


class _Telling:
    """A connection of libpq that tells what is sent through it."""

    def __init__(self, driver: Psycopg, session: Session | None, pgconn: Any) -> None:
        self._driver = driver
        self._session = session
        self._pgconn = pgconn

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._pgconn, name)
        if name not in THROUGH_LIBPQ:
            return found

        def telling(*arguments: Any) -> Any:
            text: bytes = arguments[1 if name == "send_prepare" else 0]
            # Which of them it is decides what a server makes of several statements.
            said = f"{name}: {text.decode(errors='replace')}"
            with self._driver.sending(self._session, said):
                return found(*arguments)

        return telling
