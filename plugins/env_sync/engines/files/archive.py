"""Reading a dump: a gzipped tar of one directory, of which every member is judged before it is handed on.

Python's own extraction filters change what they find, and look where a path leads while it may still be
changed. Here a member that would leave the directory is refused, from its name alone.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import BinaryIO, cast

from attrs import frozen
from isal import igzip, isal_zlib

from env_sync.core.errors import DumpDamaged
from env_sync.engines.dump_format import BEGINNING, describe_format

CHUNK = 1024 * 1024
LARGEST_HEADER = 16 * CHUNK
"""Bytes; a header that claims to be longer would only fill the memory."""
KEPT = 2 * tarfile.BLOCKSIZE
"""Bytes behind the current place that can be gone back to."""
LONGEST_END = CHUNK
"""Bytes of zeros after the last member; tar itself writes at most 10 KiB."""
UNZIPPING_FAILED = cast("type[Exception]", isal_zlib.error)
NOT_A_DUMP = "not a tar.gz of a directory"
AGAIN = "Download it again, choose another by its timestamp, or push it again."


class Kind(Enum):
    """What a member is."""

    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symlink"
    HARD_LINK = "hard link"
    FIFO = "named pipe"


@frozen(kw_only=True)
class Member:
    """One member that may be restored; `parts` is its path below the directory, () for that itself."""

    parts: tuple[str, ...]
    kind: Kind
    info: tarfile.TarInfo
    target: tuple[str, ...] = ()
    """Of a hard link: the path below the directory of what it is a link to."""


class Forward(io.RawIOBase):
    """What a gzip file holds, for reading forwards: tarfile goes back by a header at most."""

    def __init__(self, file: BinaryIO, name: str, pulse: Callable[[], None]) -> None:
        super().__init__()
        self._source = igzip.IGzipFile(fileobj=file, mode="rb")  # type: ignore[no-untyped-call]
        self._name = name
        self._pulse = pulse
        self._buffer = b""
        self._start = 0
        self._at = 0
        self._ended = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes, forwards."""
        return True

    def tell(self) -> int:
        """How many bytes are behind."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place. Raises DumpDamaged where it was left too long ago."""
        if whence != os.SEEK_SET or offset < self._start:
            raise DumpDamaged(f"{self._name} is {NOT_A_DUMP}: its headers go backwards. {AGAIN}")
        while self._start + len(self._buffer) < offset and self._more(offset):
            pass
        self._at = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer at the end. Raises DumpDamaged."""
        if not 0 <= size <= LARGEST_HEADER:
            raise DumpDamaged(f"{self._name} is {NOT_A_DUMP}: a header claims {size} bytes. {AGAIN}")
        while self._start + len(self._buffer) < self._at + size and self._more(self._at):
            pass
        first = self._at - self._start
        found = self._buffer[first : first + size]
        self._at += len(found)
        return found

    def _more(self, kept_from: int) -> bool:
        """Read on, and forget what nobody goes back to."""
        if self._ended:
            return False
        self._pulse()
        try:
            chunk = self._source.read(CHUNK)
        except (EOFError, OSError, zlib.error, UNZIPPING_FAILED) as problem:
            if isinstance(problem, OSError) and problem.errno is not None:
                raise
            raise DumpDamaged(
                f"{self._name} is damaged or not whole: what is in it cannot be unzipped. {AGAIN}"
            ) from None
        self._ended = not chunk
        forgotten = max(min(kept_from - KEPT, self._start + len(self._buffer)) - self._start, 0)
        self._buffer = self._buffer[forgotten:] + chunk
        self._start += forgotten
        return bool(chunk)


def check_beginning(first: bytes, name: str) -> None:
    """Raises DumpDamaged where a file that begins so cannot be a dump of a directory."""
    if not first:
        raise DumpDamaged(f"{name} is empty. {AGAIN}")
    if not first.startswith(b"\x1f\x8b"):
        known = describe_format(first)
        raise DumpDamaged(f"{name} is {known or 'something unknown'}, {NOT_A_DUMP}. {AGAIN}")


@contextlib.contextmanager
def opened(dump: Path, pulse: Callable[[], None]) -> Iterator[Forward]:
    """The dump, unzipped; `pulse` is called now and then. Raises DumpDamaged, OSError."""
    with dump.open("rb") as file:
        first = file.read(BEGINNING)
        check_beginning(first, dump.name)
        file.seek(0)
        forward = Forward(file, dump.name, pulse)
        if forward.read(tarfile.BLOCKSIZE)[257:262] != b"ustar":
            known = describe_format(first)
            raise DumpDamaged(f"{dump.name} is {known or 'damaged'}, {NOT_A_DUMP}. {AGAIN}")
        forward.seek(0)
        yield forward


def members(forward: Forward, name: str, database: str) -> Iterator[Member]:
    """Each member of the dump `name` of the directory `database`, judged, down to the archive's true end.

    Between two of them its content may be read from `forward`. Raises DumpDamaged.
    """
    try:
        tar = tarfile.open(  # noqa: SIM115 - closing it would do nothing: the file is not its own
            fileobj=forward, mode="r:", encoding="utf-8", errors="surrogateescape"
        )
    except _WRONG:
        raise DumpDamaged(f"{name} is {NOT_A_DUMP}, or damaged. {AGAIN}") from None
    found = False
    while (info := _next(tar, name)) is not None:
        # It keeps all members, of which there may be millions.
        tar.members.clear()  # type: ignore[attr-defined]
        member = _judged(info, name, database)
        if not found and (member.parts or member.kind is not Kind.DIRECTORY):
            # tar writes a directory before what is in it.
            raise DumpDamaged(f"{name} does not begin with the directory {database} itself. {AGAIN}")
        found = True
        yield member
    if not found:
        raise DumpDamaged(f"{name} holds nothing: it is {NOT_A_DUMP}. {AGAIN}")
    _check_end(forward, tar.offset, name)


_WRONG = (tarfile.TarError, ValueError, OverflowError, LookupError, EOFError, RecursionError)
"""What tarfile raises for what is no tar; it was not written for files that mean harm."""


def _next(tar: tarfile.TarFile, name: str) -> tarfile.TarInfo | None:
    try:
        return tar.next()
    except _WRONG:
        raise DumpDamaged(
            f"{name} is damaged or not whole: its header {tar.offset} bytes into the tar cannot be read. "
            f"{AGAIN}"
        ) from None


def _check_end(forward: Forward, offset: int, name: str) -> None:
    """Tarfile takes a header that it cannot read for the end: nothing but zeros may follow it."""
    forward.seek(offset)
    size = 0
    while chunk := forward.read(tarfile.RECORDSIZE):
        size += len(chunk)
        if any(chunk) or size > LONGEST_END:
            raise DumpDamaged(
                f"{name} is damaged: {offset} bytes into the tar stands neither a header nor its end. {AGAIN}"
            )
    if size < tarfile.BLOCKSIZE:
        raise DumpDamaged(f"{name} is damaged or not whole: the tar in it has no end. {AGAIN}")


def _judged(info: tarfile.TarInfo, name: str, database: str) -> Member:
    parts = _below(info.name, name, database)
    kind = _kind(info)
    if kind is None:
        raise DumpDamaged(
            f"{name} holds {info.name!r}, a device or something unknown: only files, directories and links "
            "are restored. Push it again without (excluded_tables)."
        )
    if not parts and kind is not Kind.DIRECTORY:
        raise DumpDamaged(f"{name} holds {database} as a {kind.value}, not as a directory. {AGAIN}")
    if info.size < 0 or not _is_whole(info):
        raise DumpDamaged(f"{name} is damaged: {info.name!r} has no possible size. {AGAIN}")
    if kind is Kind.SYMLINK and not stays_inside(info.linkname, len(parts) - 1):
        raise DumpDamaged(
            f"{name} holds the symlink {info.name!r}, which leaves the directory. Push it again with a link "
            "that stays in it, or without (excluded_tables)."
        )
    target = _below(info.linkname, name, database) if kind is Kind.HARD_LINK else ()
    return Member(parts=parts, kind=kind, info=info, target=target)


def stays_inside(target: str, depth: int) -> bool:
    """Whether a symlink `depth` directories below the top leads to something below the top.

    `..` counts only at the beginning, where it leads through real directories: after the name of another
    symlink it could lead anywhere.
    """
    if not target or target.startswith("/") or "\0" in target:
        return False
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    return up <= depth and ".." not in parts[up:]


def _below(path: str, name: str, database: str) -> tuple[str, ...]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise DumpDamaged(
            f"{name} holds the path {path!r}, which leaves the directory. Whoever wrote it may mean harm; "
            "choose another dump by its timestamp, or push it again."
        )
    if not parts or parts[0] != database:
        raise DumpDamaged(
            f"{name} is a dump of another directory than {database}: it holds {path!r}. It was put there "
            "under a wrong name, or `database` is not the directory's name. Choose another by its timestamp, "
            "or push it again."
        )
    return tuple(parts[1:])


def _kind(info: tarfile.TarInfo) -> Kind | None:
    kinds = (
        (info.isdir(), Kind.DIRECTORY),
        (info.issym(), Kind.SYMLINK),
        (info.islnk(), Kind.HARD_LINK),
        (info.isfifo(), Kind.FIFO),
        (info.isreg(), Kind.FILE),
    )
    return next((kind for is_it, kind in kinds if is_it), None)


def _is_whole(info: tarfile.TarInfo) -> bool:
    """Whether the parts of a sparse file follow each other and are within its size."""
    at = 0
    for offset, size in segments(info):
        if offset < at or size < 0:
            return False
        at = offset + size
    return at <= info.size


def segments(info: tarfile.TarInfo) -> Sequence[tuple[int, int]]:
    """Where a file has data, as offsets and lengths in bytes."""
    sparse = cast("Sequence[tuple[int, int]] | None", info.sparse)
    return ((0, info.size),) if sparse is None else sparse


def permissions(info: tarfile.TarInfo) -> int:
    """The mode that a member gets: without the bits that would let it run as another user.

    On a directory the group's one means something harmless, and is kept.
    """
    mode = info.mode & 0o7777
    return mode & ~stat.S_ISUID if info.isdir() else mode & ~(stat.S_ISUID | stat.S_ISGID)
