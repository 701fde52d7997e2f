"""No core dumps of this process: whatever it dies of, what it had in memory is not written to a disk."""

from __future__ import annotations

import contextlib
import ctypes
import resource
from collections.abc import Iterator

PR_GET_DUMPABLE = 3  # both from linux/prctl.h
PR_SET_DUMPABLE = 4


@contextlib.contextmanager
def no_core_dumps() -> Iterator[None]:
    """Within the block the kernel dumps nothing of this process, neither to a file nor to a program.

    Nor can other processes of this user read its memory. A program that it starts is dumpable again once it
    runs; guard.py sees to those. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    dumpable = libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))
    _set_dumpable(libc, 0)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)
        # 2, which a process may have from its start, cannot be set.
        if dumpable == 1:
            _set_dumpable(libc, 1)


def _set_dumpable(libc: ctypes.CDLL, value: int) -> None:
    if libc.prctl(PR_SET_DUMPABLE, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
