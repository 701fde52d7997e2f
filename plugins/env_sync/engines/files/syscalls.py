"""What Python's own library lacks: swapping two directories in one step, and telling one from another."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

AT_FDCWD = -100  # both from linux/fcntl.h
AT_EMPTY_PATH = 0x1000
RENAME_NOREPLACE = 1  # both from linux/fs.h
RENAME_EXCHANGE = 2
LONGEST_HANDLE = 128
"""Bytes; MAX_HANDLE_SZ of linux/fs.h."""
NOT_OFFERED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""What is said where the kernel, the C library or the file system does not know a call or a flag."""


class _Handle(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint),
        ("type", ctypes.c_int),
        ("handle", ctypes.c_ubyte * LONGEST_HANDLE),
    )


def exchange(first: Path, second: Path) -> bool:
    """Let two directories change their names in one step, which nobody sees half done.

    False, with nothing done, where the file system does not offer that (NFS does not). Raises OSError.
    """
    return _rename(first, second, RENAME_EXCHANGE)


def rename_to_new(source: Path, target: Path) -> None:
    """Rename a directory to a name that nothing has. Raises FileExistsError, OSError."""
    if _rename(source, target, RENAME_NOREPLACE):
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)


def identity(directory: Path) -> str:
    """Names this one directory on its file system: a rename keeps it, a copy does not have it.

    The inode's generation is part of it where the file system tells, so that a directory that was deleted
    and one that was made in its place differ. Raises OSError, also where it is a symlink.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        handle = _Handle(size=LONGEST_HANDLE)
        mount = ctypes.c_int()
        try:
            reference = ctypes.byref(handle)
            _call("name_to_handle_at", descriptor, b"", reference, ctypes.byref(mount), AT_EMPTY_PATH)
        except OSError as problem:
            if problem.errno not in (*NOT_OFFERED, errno.EPERM):
                raise
            return f"inode-{os.fstat(descriptor).st_ino}"
        return bytes(handle.handle[: handle.size]).hex()
    finally:
        os.close(descriptor)


def write_out(directory: Path) -> None:
    """Have the whole file system of a directory written to its disk: a power cut must not empty files."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _call("syncfs", descriptor)
    finally:
        os.close(descriptor)


def mount_points() -> tuple[Path, ...]:
    """Where something is mounted, as this process sees it."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return tuple(Path(os.fsdecode(_unescaped(line.split()[4]))) for line in lines)


def _unescaped(text: bytes) -> bytes:
    r"""Spaces and the like stand there as `\040`."""
    head, *rest = text.split(b"\\")
    return head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def _rename(source: Path, target: Path, flag: int) -> bool:
    try:
        _call("renameat2", AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), flag)
    except OSError as problem:
        if problem.errno in NOT_OFFERED:
            return False
        raise OSError(problem.errno, problem.strerror, str(source), None, str(target)) from None
    return True


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    function = getattr(libc, name, None)
    if function is None:
        raise OSError(errno.ENOSYS, f"this machine's C library has no {name}")
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
