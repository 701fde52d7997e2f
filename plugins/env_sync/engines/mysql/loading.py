"""Tables and their rows, put into a copy over several sessions; keys are built when the rows are in."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator

import pymysql
from attrs import Factory, define, field, frozen

from env_sync.core.errors import Cancelled, RestoreFailed, ServerUnreachable
from env_sync.core.shown_names import shown_name
from env_sync.engines.mysql.client import LOCKED, code_of, described, server_is_gone
from env_sync.engines.mysql.dump_statements import Rows, Table
from env_sync.engines.mysql.session import Server, Session
from env_sync.engines.mysql.table_parts import TableParts, parts_of

AHEAD = 2
"""Statements that are read ahead, for each session; the memory that a restore needs."""
TRIES = 5
"""How often rows are put in where other sessions of this restore stood in the way."""
FEW = 1 << 22
"""Bytes of rows up to which a table is made with its keys: to add them later would take longer."""
_MODE = "NO_AUTO_VALUE_ON_ZERO,NO_DIR_IN_CREATE"
# With unique_checks off, MariaDB sorts rows that come first into an empty table, which takes twice as long.
_SETTINGS = "SET SESSION foreign_key_checks = 0, unique_checks = 1, sql_mode = %s"


@define
class _Filling:
    """The table whose rows are being read. `left` are rows that are not in yet; the rest is the reader's."""

    parts: TableParts
    held: list[Rows] = Factory(list)
    """Rows that were read before it is known whether they are few."""
    bytes_held: int = 0
    made: bool = False
    keys_wait: bool = False
    read: bool = False
    """Whether all of its rows were read."""
    left: int = 0
    lock: threading.Lock = field(factory=threading.Lock, init=False)


@frozen
class _Work:
    """Rows to be put in; or, without any, the keys of a table that is full."""

    rows: Rows | None
    filling: _Filling | None


class Loader:
    """Makes tables over one session, and fills them over others, each in a thread.

    What goes wrong in one stops all.
    """

    def __init__(self, server: Server, copy: str, session: Session, jobs: int) -> None:
        self._server = server
        self._copy = copy
        self._session = session
        self._filling: _Filling | None = None
        self._foreign_keys: list[TableParts] = []
        self._queue: queue.Queue[_Work | None] = queue.Queue(maxsize=AHEAD * jobs)
        self._problems: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, name=f"env_sync rows {number}") for number in range(jobs)
        ]

    def start(self) -> None:
        """Start the threads."""
        self._session.execute(_SETTINGS, [_MODE])
        for thread in self._threads:
            thread.start()

    def make(self, table: Table) -> None:
        """Make a table, or a sequence; a table is there as soon as its rows, or whatever follows it, come."""
        self.finish_table()
        self._filling = _Filling(parts_of(table.name, table.statement))

    def put(self, rows: Rows) -> None:
        """Hand on rows; raises what went wrong meanwhile."""
        filling = self._filling
        if filling is None or filling.parts.name != rows.table:
            self.finish_table()
            self._hand_on(_Work(rows, None))
            return
        if filling.made:
            self._put(filling, rows)
            return
        filling.held.append(rows)
        filling.bytes_held += len(rows.statement)
        if filling.bytes_held > FEW or not filling.parts.keys:
            filling.keys_wait = bool(filling.parts.keys)
            self._make(filling)

    def finish_table(self) -> None:
        """Nothing more of the table at hand comes: make it, or its keys, where that waited."""
        filling, self._filling = self._filling, None
        if filling is None:
            return
        if not filling.made:
            self._make(filling)
        if filling.keys_wait:
            with filling.lock:
                filling.read = True
                full = filling.left == 0
            if full:
                self._hand_on(_Work(None, filling))

    def end(self) -> None:
        """Wait until all rows and keys are in."""
        self.finish_table()
        for _ in self._threads:
            self._hand_on(None)
        for thread in self._threads:
            thread.join()
        self._check()

    def add_foreign_keys(self) -> None:
        """Add what points from table to table, now that all of them and their keys are there."""
        for parts in self._foreign_keys:
            try:
                self._session.send(parts.add_foreign_keys())
            except pymysql.err.MySQLError as error:
                what = f"Foreign keys of table {shown_name(parts.name)} could not be made"
                raise restore_error(self._session, error, what) from None

    def stop(self) -> None:
        """End as soon as possible, whatever is still to do."""
        self._problems.append(Cancelled())
        while any(thread.is_alive() for thread in self._threads):
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(None)
            for thread in self._threads:
                thread.join(0.05)

    def _make(self, filling: _Filling) -> None:
        parts = filling.parts
        try:
            self._session.send(parts.make(keys=not filling.keys_wait))
        except pymysql.err.MySQLError as error:
            raise restore_error(
                self._session, error, f"Table {shown_name(parts.name)} of the dump could not be made"
            ) from None
        filling.made = True
        if parts.foreign_keys:
            self._foreign_keys.append(parts)
        held, filling.held = filling.held, []
        for rows in held:
            self._put(filling, rows)

    def _put(self, filling: _Filling, rows: Rows) -> None:
        with filling.lock:
            filling.left += 1
        self._hand_on(_Work(rows, filling))

    def _hand_on(self, work: _Work | None) -> None:
        while True:
            self._check()
            self._server.cancellation.check()
            with contextlib.suppress(queue.Full):
                self._queue.put(work, timeout=0.5)
                return

    def _check(self) -> None:
        if self._problems:
            raise self._problems[0]

    def _run(self) -> None:
        try:
            with self._server.session(self._copy) as session:
                worker = _Worker(session)
                while (work := self._queue.get()) is not None and not self._problems:
                    if work.rows is not None:
                        worker.put_in(work.rows)
                    if work.filling is not None and (work.rows is None or _is_full(work.filling)):
                        worker.add_keys(work.filling.parts)
        except BaseException as problem:  # noqa: BLE001 - raised in the thread that reads the dump
            self._problems.append(problem)


