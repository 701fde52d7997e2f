"""Waiting for what a server or the system does by itself, a moment later."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 30.0  # seconds; a busy machine takes long
BETWEEN = 0.02  # seconds

T = TypeVar("T")


def awaited(look: Callable[[], T], expected: object, seconds: float = PATIENCE) -> T:
    """What `look` gives as soon as that is `expected`, else what it gave last after so many seconds."""
    deadline = time.monotonic() + seconds
    while (found := look()) != expected and time.monotonic() < deadline:
        time.sleep(BETWEEN)
    return found
