"""Whether the kernel would write down the memory of this process."""

from __future__ import annotations

import ctypes
import resource

from env_sync.core.core_dumps import PR_GET_DUMPABLE


def core_dumps() -> tuple[int, int]:
    """How large a core dump may be, and whether there is one at all."""
    dumpable = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
    return resource.getrlimit(resource.RLIMIT_CORE)[0], dumpable
