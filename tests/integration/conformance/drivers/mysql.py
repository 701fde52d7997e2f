"""PyMySQL: what goes to a MySQL or MariaDB server."""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakKeyDictionary

import pymysql
import pytest
from pymysql.constants import COMMAND
from pymysql.cursors import Cursor

from tests.integration.conformance.drivers.watching import OURS, Driver, Session

NAMES = {COMMAND.COM_INIT_DB: "USE", COMMAND.COM_PING: "ping"}


class PyMySQL(Driver):
    """See the module. What the driver sends by itself to begin a session is not told."""

    def __init__(self) -> None:
        super().__init__()
        self._sessions: WeakKeyDictionary[object, Session] = WeakKeyDictionary()
        self._given = threading.local()

    def patch(self, patched: pytest.MonkeyPatch) -> None:
        """See Driver."""
        connection = pymysql.connections.Connection
        connect, close, send = connection.connect, connection.close, connection._execute_command
        execute = Cursor.execute

        def connected(self_: Any, *arguments: Any) -> None:
            connect(self_, *arguments)
            name = str(self_._connect_attrs.get("program_name", ""))
            if name.startswith(OURS):
                target = self_.db.decode() if isinstance(self_.db, bytes) else self_.db or ""
                session = Session(name, target, self_.port, self_.thread_id())
                self._sessions[self_] = session
                self.tell(lambda watcher: watcher.opened(session))

        def closed(self_: Any) -> None:
            close(self_)
            if (session := self._sessions.get(self_)) is not None:
                self.tell(lambda watcher: watcher.closed(session))

        def executed(self_: Any, query: Any, args: Any = None) -> Any:
            # The driver puts the values into the text; it is told as it was before that.
            self._given.statement = (query, args)
            try:
                return execute(self_, query, args)
            finally:
                self._given.statement = None

        def sending(self_: Any, command: int, statement: Any) -> None:
            given = getattr(self._given, "statement", None)
            text, values = given if given and command == COMMAND.COM_QUERY else (statement, None)
            if isinstance(text, bytes | bytearray):
                text = text.decode(errors="replace")
            if command != COMMAND.COM_QUERY:
                text = f"{NAMES.get(command, command)} {text}".strip()
            with self.sending(self._sessions.get(self_), text, values):
                send(self_, command, statement)

        patched.setattr(connection, "connect", connected)
        patched.setattr(connection, "close", closed)
        patched.setattr(connection, "_execute_command", sending)
        patched.setattr(Cursor, "execute", executed)
