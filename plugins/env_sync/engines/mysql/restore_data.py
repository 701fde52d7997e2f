"""Puts a dump into incoming: tables as they come, their rows over several sessions at the same time."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import pymysql
from attrs import frozen

from env_sync.cancellation import Cancellation
from env_sync.engines.mysql.connecting import LOCKED, code_of, described, server_is_gone
from env_sync.engines.mysql.dump_file import CHUNK, TAIL, check_end, check_header, first_bytes, opened
from env_sync.engines.mysql.dump_statements import Advance, DumpStatements, LeftOut, Rows, Table
from env_sync.engines.mysql.identifiers import qualified
from env_sync.engines.mysql.objects import Kind, Object, make_all, names_another
from env_sync.engines.mysql.script import READ_ONLY
from env_sync.engines.mysql.session import Server, Session
from env_sync.engines.mysql.splitter import Splitter
from env_sync.errors import Cancelled, RestoreFailed, ServerUnreachable
from env_sync.progress import Progress
from env_sync.stopwatch import Stopwatch

SHOWN = 20
"""How many names a warning lists."""
AHEAD = 2
"""Statements that are read ahead, for each session; the memory that a restore needs."""
TRIES = 5
"""How often rows are put in where other sessions of this restore stood in the way."""
_MODE = "NO_AUTO_VALUE_ON_ZERO,NO_DIR_IN_CREATE"
_FAST = "SET SESSION foreign_key_checks = 0, unique_checks = 0, sql_mode = %s"


@frozen(kw_only=True)
class Restored:
    """What a restore found beside tables: all of it, what of it is not in the copy, and what to warn of."""

    objects: tuple[Object, ...]
    waiting: tuple[Object, ...]
    left_out: tuple[str, ...]
    """What is restored nowhere, and why."""
    put_off: tuple[str, ...]
    """What waits for the promotion, and why."""


def restore_dump(
    file: Path,
    server: Server,
    incoming: str,
    database: str,
    *,
    jobs: int,
    others: Collection[str],
    cancellation: Cancellation,
    progress: Progress,
    stopwatch: Stopwatch,
) -> Restored:
    """Put the dump of `database` into `incoming`; `others` are the server's other databases.

    Events wait for the promotion, for the server would run them; so does what names another database, which
    could write there while the transformations run. Raises DumpDamaged, RestoreFailed, ServerUnreachable,
    Cancelled.
    """
    objects: dict[tuple[str, str], Object] = {}
    left_out: dict[str, list[str]] = {}
    tables: set[str] = set()
    progress.start(f"restore of {database}", None, "bytes")
    with opened(file) as stream, server.session(incoming) as session, stopwatch.part("rows"):
        session.execute(_FAST, [_MODE])
        beginning = stream.read(CHUNK)
        check_header(file.name, first_bytes(file), beginning, database)
        reader = _Reader(beginning, stream, progress, cancellation)
        statements = DumpStatements(Splitter(reader.read), database, session.version)
        with _loading(server, incoming, jobs) as loader:
            for item in statements:
                if isinstance(item, Rows):
                    loader.put(item)
                elif isinstance(item, Table):
                    _make(session, item.name, item.statement)
                    tables.add(item.name)
                elif isinstance(item, Advance):
                    _make(session, "", item.statement)
                elif isinstance(item, LeftOut):
                    if item.why:
                        left_out.setdefault(item.why, []).append(item.name)
                else:
                    objects[item.key] = item
        check_end(file.name, reader.end)
        # Dumps of old versions hold a table in the place of each view until the view comes.
        for kind, name in objects:
            if kind is Kind.VIEW and name in tables:
                session.execute(f"DROP TABLE IF EXISTS {qualified(incoming, name)}")
    progress.finish()
    waiting = {
        one.key: one
        for one in objects.values()
        if one.kind is Kind.EVENT or names_another(one, {database, *others} - {incoming, *READ_ONLY})
    }
    with server.session(incoming) as session, stopwatch.part("views, triggers, routines"):
        failed = make_all(session, [one for one in objects.values() if one.key not in waiting], {})
    put_off: list[str] = []
    if reaching := [str(one) for one in waiting.values() if one.kind is not Kind.EVENT]:
        put_off.append(
            "These name a database before a dot, so transformations run without them, and they are made when "
            f"incoming is live: {_shown(reaching)}"
        )
    for one, why in failed.items():
        if one.kind is not Kind.VIEW:
            raise RestoreFailed(
                f"The {one} of the dump could not be made in {incoming}: {why}. Live is untouched."
            )
        waiting[one.key] = one
        put_off.append(f"The {one} cannot be made in {incoming} and is tried again when it is live: {why}")
    return Restored(
        objects=tuple(objects.values()),
        waiting=tuple(waiting.values()),
        left_out=tuple(f"Left out {why}: {_shown(names)}" for why, names in left_out.items()),
        put_off=tuple(put_off),
    )


class _Reader:
    """Reads on in the text of a dump, counts, and keeps its end."""

    def __init__(
        self, first: bytes, stream: BinaryIO, progress: Progress, cancellation: Cancellation
    ) -> None:
        self.end = b""
        self._first = first
        self._stream = stream
        self._progress = progress
        self._cancellation = cancellation
        self._done = 0

    def read(self, size: int) -> bytes:
        self._cancellation.check()
        chunk, self._first = self._first, b""
        if not chunk:
            chunk = self._stream.read(size)
        self._done += len(chunk)
        self.end = (self.end + chunk[-TAIL:])[-TAIL:]
        self._progress.advance(self._done)
        return chunk


class _Loader:
    """Sessions that put rows in, each in a thread; what goes wrong in one stops all."""

    def __init__(self, server: Server, incoming: str, jobs: int) -> None:
        self._server = server
        self._incoming = incoming
        self._queue: queue.Queue[Rows | None] = queue.Queue(maxsize=AHEAD * jobs)
        self._problems: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, name=f"env_sync rows {number}") for number in range(jobs)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def put(self, rows: Rows | None) -> None:
        """Hand on rows; raises what went wrong meanwhile."""
        while True:
            self.check()
            self._server.cancellation.check()
            with contextlib.suppress(queue.Full):
                self._queue.put(rows, timeout=0.5)
                return

    def check(self) -> None:
        """Raises what went wrong."""
        if self._problems:
            raise self._problems[0]

    def end(self) -> None:
        """Wait until all rows are in."""
        for _ in self._threads:
            self.put(None)
        for thread in self._threads:
            thread.join()
        self.check()

    def stop(self) -> None:
        """End as soon as possible, whatever is still to do."""
        self._problems.append(Cancelled())
        while any(thread.is_alive() for thread in self._threads):
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(None)
            for thread in self._threads:
                thread.join(0.05)

    def _work(self) -> None:
        try:
            with self._server.session(self._incoming) as session:
                set_to: tuple[str, bool] | None = None
                while (rows := self._queue.get()) is not None and not self._problems:
                    wanted = (rows.character_set, rows.backslash)
                    if set_to != wanted:
                        session.execute(f"SET NAMES {rows.character_set}")
                        mode = _MODE if rows.backslash else f"{_MODE},NO_BACKSLASH_ESCAPES"
                        session.execute(_FAST, [mode])
                        set_to = wanted
                    _put_in(session, rows)
        except BaseException as problem:  # noqa: BLE001 - raised in the thread that reads the dump
            self._problems.append(problem)


@contextlib.contextmanager
def _loading(server: Server, incoming: str, jobs: int) -> Iterator[_Loader]:
    loader = _Loader(server, incoming, jobs)
    loader.start()
    try:
        yield loader
        loader.end()
    except BaseException:
        loader.stop()
        raise


def _put_in(session: Session, rows: Rows) -> None:
    for number in range(TRIES):
        try:
            session.send(rows.statement)
        except pymysql.err.MySQLError as error:
            if code_of(error) in LOCKED and number + 1 < TRIES:
                time.sleep(0.1 * (number + 1))
                continue
            raise _failed(session, error, f"Rows of table {rows.table} could not be put in") from None
        return


def _make(session: Session, name: str, statement: bytes) -> None:
    try:
        session.send(statement)
    except pymysql.err.MySQLError as error:
        what = f"Table {name}" if name else "A sequence"
        raise _failed(session, error, f"{what} of the dump could not be made") from None


def _failed(session: Session, error: pymysql.err.MySQLError, what: str) -> Exception:
    said = f"{what}: {described(error)}. Live is untouched."
    return ServerUnreachable(f"{session.where}: {said}") if server_is_gone(error) else RestoreFailed(said)


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
