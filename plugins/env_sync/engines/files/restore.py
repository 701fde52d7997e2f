"""Restoring a dump, through descriptors of directories alone: no symlink is ever followed."""

from __future__ import annotations

import contextlib
import functools
import grp
import os
import pwd
import tarfile
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path

from attrs import define, field

from env_sync.core.errors import DiskFull, DumpDamaged
from env_sync.engines.files.archive import (
    AGAIN,
    CHUNK,
    Forward,
    Kind,
    Member,
    members,
    opened,
    permissions,
    segments,
)

ROOM_LEFT = 64 * CHUNK
"""Bytes that a restore leaves free: applications live on the same disk."""
ROOM_EVERY = 16 * CHUNK
"""After how many bytes it is looked how much room is left."""
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
NANO = 1_000_000_000


def check_dump(dump: Path, database: str, pulse: Callable[[], None]) -> int:
    """Read a dump through to its end; how many members it has. Raises DumpDamaged, OSError."""
    count = 0
    with opened(dump, pulse) as forward:
        for _ in members(forward, dump.name, database):
            count += 1
    return count


def unpack(dump: Path, top: Path, database: str, pulse: Callable[[], None]) -> tuple[str, ...]:
    """Restore a dump into `top`, an empty directory that only this user can enter; gives warnings.

    Owners are kept where this user is root, else everything is this user's own. The mode and owner of `top`
    are not touched. Raises DumpDamaged, DiskFull, OSError.
    """
    with contextlib.closing(_Tree(top)) as tree, opened(dump, pulse) as forward:
        restoring = _Restoring(dump.name, tree, forward, owners=os.geteuid() == 0)
        for member in members(forward, dump.name, database):
            restoring.restore(member)
        restoring.finish()
    return tuple(restoring.warnings())


