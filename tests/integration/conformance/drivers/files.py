"""Files: the calls of the operating system by which a program opens or changes files and directories."""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import fcntl
import io
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conformance.drivers.watching import Driver, Session

NAME = "env_sync files"
CHANGES = (
    *("mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "symlink"),
    *("chmod", "chown", "utime", "truncate", "ftruncate", "fsync"),
)
TO_A_NEW_NAME = ("rename", "replace")
TWO_PATHS = (*TO_A_NEW_NAME, "link")
FLAGS = {
    name: getattr(os, f"O_{name}")
    for name in ("WRONLY", "RDWR", "CREAT", "EXCL", "TRUNC", "APPEND", "DIRECTORY", "NOFOLLOW", "NONBLOCK")
}
LOCKS = {name: getattr(fcntl, f"LOCK_{name}") for name in ("SH", "EX", "NB", "UN")}
_open = os.open
SHORT = 20_000
"""Bytes of a file up to which its content is told when it is moved to its name."""


class FileCalls(Driver):
    """See the module. Every thread is a session, and every path is told whole.

    A tree that is removed at once is one call: in which order that goes is the file system's affair. Calls of
    the C library that Python lacks are told as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self._quiet = threading.local()
        self._session = Session(NAME)

    def patch(self, patched: pytest.MonkeyPatch) -> None:
        """See Driver."""
        for name in CHANGES:
            patched.setattr(os, name, self._watched(name, getattr(os, name)))
        patched.setattr(os, "open", self._watched_open(os.open))
        for module in (io, builtins):
            patched.setattr(module, "open", self._watched_stream(module.open))
        patched.setattr(fcntl, "flock", self._watched_lock(fcntl.flock))
        patched.setattr(shutil, "rmtree", self._watched_removal(shutil.rmtree))
        patched.setattr(ctypes, "CDLL", self._library(ctypes.CDLL))

    def _tell_of(self, text: str) -> contextlib.AbstractContextManager[None]:
        quiet = getattr(self._quiet, "now", False)
        return self.sending(None if quiet else self._session, text)

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            with self._tell_of(" ".join([name, *_arguments(name, arguments, named)])):
                return call(*arguments, **named)

        return watched

    def _watched_open(self, call: Callable[..., int]) -> Callable[..., int]:
        def watched(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            names = [name for name, flag in FLAGS.items() if flags & flag == flag]
            with self._tell_of(" ".join(["open", _told(path, dir_fd), *names])):
                return call(path, flags, mode, dir_fd=dir_fd)

        return watched

    def _watched_stream(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            # An opener opens it by a call that is told itself, and a descriptor is open.
            if isinstance(file, int) or named.get("opener") is not None:
                return call(file, mode, *arguments, **named)
            with self._tell_of(f"open {_told(file)} {mode}"):
                return call(file, mode, *arguments, **named)

        return watched

    def _watched_lock(self, call: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
        def watched(file: Any, operation: int) -> None:
            names = [name for name, flag in LOCKS.items() if operation & flag]
            descriptor = file if isinstance(file, int) else file.fileno()
            with self._tell_of(" ".join(["flock", _told(descriptor), *names])):
                call(file, operation)

        return watched

    def _watched_removal(self, call: Callable[..., None]) -> Callable[..., None]:
        def watched(path: Any, *arguments: Any, **named: Any) -> None:
            with self._tell_of(f"rmtree {_told(path)}"), self._silent():
                call(path, *arguments, **named)

        return watched

    @contextlib.contextmanager
    def _silent(self) -> Iterator[None]:
        before, self._quiet.now = getattr(self._quiet, "now", False), True
        try:
            yield
        finally:
            self._quiet.now = before

    def _library(self, library: type[ctypes.CDLL]) -> type[ctypes.CDLL]:
        telling = self._tell_of

        class Library(library):  # type: ignore[misc, valid-type]
            def __getattr__(self, name: str) -> Any:
                function = super().__getattr__(name)

                def watched(*arguments: Any) -> Any:
                    with telling(" ".join([name, *_c_arguments(arguments)])):
                        return function(*arguments)

                return watched

        return Library


def _arguments(name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> list[str]:
    folder = named.get("dir_fd")
    if name == "symlink":
        # Where it points is text, whatever is there.
        return [os.fsdecode(arguments[0]), _told(arguments[1], folder)]
    if name in TWO_PATHS:
        source, target = (
            _told(path, named.get(key))
            for path, key in zip(arguments, ("src_dir_fd", "dst_dir_fd"), strict=True)
        )
        content = _content(source) if name in TO_A_NEW_NAME else ""
        return [source, target, *([content] if content else [])]
    path = _told(arguments[0], folder)
    if name == "utime":
        # When is a matter of the clock, or of the file that it is taken from.
        return [path]
    modes = name in ("chmod", "mkdir")
    return [path, *(f"{each:o}" if modes else str(each) for each in arguments[1:])]


def _told(argument: Any, folder: int | None = None) -> str:
    """An argument of a call: a path, or a descriptor, as the whole path that it stands for."""
    if isinstance(argument, str | bytes | os.PathLike):
        path = Path(os.fsdecode(argument))
        if path.is_absolute():
            return str(path)
        below = Path(f"/proc/self/fd/{folder}").readlink() if folder is not None else Path.cwd()
        return str(below / path)
    descriptor = argument if isinstance(argument, int) else argument.fileno()
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return str(descriptor)


def _c_arguments(arguments: tuple[Any, ...]) -> list[str]:
    """Those of a call of the C library: bytes are a path, a number is a flag or a descriptor."""
    found = []
    for each in arguments:
        if isinstance(each, bytes) and each:
            found.append(_told(each))
        elif isinstance(each, int):
            found.append(_told(each) if each > 2 else str(each))
        else:
            found.append("...")
    return found


def _content(path: str) -> str:
    """What a short file of text holds; "" of any other."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > SHORT:
            return ""
        descriptor = _open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(descriptor, SHORT).decode()
    except UnicodeDecodeError:
        return ""
    finally:
        os.close(descriptor)
