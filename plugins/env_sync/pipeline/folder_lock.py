"""The lock in a private folder: held while a process works in it, and gone in the instant in which that is.

https://man7.org/linux/man-pages/man2/flock.2.html
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from attrs import define

LOCK = "lock"
"""The file in a private folder that is locked."""


@define
class Hold:
    """The lock of one step on its folder, from when the step first works there to the end of its block."""

    _descriptor: int | None = None
    _blocks: int = 0

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Until the end of the outermost such block a lock that was taken is held."""
        self._blocks += 1
        try:
            yield
        finally:
            self._blocks -= 1
            if not self._blocks:
                self._let_go()

    def take(self, folder: Path) -> bool:
        """Lock a folder, unless it is; False where somebody removed it meanwhile. Raises OSError.

        Waits for whoever removes it at this moment.
        """
        if self._descriptor is not None and _is_lock_of(self._descriptor, folder):
            return True
        self._let_go()
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if _is_lock_of(descriptor, folder):
                    self._descriptor, descriptor = descriptor, -1
                    return True
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
        return False

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether nobody works in a folder; then nobody begins to before the end of this block. Raises OSError.

    A folder without a lock has nobody in it who knows of locks.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _is_lock_of(descriptor: int, folder: Path) -> bool:
    """Whether an open file is what lies in the folder as its lock."""
    try:
        there = (folder / LOCK).lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))
