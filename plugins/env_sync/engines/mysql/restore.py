"""Puts a dump into incoming: its tables and rows, then what stands beside them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import pymysql
from attrs import frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import RestoreFailed
from env_sync.core.progress import Progress
from env_sync.core.shown_names import shown_name
from env_sync.core.stopwatch import Stopwatch
from env_sync.engines.mysql.archive import CHUNK, TAIL, check_end, check_header, first_bytes, opened
from env_sync.engines.mysql.dump_statements import OURS, Advance, DumpStatements, LeftOut, Rows, Table
from env_sync.engines.mysql.identifiers import qualified
from env_sync.engines.mysql.loading import loading, restore_error
from env_sync.engines.mysql.objects import Kind, Object, calls, holds_words, make_all, names_another
from env_sync.engines.mysql.session import Server, Session
from env_sync.engines.mysql.statement_stream import Splitter
from env_sync.engines.mysql.transformation import READ_ONLY

SHOWN = 20
"""How many names a warning lists."""


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
    with opened(file) as stream, server.session(incoming) as session:
        beginning = stream.read(CHUNK)
        check_header(file.name, first_bytes(file), beginning, database)
        reader = _Reader(beginning, stream, progress, cancellation)
        statements = DumpStatements(Splitter(reader.read), database, session.version)
        with stopwatch.part("rows and keys"), loading(server, incoming, session, jobs) as loader:
            for item in statements:
                if isinstance(item, Rows):
                    loader.put(item)
                elif isinstance(item, Table):
                    loader.make(item)
                    tables.add(item.name)
                elif isinstance(item, Advance):
                    loader.finish_table()
                    _advance(session, item.statement)
                elif isinstance(item, LeftOut):
                    if item.why:
                        left_out.setdefault(item.why, []).append(item.name)
                else:
                    objects[item.key] = item
        check_end(file.name, reader.end)
        with stopwatch.part("foreign keys"):
            loader.add_foreign_keys()
        # Dumps of old versions hold a table in the place of each view until the view comes.
        for kind, name in objects:
            if kind is Kind.VIEW and name in tables:
                session.execute(f"DROP TABLE IF EXISTS {qualified(incoming, name)}")
    progress.finish()
    waiting = _waiting(objects.values(), {database, *others} - {incoming, *READ_ONLY})
    with server.session(incoming) as session, stopwatch.part("views, triggers, routines"):
        failed = make_all(session, [one for one in objects.values() if one.key not in waiting], {})
    put_off: list[str] = []
    if reaching := [str(one) for one in waiting.values() if one.kind is not Kind.EVENT]:
        put_off.append(
            f"These name a database before a dot, or {OURS}, or make temporary tables, or call what does, so "
            f"transformations run without them, and they are made when incoming is live: {_shown(reaching)}"
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
        left_out=tuple(
            f"Left out {why}: {_shown(list(map(shown_name, names)))}" for why, names in left_out.items()
        ),
        put_off=tuple(put_off),
    )


def _waiting(objects: Collection[Object], others: Collection[str]) -> dict[tuple[str, str], Object]:
    """Those that a copy is to be without while transformations run, by their keys.

    They could write into another database, or what the copy says of itself, or put a temporary table in the
    place of one that the next statement means. So could what calls one.
    """
    waiting: dict[tuple[str, str], Object] = {}
    named: frozenset[str] = frozenset()
    while True:
        more = {
            one.key: one
            for one in objects
            if one.key not in waiting
            and (
                one.kind is Kind.EVENT
                or names_another(one, others)
                or holds_words(one, OURS)
                or holds_words(one, "create", "temporary")
                or holds_words(one, "replace", "temporary")
                or calls(one, named)
            )
        }
        if not more:
            return waiting
        waiting |= more
        routines = (one for one in more.values() if one.kind in (Kind.FUNCTION, Kind.PROCEDURE))
        named = frozenset(one.name.casefold() for one in routines)


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


def _advance(session: Session, statement: bytes) -> None:
    try:
        session.send(statement)
    except pymysql.err.MySQLError as error:
        raise restore_error(
            session, error, "A sequence of the dump could not be set to where it stood"
        ) from None


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
