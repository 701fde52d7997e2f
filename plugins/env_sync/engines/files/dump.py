"""Dumping a directory: a tar.gz that GNU tar reads as well, with owners, modes, times, links and holes.

Every directory is opened through the one above it, so that nobody who may write there can have anything
else read by putting a symlink in its place.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import grp
import gzip
import io
import logging
import os
import pwd
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from attrs import define, field
from isal import igzip

from env_sync.core.errors import ContentRefused, ToolFailed
from env_sync.engines.files.archive import CHUNK, stays_inside
from env_sync.engines.files.exclusions import excluder

DEEPEST = 200
"""How many directories may be within each other: each is open while what is below it is read."""
WHOLE = 4 * CHUNK
"""Bytes of a file that is read as one: what its header says is then what was read."""
NANO = 1_000_000_000
LARGEST_WITH_HOLES = 8_000_000_000
"""Bytes of data in a file of which the holes are kept."""
FAST_LEVELS = 3
"""Up to this level ISA-L compresses, an order of magnitude faster than zlib."""
PLAIN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def pack(
    directory: Path,
    to: Path,
    *,
    excluded: Sequence[str],
    compression: str,
    pulse: Callable[[int], None],
    log: logging.Logger,
) -> tuple[str, ...]:
    """Write a dump of a directory to the file `to`; it holds the directory under its own name.

    Gives the patterns of `excluded` by which nothing is called. `pulse` is told how many bytes were read so
    far. Raises NotADirectoryError, FileNotFoundError where there is no such directory, ContentRefused,
    ToolFailed, OSError; what is at `to` then is not a dump.
    """
    descriptor = os.open(directory, DIRECTORY)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        raw = stack.enter_context(open(to, "xb", opener=_private))
        zipped = stack.enter_context(contextlib.closing(_compressed(raw, compression)))
        tar = stack.enter_context(
            tarfile.open(
                fileobj=zipped,
                mode="w:",
                format=tarfile.PAX_FORMAT,
                encoding="utf-8",
                errors="surrogateescape",
            )
        )
        packing = _Packing(
            tar, excluder(excluded), pulse, os.fstat(descriptor).st_dev, top=directory.name, log=log
        )
        packing.directory(descriptor, "", 0)
        packing.tell()
    return tuple(pattern for pattern in excluded if f"by {pattern}" not in packing.left_out)


@define
class _Packing:
    """One dump at work."""

    tar: tarfile.TarFile
    excluded: Callable[[str], str | None]
    pulse: Callable[[int], None]
    device: int
    top: str
    log: logging.Logger
    seen: dict[tuple[int, int], str] = field(factory=dict)
    """Where a file with several names was written first, by its device and inode."""
    done: int = 0
    files: int = 0
    left_out: dict[str, int] = field(factory=dict)

    def directory(self, descriptor: int, path: str, depth: int) -> None:
        """Write a directory that is open, and all that is in it. `path` is below the top, "" for that."""
        if depth > DEEPEST:
            raise ContentRefused(
                f"{path!r} is more than {DEEPEST} directories deep: leave it out with excluded_tables."
            )
        status = os.fstat(descriptor)
        if status.st_dev != self.device:
            raise ContentRefused(
                f"{path!r} is a file system of its own, which is no part of the directory: leave it out with "
                "excluded_tables, and push it by a sync of its own."
            )
        self._add(self._info(path, status, tarfile.DIRTYPE), None)
        for name in sorted(os.listdir(descriptor)):
            inner = f"{path}/{name}" if path else name
            if (pattern := self.excluded(inner)) is not None:
                self._leave_out(f"by {pattern}")
                continue
            self.pulse(self.done)
            try:
                self._entry(descriptor, name, inner, depth)
            except FileNotFoundError:
                self._leave_out("for they went away meanwhile")
            except OSError as problem:
                # Something else stands there by now.
                if problem.errno not in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
                    raise OSError(problem.errno, problem.strerror, inner) from None
                self._leave_out("for they became something else meanwhile")

    def tell(self) -> None:
        """Log what was written, and what was not."""
        self.log.info("%d files, %.1f MB in all", self.files, self.done / 1e6)
        for why, count in self.left_out.items():
            self.log.log(
                logging.INFO if why.startswith("by ") else logging.WARNING, "%d left out %s", count, why
            )

    def _entry(self, parent: int, name: str, path: str, depth: int) -> None:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            descriptor = os.open(name, DIRECTORY, dir_fd=parent)
            try:
                self.directory(descriptor, path, depth + 1)
            finally:
                os.close(descriptor)
        elif kind == stat.S_IFLNK:
            self._symlink(path, status, os.readlink(name, dir_fd=parent), depth)
        elif kind == stat.S_IFREG:
            descriptor = os.open(name, PLAIN_FILE, dir_fd=parent)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                self._file(path, file)
        else:
            self._leave_out("for they are sockets, named pipes or devices, which hold no data")

    def _symlink(self, path: str, status: os.stat_result, target: str, depth: int) -> None:
        if not stays_inside(target, depth):
            raise ContentRefused(
                f"{path!r} is a symlink that leaves the directory, or goes up after going down: it would "
                "mean something else on another machine. Make it a relative one to something in the "
                "directory, or leave it out with excluded_tables."
            )
        info = self._info(path, status, tarfile.SYMTYPE)
        info.linkname = target
        self._add(info, None)

    def _file(self, path: str, file: io.FileIO) -> None:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            self._leave_out("for they became something else meanwhile")
            return
        inode = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and inode in self.seen:
            info = self._info(path, status, tarfile.LNKTYPE)
            info.linkname = self.seen[inode]
            self._add(info, None)
            return
        info = self._info(path, status, tarfile.REGTYPE)
        if status.st_nlink > 1:
            self.seen[inode] = info.name
        self.files += 1
        segments = _segments(file, status)
        if segments is not None:
            self._sparse(info, file, segments, status.st_size)
        elif status.st_size <= WHOLE:
            content = _read_whole(file, status.st_size)
            info.size = len(content)
            self._add(info, io.BytesIO(content))
            self.done += len(content)
        else:
            info.size = status.st_size
            self._add(info, _Counted(self, path, file, [(0, status.st_size)]))

    def _sparse(
        self, info: tarfile.TarInfo, file: io.FileIO, segments: list[tuple[int, int]], size: int
    ) -> None:
        """In the "PAX 1.0" format of GNU tar: a table of what is there, then that."""
        ends = segments if segments and sum(segments[-1]) == size else [*segments, (size, 0)]
        table = f"{len(ends)}\n" + "".join(f"{offset}\n{length}\n" for offset, length in ends)
        content = table.encode().ljust(-(-len(table) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE, b"\0")
        info.pax_headers = {
            **info.pax_headers,
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": info.name,
            "GNU.sparse.realsize": str(size),
        }
        above, _, last = info.name.rpartition("/")
        info.name = f"{above}/GNUSparseFile.0/{last}"
        info.size = len(content) + sum(length for _, length in segments)
        self._add(info, _Counted(self, last, file, segments, content))

    def _info(self, path: str, status: os.stat_result, kind: bytes) -> tarfile.TarInfo:
        info = tarfile.TarInfo(f"{self.top}/{path}" if path else self.top)
        info.type = kind
        info.mode = stat.S_IMODE(status.st_mode)
        info.uid, info.gid = status.st_uid, status.st_gid
        info.uname, info.gname = _user(status.st_uid), _group(status.st_gid)
        seconds, rest = divmod(status.st_mtime_ns, NANO)
        info.mtime = seconds
        if rest and seconds >= 0:
            info.pax_headers = {"mtime": f"{seconds}.{rest:09d}"}
        return info

    def _add(self, info: tarfile.TarInfo, content: BinaryIO | _Counted | None) -> None:
        self.tar.addfile(info, content)
        # It keeps all members, of which there may be millions.
        self.tar.members.clear()  # type: ignore[attr-defined]

    def _leave_out(self, why: str) -> None:
        self.left_out[why] = self.left_out.get(why, 0) + 1


class _Counted(io.RawIOBase):
    """Parts of a file one after another, after some bytes of ours; counts what is read."""

    def __init__(
        self,
        packing: _Packing,
        path: str,
        file: io.FileIO,
        segments: Sequence[tuple[int, int]],
        before: bytes = b"",
    ) -> None:
        super().__init__()
        self._packing = packing
        self._chunks = self._all(path, file, segments, before)
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        """The next bytes, exactly so many. Raises ToolFailed where the file became shorter."""
        while len(self._left) < size and (chunk := next(self._chunks, b"")):
            self._left += chunk
        found, self._left = self._left[:size], self._left[size:]
        return found

    def _all(
        self, path: str, file: io.FileIO, segments: Sequence[tuple[int, int]], before: bytes
    ) -> Iterator[bytes]:
        if before:
            yield before
        for offset, length in segments:
            file.seek(offset)
            left = length
            while left:
                chunk = file.read(min(left, CHUNK))
                if not chunk:
                    raise ToolFailed(
                        f"{path!r} became shorter while it was read: run the step again, or leave it out "
                        "with excluded_tables."
                    )
                left -= len(chunk)
                self._packing.done += len(chunk)
                self._packing.pulse(self._packing.done)
                yield chunk


def _segments(file: io.FileIO, status: os.stat_result) -> list[tuple[int, int]] | None:
    """Where a file with holes has data, as offsets and lengths in bytes; None where it has no holes."""
    size = status.st_size
    if status.st_blocks * 512 >= size:
        return None
    found = []
    at = 0
    try:
        while at < size:
            start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            at = min(os.lseek(file.fileno(), start, os.SEEK_HOLE), size)
            if start < size:
                found.append((start, at - start))
    except OSError as problem:
        # There is no more data; or the file system knows nothing of holes.
        if problem.errno not in (errno.ENXIO, errno.EINVAL):
            raise
        if problem.errno == errno.EINVAL:
            found = [(0, size)]
    file.seek(0)
    # Beyond that a header of its own says how long it is, and Python's tarfile then misreads what has holes.
    too_long = sum(length for _, length in found) >= LARGEST_WITH_HOLES
    return None if too_long or found == [(0, size)] else found


def _read_whole(file: io.FileIO, size: int) -> bytes:
    content = bytearray()
    while len(content) < size and (chunk := file.read(size - len(content))):
        content += chunk
    return bytes(content)


def _compressed(raw: BinaryIO, compression: str) -> gzip.GzipFile:
    """Gzip also where it is not to compress: its checksum is what tells a damaged dump."""
    level = int(compression.partition(":")[2] or 0)
    if 0 < level <= FAST_LEVELS:
        fast: gzip.GzipFile = igzip.IGzipFile(  # type: ignore[no-untyped-call]
            filename="", mode="wb", fileobj=raw, compresslevel=level, mtime=0
        )
        return fast
    return gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=level, mtime=0)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@functools.cache
def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return ""


@functools.cache
def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return ""
