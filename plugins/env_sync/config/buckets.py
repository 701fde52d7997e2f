"""Whose bucket of dumps a bucket is, told by its name."""

from __future__ import annotations

import re

from env_sync.domain.settings import BUCKET, Settings

PLACEHOLDER = "{environment}"


def own_bucket(settings: Settings, environment: str) -> str:
    """Return the name of the environment's own bucket of dumps."""
    return settings.bucket.replace(PLACEHOLDER, environment)


def is_dump_bucket(settings: Settings, bucket: str) -> bool:
    """Tell whether a bucket is named like any environment's bucket of dumps."""
    patterns = (
        re.escape(name).replace(re.escape(PLACEHOLDER), "[A-Za-z0-9_-]+")
        # Others may have kept the name that they have unless it is set.
        for name in (settings.bucket, BUCKET)
    )
    return any(re.fullmatch(pattern, bucket) for pattern in patterns)