class _Tree:
    """The directories below `top`, opened one by one; the one that was last asked for stays open."""

    def __init__(self, top: Path) -> None:
        self._top = os.open(top, DIRECTORY)
        self._parts: tuple[str, ...] = ()
        self._last = self._top

    def close(self) -> None:
        """Close what is open."""
        self._forget()
        os.close(self._top)

    def open(self, parts: tuple[str, ...]) -> int:
        """A descriptor of a directory, good until the next call. Raises OSError where it is none."""
        if parts == self._parts:
            return self._last
        self._forget()
        descriptor = os.dup(self._top)
        for part in parts:
            try:
                inner = os.open(part, DIRECTORY, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = inner
        self._parts, self._last = parts, descriptor
        return descriptor

    def _forget(self) -> None:
        if self._last != self._top:
            os.close(self._last)
        self._parts, self._last = (), self._top


@define
class _Restoring:
    """One restore at work."""

    name: str
    tree: _Tree
    forward: Forward
    owners: bool
    directories: dict[tuple[str, ...], tarfile.TarInfo] = field(factory=dict)
    """Their modes and times come last: a directory may be one that nobody may write to."""
    stripped: int = 0
    fifos: int = 0
    since_look: int = ROOM_EVERY

    def restore(self, member: Member) -> None:
        """Make one member."""
        if not member.parts:
            self.directories[()] = member.info
            return
        *above, last = member.parts
        with self._refusing(member):
            parent = self.tree.open(tuple(above))
            match member.kind:
                case Kind.DIRECTORY:
                    self._directory(member, last, parent)
                case Kind.FILE:
                    self._file(member, last, parent)
                case Kind.SYMLINK:
                    os.symlink(member.info.linkname, last, dir_fd=parent)
                    self._dress_link(member, last, parent)
                case Kind.HARD_LINK:
                    self._hard_link(member, last)
                case Kind.FIFO:
                    self.fifos += 1

    def finish(self) -> None:
        """Give the directories their owners, modes and times, the innermost first."""
        for parts in sorted(self.directories, key=len, reverse=True):
            info, descriptor = self.directories[parts], self.tree.open(parts)
            if parts:
                self._dress(descriptor, info)
            else:
                os.utime(descriptor, ns=_times(info))

    def warnings(self) -> Iterator[str]:
        """What is not as it was."""
        if self.stripped:
            yield (
                f"{self.stripped} files lost their set-user-ID or set-group-ID bit: a dump is not trusted "
                "with that"
            )
        if self.fifos:
            yield f"{self.fifos} named pipes were left out: they hold no data"
        if not self.owners:
            yield (
                f"all files belong to the user of this worker (number {os.geteuid()}), for only root can "
                "give them to their owners: let workers of this queue run as root if applications need that"
            )

    def _directory(self, member: Member, last: str, parent: int) -> None:
        if member.parts not in self.directories:
            os.mkdir(last, 0o700, dir_fd=parent)
        self.directories[member.parts] = member.info

    def _file(self, member: Member, last: str, parent: int) -> None:
        info = member.info
        descriptor = os.open(last, NEW_FILE, 0o600, dir_fd=parent)
        try:
            self.forward.seek(info.offset_data)
            for offset, size in segments(info):
                os.lseek(descriptor, offset, os.SEEK_SET)
                self._copy(descriptor, size)
            if info.sparse:
                os.ftruncate(descriptor, info.size)
            self._dress(descriptor, info)
        finally:
            os.close(descriptor)

    def _copy(self, descriptor: int, size: int) -> None:
        left = size
        while left:
            chunk = self.forward.read(min(left, CHUNK))
            if not chunk:
                raise DumpDamaged(f"{self.name} is damaged or not whole: it ends within a file. {AGAIN}")
            self._check_room(descriptor, len(chunk))
            _write_all(descriptor, chunk)
            left -= len(chunk)

    def _check_room(self, descriptor: int, size: int) -> None:
        self.since_look += size
        if self.since_look < ROOM_EVERY:
            return
        self.since_look = 0
        there = os.fstatvfs(descriptor)
        free = there.f_bavail * there.f_frsize
        if free < ROOM_LEFT:
            raise DiskFull(
                f"The disk of the files has {free / 1e6:.0f} MB left while {self.name} is restored on it, "
                f"and {ROOM_LEFT / 1e6:.0f} MB are left to applications. Make room there (or set "
                "keep_previous to false), and run the group again. Live is untouched."
            )

    def _hard_link(self, member: Member, last: str) -> None:
        *above, target = member.target
        with contextlib.ExitStack() as stack:
            source = os.dup(self.tree.open(tuple(above)))
            stack.callback(os.close, source)
            parent = self.tree.open(member.parts[:-1])
            # A link to a link would be followed by whoever opens it; what is linked to was judged before.
            os.link(target, last, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)

    def _dress(self, descriptor: int, info: tarfile.TarInfo) -> None:
        if self.owners:
            os.chown(descriptor, *_owner(info))
        mode = permissions(info)
        self.stripped += mode != info.mode & 0o7777
        os.chmod(descriptor, mode)
        os.utime(descriptor, ns=_times(info))

    def _dress_link(self, member: Member, last: str, parent: int) -> None:
        if self.owners:
            os.chown(last, *_owner(member.info), dir_fd=parent, follow_symlinks=False)
        os.utime(last, ns=_times(member.info), dir_fd=parent, follow_symlinks=False)

    @contextlib.contextmanager
    def _refusing(self, member: Member) -> Iterator[None]:
        """What an honest dump cannot have: a name twice, or something below what is no directory."""
        try:
            yield
        except FileExistsError:
            raise DumpDamaged(f"{self.name} holds {member.info.name!r} twice. {AGAIN}") from None
        except (NotADirectoryError, FileNotFoundError):
            raise DumpDamaged(
                f"{self.name} holds {member.info.name!r} below, or as a link to, something that is no "
                f"directory or file in it. {AGAIN}"
            ) from None
        except (OverflowError, ValueError):
            raise DumpDamaged(
                f"{self.name} is damaged: {member.info.name!r} has no possible owner, time or name. {AGAIN}"
            ) from None


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _times(info: tarfile.TarInfo) -> tuple[int, int]:
    """When it was changed, in nanoseconds, for its two times; a float would lose some."""
    written = info.pax_headers.get("mtime")
    try:
        moment = int(Decimal(written) * NANO) if written else int(info.mtime * NANO)
    except InvalidOperation:
        raise ValueError("no time") from None
    return moment, moment


def _owner(info: tarfile.TarInfo) -> tuple[int, int]:
    """By name, as tar does it: numbers mean other users on another machine."""
    return _user(info.uname, info.uid), _group(info.gname, info.gid)


@functools.cache
def _user(name: str, number: int) -> int:
    try:
        return pwd.getpwnam(name).pw_uid if name else number
    except (KeyError, ValueError):
        return number


@functools.cache
def _group(name: str, number: int) -> int:
    try:
        return grp.getgrnam(name).gr_gid if name else number
    except (KeyError, ValueError):
        return number
