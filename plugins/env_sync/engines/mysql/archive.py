"""A dump as a file: gzip of SQL, its header naming its database, its last line saying that it is whole."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from attrs import frozen
from isal import igzip_threaded, isal_zlib

from env_sync.core.errors import DumpDamaged
from env_sync.engines.dump_format import BEGINNING, describe_format

COMPLETED = b"-- Dump completed"
TAIL = 4096
"""Bytes at the end among which the last line is looked for."""
CHUNK = 1 << 20
SANDBOX = re.compile(rb"\A/\*M?!999999\\- enable the sandbox mode \*/ ?\r?\n?")
"""What MariaDB's program writes first since 2024, and what MySQL's client does not take."""
_HEADER = re.compile(rb"\A-- (?:MySQL|MariaDB) dump [^\n]*\n")
DATABASE = re.compile(rb"^-- Host: .*?\s+Database: (?P<name>[^\r\n]*)", re.M)
"""Where the first lines say which database it is of."""
_SERVER = re.compile(rb"^-- Server version\s+(?P<version>[^\r\n]*)", re.M)
_READ_ERRORS: Any = (OSError, EOFError, zlib.error, isal_zlib.error)
_open: Callable[..., Any] = igzip_threaded.open


@frozen(kw_only=True)
class Header:
    """What the first lines of a dump say; "" where they do not."""

    database: str
    server_version: str


def read_header(beginning: bytes) -> Header | None:
    """The header of a dump, from its first bytes, unpacked; None where it is no dump of mysqldump."""
    beginning = SANDBOX.sub(b"", beginning, count=1)
    if not _HEADER.match(beginning):
        return None
    database, version = DATABASE.search(beginning), _SERVER.search(beginning)
    return Header(
        database=database["name"].decode(errors="replace").strip() if database else "",
        server_version=version["version"].decode(errors="replace").strip() if version else "",
    )


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """The text of a dump, unpacked by a thread of its own. Raises DumpDamaged, also within the block."""
    with file.open("rb") as raw:
        beginning = raw.read(BEGINNING)
    if not beginning:
        raise DumpDamaged(f"{file.name} is empty: choose another dump by its timestamp, or push it again.")
    if not beginning.startswith(b"\x1f\x8b"):
        raise not_a_dump(file.name, beginning)
    try:
        with _open(str(file), "rb") as stream:
            yield stream
    except _READ_ERRORS as problem:
        if isinstance(problem, OSError) and problem.errno:
            raise
        raise DumpDamaged(
            f"{file.name} ({file.stat().st_size} bytes) is damaged or not whole: it cannot be unpacked to "
            f"its end ({type(problem).__name__}). Download it again, choose another by its timestamp, or "
            "push it again."
        ) from None


def not_a_dump(name: str, beginning: bytes) -> DumpDamaged:
    """The error for a file that is something else."""
    what = describe_format(beginning)
    return DumpDamaged(
        f"{name} is not a gzipped dump of mysqldump{f' but {what}' if what else ''}: choose another dump by "
        "its timestamp, or push it again."
    )


def check_header(name: str, packed: bytes, unpacked: bytes, database: str) -> Header:
    """The header of a dump of this database. Raises DumpDamaged where it is another's, or none.

    `packed` are the first bytes of the file, `unpacked` those of its text.
    """
    header = read_header(unpacked)
    if header is None:
        raise not_a_dump(name, packed)
    if header.database and header.database != database:
        raise DumpDamaged(
            f"{name} is a dump of {header.database}, another database than {database}: it was put there "
            "under a wrong name. Choose another dump by its timestamp, or push it again."
        )
    return header


def check_end(name: str, end: bytes) -> None:
    """Raises DumpDamaged where the last line does not say that the dump is whole."""
    *_, last = end.rstrip().rsplit(b"\n", 1)
    if not last.startswith(COMPLETED):
        raise DumpDamaged(
            f"{name} is damaged or not whole: its last line does not say `Dump completed`, so mysqldump did "
            "not come to its end. Choose another dump by its timestamp, or push it again."
        )


def first_bytes(file: Path) -> bytes:
    """The first bytes of the file as it is."""
    with file.open("rb") as raw:
        return raw.read(BEGINNING)
