"""Dumps a database into an archive of mongodump."""

from __future__ import annotations

import contextlib
import datetime as dt
import fnmatch
import importlib.metadata
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import bson
from attrs import evolve, frozen
from pymongo.errors import OperationFailure, PyMongoError

from env_sync.core.disk import whole_file
from env_sync.core.errors import Cancelled, NoSuchDatabase, ToolFailed
from env_sync.core.progress import Progress
from env_sync.engines.base.contract import DumpFacts
from env_sync.engines.base.exclusions import excludes_nothing
from env_sync.engines.mongo.archive import ArchiveWriter
from env_sync.engines.mongo.bson_stream import BATCH
from env_sync.engines.mongo.definitions import Definition, Kind, described, shown
from env_sync.engines.mongo.dump_file import is_ours_or_the_servers
from env_sync.engines.mongo.errors import describe, is_gone
from env_sync.engines.mongo.fast_gzip import zipped
from env_sync.engines.mongo.session import Server, Session

NO_SNAPSHOT = (20, 72, 239, 246, 263)
"""Codes by which a server says that it cannot read, or no longer read, as of one moment."""
BACKOFF = 2.0
"""Seconds before a collection is read a second time; doubled for each time after it."""


@frozen(kw_only=True)
class Dumping:
    """All that a dump works with."""

    server: Server
    database: str
    to: Path
    compression: str
    excluded: tuple[str, ...]
    jobs: int
    progress: Progress
    log: logging.Logger
    may_go_on: Callable[[], None]
    """Raises where the lease is lost."""


class _NoSnapshot(Exception):
    """Leads to another try without one."""


def dump_database(work: Dumping) -> DumpFacts:
    """Write the dump, whole or not at all. See `Engine.dump`."""
    with work.server.session() as session, work.server.errors(f"Dumping {work.database}", ToolFailed):
        session.may_write = work.may_go_on
        member, read_from = _member(work.server, session)
    with member.session() as session, member.errors(f"Dumping {work.database}", ToolFailed):
        session.may_write = work.may_go_on
        version = str(session.command("admin", {"buildInfo": 1})["version"])
        with whole_file(work.to) as making:
            if work.server.features.snapshot:
                try:
                    return _attempt(work, session, making, version, read_from, snapshot=True)
                except _NoSnapshot:
                    work.log.warning(
                        "%s cannot read, or not for so long, as of one moment: %s is dumped again, each "
                        "collection as it is when it is read. The manifest says so.",
                        work.server,
                        work.database,
                    )
            return _attempt(work, session, making, version, read_from, snapshot=False)


def _member(server: Server, session: Session) -> tuple[Server, str]:
    """The member that is read, all collections of the same one, and how the manifest names it."""
    if server.read_preference == "primary":
        return server, "primary"
    secondaries = session.secondaries()
    if not secondaries:
        if server.read_preference == "secondary":
            raise ToolFailed(
                f"The replica set of {server} has no secondary that answers, and the connection's extra "
                "wants dumps from one: wait for it, or set `read_preference` to secondaryPreferred."
            )
        return server, "primary"
    host, port = secondaries[0]
    extra = {key: value for key, value in server.connection.extra.items() if key != "replica_set"}
    connection = evolve(server.connection, host=host, port=port, extra={**extra, "direct_connection": True})
    return evolve(server, connection=connection), f"secondary {host}:{port}"


def _attempt(
    work: Dumping, session: Session, making: Path, version: str, read_from: str, *, snapshot: bool
) -> DumpFacts:
    started = dt.datetime.now(dt.UTC)
    moment = None
    if snapshot:
        moment = session.hello().get("operationTime")
        if moment is None:
            raise _NoSnapshot
    before = _identities(session, work.database)
    definitions = list_definitions(session, work.database, work.excluded)
    if not definitions:
        raise NoSuchDatabase(
            f"Nothing of {work.database} on {work.server} is to be dumped: all that is there is excluded, "
            "or Env Sync's own. Look at `excluded_tables`, or at what happened to the database."
        )
    with _compressed(making, work.compression) as file:
        writer = ArchiveWriter(file, work.database)
        writer.begin(definitions, server_version=version, concurrent=work.jobs)
        _write_documents(work, session, writer, definitions, moment)
    if not snapshot:
        _refuse_replaced(work, before, _identities(session, work.database), definitions)
    return DumpFacts(
        engine_version=f"pymongo {importlib.metadata.version('pymongo')}",
        server_version=version,
        started=started,
        finished=dt.datetime.now(dt.UTC),
        consistent=snapshot,
        read_from=read_from,
        warnings=tuple(
            excludes_nothing(shown(pattern), work.database)
            for pattern in work.excluded
            if not any(fnmatch.fnmatchcase(name, pattern) for name in before)
        ),
    )


def list_definitions(session: Session, database: str, excluded: Sequence[str]) -> list[Definition]:
    """The collections that a dump takes. Raises NoSuchDatabase, PyMongoError."""
    listed = session.collections(database)
    if not listed:
        raise NoSuchDatabase(
            f"{session.server} has no database {database}, or nothing in it: MongoDB has a database only "
            "while it has a collection. Correct `database` in hieradata, or look at what happened to it."
        )
    definitions = []
    for each in listed:
        name = str(each["name"])
        if is_ours_or_the_servers(name) or name.startswith("system."):
            continue
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in excluded):
            continue
        indexes: list[dict[str, Any]] = []
        if (each.get("type") or "collection") != "view":
            indexes = [
                bson.decode(raw.raw)
                for batch in session.cursor(database, {"listIndexes": name, "cursor": {}})
                for raw in batch
            ]
        definitions.append(described(each, indexes))
    return definitions


