"""Reading BSON out of a stream, document by document; nothing is believed that it says of itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Protocol

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from env_sync.core.errors import DumpDamaged

LARGEST = 16 * 1024 * 1024 + 16 * 1024
"""Bytes that a document may have: the server's limit, with its allowance for its own."""
SMALLEST = 5
NESTING = 200
"""Levels that the server takes."""
BATCH = 4 * 1024 * 1024
"""Bytes of documents that are handed on together, unless one document is larger."""
RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
_LENGTH = struct.Struct("<i")


class Stream(Protocol):
    """What can be read."""

    def read(self, size: int, /) -> bytes:
        """So many bytes, or fewer at its end."""


def read_exactly(stream: Stream, size: int, what: str) -> bytes:
    """So many bytes. Raises DumpDamaged where the stream ends before."""
    parts = []
    missing = size
    while missing:
        part = stream.read(missing)
        if not part:
            raise DumpDamaged(f"The dump is damaged or not whole: it ends within {what}")
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_document(stream: Stream, start: bytes, what: str) -> bytes:
    """The document whose first four bytes are `start`. Raises DumpDamaged."""
    (length,) = _LENGTH.unpack(start)
    if not SMALLEST <= length <= LARGEST:
        raise DumpDamaged(
            f"The dump is damaged: {what} would be {length} bytes long, and a document has {SMALLEST} to "
            f"{LARGEST}"
        )
    document = start + read_exactly(stream, length - 4, what)
    if document[-1]:
        raise DumpDamaged(f"The dump is damaged: {what} does not end where it says")
    return document


def split(batch: bytes) -> Iterator[bytes]:
    """The documents of a batch. Raises DumpDamaged where one does not end within it."""
    place = 0
    while place < len(batch):
        (length,) = _LENGTH.unpack_from(batch, place) if len(batch) - place >= SMALLEST else (0,)
        if not SMALLEST <= length <= len(batch) - place:
            raise DumpDamaged("The dump is damaged: a document does not end where it says")
        yield batch[place : place + length]
        place += length


def check(batch: bytes, what: str) -> None:
    """Read documents through to their last values. Raises DumpDamaged."""
    try:
        bson.decode_all(batch)
    except (BSONError, ValueError, OverflowError, RecursionError):
        # Its text quotes what it stumbled over.
        raise DumpDamaged(
            f"The dump is damaged: a document of {what} is no BSON, or is nested too deeply"
        ) from None
