"""Folders of mongodump in a tar: `<database>/<collection>.bson` with `<collection>.metadata.json`."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast
from urllib.parse import unquote

from attrs import frozen

from env_sync.core.errors import DumpDamaged
from env_sync.engines.mongo.archive import Documents
from env_sync.engines.mongo.bson_stream import BATCH, Stream, check, read_document, read_exactly
from env_sync.engines.mongo.definitions import Definition, Kind, from_metadata, shown

METADATA = ".metadata.json"
DOCUMENTS = ".bson"
LARGEST_METADATA = 16 * 1024 * 1024
HASHED = "%24"
"""In the name of a file whose collection has too long a name for it: the name is in the metadata."""


@frozen
class _Member:
    database: str
    collection: str
    documents: bool
    content: Stream


def read_definitions(stream: IO[bytes]) -> tuple[str, tuple[Definition, ...]]:
    """The database, and its collections, of a tar that is read to its end. Raises DumpDamaged."""
    databases: set[str] = set()
    found: dict[str, Definition] = {}
    with_documents: dict[str, None] = {}
    for member in _members(stream):
        databases.add(member.database)
        if member.documents:
            with_documents[member.collection] = None
        else:
            content = member.content.read(LARGEST_METADATA + 1)
            if len(content) > LARGEST_METADATA:
                raise DumpDamaged(
                    f"The dump is damaged: the metadata of {shown(member.collection)} has no end"
                )
            found[member.collection] = from_metadata(member.collection, content)
    if len(databases) != 1:
        raise DumpDamaged(
            f"The tar archive holds the folders of {len(databases)} databases, not of one: a dump has "
            "<database>/<collection>.bson"
        )
    for name in with_documents:
        found.setdefault(name, Definition(name=name, kind=Kind.COLLECTION))
    missing = [
        name for name, each in found.items() if each.kind is Kind.COLLECTION and name not in with_documents
    ]
    if missing:
        raise DumpDamaged(f"The dump is not whole: {shown(missing[0])} has metadata and no documents")
    return databases.pop(), tuple(found.values())


def read_documents(stream: IO[bytes], *, thorough: bool) -> Iterator[Documents]:
    """Every document of a tar, in batches. Raises DumpDamaged."""
    for member in _members(stream):
        if not member.documents:
            continue
        what = f"collection {shown(member.collection)}"
        parts: list[bytes] = []
        size = 0
        while start := member.content.read(4):
            if len(start) < 4:
                start += read_exactly(member.content, 4 - len(start), what)
            parts.append(read_document(member.content, start, f"a document of {what}"))
            size += len(parts[-1])
            if size >= BATCH:
                yield _batch(member.collection, parts, what, thorough=thorough)
                parts, size = [], 0
        if parts:
            yield _batch(member.collection, parts, what, thorough=thorough)


def _batch(collection: str, parts: list[bytes], what: str, *, thorough: bool) -> Documents:
    content = b"".join(parts)
    if thorough:
        check(content, what)
    return Documents(collection, content)


def _members(stream: IO[bytes]) -> Iterator[_Member]:
    try:
        with tarfile.open(fileobj=cast(Any, stream), mode="r|") as archive:
            for info in archive:
                if not info.isfile():
                    if info.isdir():
                        continue
                    raise DumpDamaged(
                        "The dump is damaged: its tar archive holds more than files and folders"
                    )
                parts = [part for part in info.name.split("/") if part not in ("", ".", "dump")]
                file = archive.extractfile(info)
                name = parts[-1] if parts else ""
                zipped = name.endswith(".gz")
                name = name.removesuffix(".gz")
                if file is None or name == "prelude.json" or not name.endswith((DOCUMENTS, METADATA)):
                    continue
                if len(parts) < 2:
                    raise DumpDamaged(
                        f"The tar archive holds {shown(info.name)} and no folder of a database: a dump has "
                        "<database>/<collection>.bson"
                    )
                content = gzip.GzipFile(fileobj=file) if zipped else file
                documents = name.endswith(DOCUMENTS)
                collection = unquote(name.removesuffix(DOCUMENTS if documents else METADATA))
                yield _Member(parts[-2], collection, documents, cast(Stream, content))
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, UnicodeError, ValueError) as problem:
        raise DumpDamaged(
            f"The dump is damaged or not whole: its tar archive cannot be read ({type(problem).__name__})"
        ) from None