class _Worker:
    """What a thread does, over its session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._set_to: tuple[str, bool] | None = None

    def put_in(self, rows: Rows) -> None:
        self._read_as(rows.character_set, backslash=rows.backslash)
        self._try(rows.statement, f"Rows of table {shown_name(rows.table)} could not be put in")

    def add_keys(self, parts: TableParts) -> None:
        self._read_as("utf8mb4", backslash=True)
        self._try(parts.add_keys(), f"Keys of table {shown_name(parts.name)} could not be made over its rows")

    def _read_as(self, character_set: str, *, backslash: bool) -> None:
        if self._set_to == (character_set, backslash):
            return
        self._session.execute(f"SET NAMES {character_set}")
        self._session.execute(_SETTINGS, [_MODE if backslash else f"{_MODE},NO_BACKSLASH_ESCAPES"])
        self._set_to = (character_set, backslash)

    def _try(self, statement: bytes, failure: str) -> None:
        for number in range(TRIES):
            try:
                self._session.send(statement)
            except pymysql.err.MySQLError as error:
                if code_of(error) in LOCKED and number + 1 < TRIES:
                    time.sleep(0.1 * (number + 1))
                    continue
                raise restore_error(self._session, error, failure) from None
            return


@contextlib.contextmanager
def loading(server: Server, copy: str, session: Session, jobs: int) -> Iterator[Loader]:
    """A loader for the length of a block, after which all rows and keys are in; `session` is in the copy."""
    loader = Loader(server, copy, session, jobs)
    loader.start()
    try:
        yield loader
        loader.end()
    except BaseException:
        loader.stop()
        raise


def _is_full(filling: _Filling) -> bool:
    """Count rows that are in; whether they were the last, and keys wait for them."""
    with filling.lock:
        filling.left -= 1
        return filling.read and filling.left == 0


def restore_error(
    session: Session, error: pymysql.err.MySQLError, what: str
) -> RestoreFailed | ServerUnreachable:
    """The error for what the server refused; `what` begins its message."""
    said = f"{what}: {described(error)}. Live is untouched."
    return ServerUnreachable(f"{session.where}: {said}") if server_is_gone(error) else RestoreFailed(said)
