"""Keys that are made of passwords once: each new client of MongoDB makes its own by thousands of hashes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def kept_keys() -> Iterator[None]:
    """Lets a key be found again by all that it is made of, also in processes that are forked."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hashlib, "pbkdf2_hmac", functools.cache(hashlib.pbkdf2_hmac))
        yield
