"""The disk of this machine."""

from __future__ import annotations

import errno


def is_full(problem: OSError) -> bool:
    """Whether it says that no more can be written: the disk is full, or this user's share of it."""
    return problem.errno in (errno.ENOSPC, errno.EDQUOT)