def _identities(session: Session, database: str) -> dict[str, object]:
    """What tells each collection from another one of its name."""
    return {str(each["name"]): (each.get("info") or {}).get("uuid") for each in session.collections(database)}


def _refuse_replaced(
    work: Dumping, before: dict[str, object], after: dict[str, object], definitions: Sequence[Definition]
) -> None:
    """Raises ToolFailed where a collection went away, or was replaced, while it was read."""
    changed = [
        each.name
        for each in definitions
        if each.name not in after or after[each.name] != before.get(each.name)
    ]
    if changed:
        raise ToolFailed(
            f"Collection {shown(changed[0])} of {work.database} on {work.server} was dropped or replaced "
            f"while it was dumped ({len(changed)} in all): the dump would lack documents. Run the group "
            "again."
        )


def _write_documents(
    work: Dumping, session: Session, writer: ArchiveWriter, definitions: Sequence[Definition], moment: Any
) -> None:
    """Read several collections at once, and write what comes in one thread."""
    read = [each for each in definitions if each.kind is not Kind.VIEW]
    # What was read and is not written yet is bounded: a batch of each reader, and as many waiting.
    ready: queue.Queue[tuple[str, bytes | None]] = queue.Queue(maxsize=work.jobs)
    stop = threading.Event()
    done = 0

    def put(collection: str, content: bytes | None) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put((collection, content), timeout=0.2)
                return
        raise Cancelled

    def read_one(definition: Definition) -> None:
        if not stop.is_set():
            _read(work, session, definition, moment, put)
            put(definition.name, None)

    work.progress.start(f"dump of {work.database}", None, "bytes")
    with ThreadPoolExecutor(work.jobs, "env_sync dump") as pool:
        try:
            readers = [pool.submit(read_one, definition) for definition in read]
            left = len(read)
            while left:
                try:
                    collection, content = ready.get(timeout=0.2)
                except queue.Empty:
                    for reader in readers:
                        if reader.done() and (error := reader.exception()) is not None:
                            raise error from None
                    continue
                if content is None:
                    writer.end(collection)
                    left -= 1
                else:
                    writer.documents(collection, content)
                    done += len(content)
                    work.progress.advance(len(content))
        finally:
            stop.set()
    work.progress.finish()
    work.log.info("Dumped %d collections of %s, %d bytes of documents.", len(read), work.database, done)


def _read(
    work: Dumping,
    session: Session,
    definition: Definition,
    moment: Any,
    put: Callable[[str, bytes | None], None],
) -> None:
    tries = session.server.features.tries
    if tries == 1:
        for content in _batches(work, session, definition, moment):
            put(definition.name, content)
        return
    # What was read of a collection is kept aside until all of it is there: a second try starts over.
    aside = work.to.with_name(f"{work.to.name}.{threading.get_ident()}")
    try:
        for attempt in range(1, tries + 1):
            try:
                with aside.open("wb") as file:
                    for content in _batches(work, session, definition, moment):
                        file.write(len(content).to_bytes(4, "little") + content)
                break
            except PyMongoError as error:
                if attempt == tries or not (is_gone(error) or isinstance(error, OperationFailure)):
                    raise
                pause = BACKOFF * 2 ** (attempt - 1)
                work.log.warning(
                    "Reading collection %s failed (%s), attempt %d of %d; again in %.0f s.",
                    shown(definition.name),
                    describe(error),
                    attempt,
                    tries,
                    pause,
                )
                _wait(session, pause)
        with aside.open("rb") as file:
            while length := file.read(4):
                put(definition.name, file.read(int.from_bytes(length, "little")))
    finally:
        aside.unlink(missing_ok=True)


def _wait(session: Session, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        session.server.cancellation.check()
        time.sleep(min(0.1, seconds))


def _batches(work: Dumping, session: Session, definition: Definition, moment: Any) -> Iterator[bytes]:
    command: dict[str, Any] = {"find": definition.name, "noCursorTimeout": False}
    if moment is not None:
        command["readConcern"] = {"level": "snapshot", "atClusterTime": moment}
    parts: list[bytes] = []
    size = 0
    try:
        for batch in session.cursor(work.database, command):
            parts += [bytes(each.raw) for each in batch]
            size += sum(len(each.raw) for each in batch)
            if size >= BATCH:
                yield b"".join(parts)
                parts, size = [], 0
    except OperationFailure as error:
        if moment is not None and error.code in NO_SNAPSHOT:
            raise _NoSnapshot from None
        raise
    if parts:
        yield b"".join(parts)


@contextlib.contextmanager
def _compressed(making: Path, compression: str) -> Iterator[IO[bytes]]:
    """`compression` is "none" or "gzip:1" to "gzip:9"."""
    if compression == "none":
        with making.open("wb") as file:
            yield file
        return
    with zipped(making, int(compression.removeprefix("gzip:"))) as file:
        yield file
