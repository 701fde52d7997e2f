"""The archive of mongodump, version 0.1: writing it, and reading it as a stream.

A magic number, a header, one document for each collection, a terminator; then segments: a namespace header,
the documents of that collection, a terminator. A header with EOF ends a collection and says the CRC of its
bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, Any

import bson
from attrs import frozen
from bson.errors import BSONError
from fastcrc import crc64

from env_sync.core.errors import DumpDamaged
from env_sync.engines.mongo.bson_stream import BATCH, Stream, check, read_document, read_exactly
from env_sync.engines.mongo.definitions import Definition, Kind, from_metadata, shown, to_metadata
from env_sync.engines.mongo.descriptor import MAGIC

TERMINATOR = b"\xff\xff\xff\xff"
VERSION = "0.1"
BUCKETS = "system.buckets."
"""Before the name under which mongodump keeps a time series' documents."""


@frozen
class Documents:
    """Whole documents of one collection, one after another."""

    collection: str
    content: bytes


class ArchiveWriter:
    """Writes one database. Not for several threads at once."""

    def __init__(self, file: IO[bytes], database: str) -> None:
        self._file = file
        self._database = database
        self._crcs: dict[str, int] = {}

    def begin(self, definitions: Iterable[Definition], *, server_version: str, concurrent: int) -> None:
        """Write all that comes before the documents."""
        self._file.write(MAGIC)
        self._put(
            {
                # An int32, which Python's small numbers become.
                "concurrent_collections": concurrent,
                "version": VERSION,
                "server_version": server_version,
                "tool_version": "env-sync",
            }
        )
        for definition in definitions:
            # A time series is read and written measurement by measurement, as a collection with that option.
            archived = "" if definition.kind is not Kind.VIEW else "view"
            self._put(
                {
                    "db": self._database,
                    "collection": definition.name,
                    "metadata": to_metadata(definition),
                    "size": 0,
                    "type": archived,
                }
            )
        self._file.write(TERMINATOR)

    def documents(self, collection: str, content: bytes) -> None:
        """Write some documents of a collection."""
        self._header(collection, end=False, crc=0)
        self._file.write(content)
        self._file.write(TERMINATOR)
        self._crcs[collection] = crc64.xz(content, self._crcs.get(collection, 0))

    def end(self, collection: str) -> None:
        """Write that these were all of them."""
        crc = self._crcs.pop(collection, 0)
        self._header(collection, end=True, crc=crc - (1 << 64) if crc >> 63 else crc)
        self._file.write(TERMINATOR)

    def _header(self, collection: str, *, end: bool, crc: int) -> None:
        self._put({"db": self._database, "collection": collection, "EOF": end, "CRC": bson.Int64(crc)})

    def _put(self, document: dict[str, Any]) -> None:
        self._file.write(bson.encode(document))


@frozen(kw_only=True)
class Prelude:
    """What an archive says before its documents."""

    database: str
    """"" where it holds no collection: then it does not say."""
    server_version: str
    definitions: tuple[Definition, ...]


def read_prelude(stream: Stream) -> Prelude:
    """Read the beginning, up to the first documents. Raises DumpDamaged."""
    if read_exactly(stream, len(MAGIC), "its magic number") != MAGIC:
        raise DumpDamaged("The dump is not an archive of mongodump")
    header = _decoded(read_document(stream, read_exactly(stream, 4, "its header"), "its header"))
    if header.get("version") != VERSION:
        raise DumpDamaged(
            f"The dump is an archive of another version than {VERSION}, which alone is known: dump it with "
            "another mongodump"
        )
    databases: set[str] = set()
    definitions = []
    while (start := read_exactly(stream, 4, "its list of collections")) != TERMINATOR:
        told = _decoded(read_document(stream, start, "its list of collections"))
        database, name, metadata = _texts(told, "db", "collection", "metadata")
        databases.add(database)
        definitions.append(from_metadata(name, metadata, str(told.get("type") or "")))
    if len(databases) > 1:
        raise DumpDamaged(
            f"The dump holds {len(databases)} databases, not one: it was made of a whole server"
        )
    names = [definition.name for definition in definitions]
    if len(set(names)) < len(names):
        raise DumpDamaged("The dump is damaged: it lists a collection twice")
    return Prelude(
        database=next(iter(databases), ""),
        server_version=str(header.get("server_version") or ""),
        definitions=tuple(definitions),
    )


def read_documents(stream: Stream, prelude: Prelude, *, thorough: bool) -> Iterator[Documents]:
    """Every document after the prelude, in batches; `thorough` decodes each to its last value.

    Raises DumpDamaged, at the end also where a collection is not complete or its CRC is wrong.
    """
    open_: dict[str, int] = {each.name: 0 for each in prelude.definitions if each.kind is not Kind.VIEW}
    known = set(open_) | {f"{BUCKETS}{name}" for name in open_}
    while start := stream.read(4):
        if len(start) < 4:
            start += read_exactly(stream, 4 - len(start), "a header")
        header = _decoded(read_document(stream, start, "a header"))
        database, name = _texts(header, "db", "collection")
        if database != prelude.database or name not in known:
            raise DumpDamaged(
                f"The dump is damaged: it holds documents of {shown(name)}, which it does not list"
            )
        what = f"collection {shown(name)}"
        if header.get("EOF"):
            known.discard(name)
            crc = open_.pop(name, 0 if name.startswith(BUCKETS) else None)
            if name.startswith(BUCKETS):
                open_.pop(name.removeprefix(BUCKETS), None)
            if crc is None or crc != int(header.get("CRC") or 0) % (1 << 64):
                raise DumpDamaged(f"The dump is damaged: the checksum of {what} is wrong")
            if read_exactly(stream, 4, what) != TERMINATOR:
                raise DumpDamaged(f"The dump is damaged: {what} has more than its end")
            continue
        for content in _segment(stream, what):
            if thorough:
                check(content, what)
            open_[name] = crc64.xz(content, open_.get(name, 0))
            yield Documents(name, content)
    if open_:
        raise DumpDamaged(
            f"The dump is damaged or not whole: it ends before collection {shown(sorted(open_)[0])} does"
        )


def _segment(stream: Stream, what: str) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    while (start := read_exactly(stream, 4, what)) != TERMINATOR:
        parts.append(read_document(stream, start, f"a document of {what}"))
        size += len(parts[-1])
        if size >= BATCH:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


def _decoded(document: bytes) -> dict[str, Any]:
    try:
        return bson.decode(document)
    except (BSONError, ValueError, OverflowError, RecursionError):
        raise DumpDamaged("The dump is damaged: a header is no BSON") from None


def _texts(document: dict[str, Any], *names: str) -> tuple[str, ...]:
    values = tuple(document.get(name) for name in names)
    if not all(isinstance(value, str) for value in values):
        raise DumpDamaged("The dump is damaged: a header lacks a name")
    return tuple(str(value) for value in values)
