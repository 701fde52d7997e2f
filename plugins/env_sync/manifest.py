"""A dump's life story: where its data was born, by which syncs it came here, and what was done to it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from env_sync.errors import DumpDamaged

FORMAT = 1


@frozen(kw_only=True)
class Transformation:
    """A transformation as it was applied: its file's name and the SHA-256 of its text."""

    name: str
    sha256: str


@frozen(kw_only=True)
class Parent:
    """The dump that a database came from, and what was done to it before it was live there."""

    environment: str
    """The environment that pushed the dump."""
    key: str
    sha256: str
    transformations: tuple[Transformation, ...]
    pulled_into: str
    """The environment that pulled it, and sanitised it with those transformations."""


@frozen(kw_only=True)
class Manifest:
    """One dump. Times are UTC, sizes are bytes, hashes are SHA-256 in hexadecimal."""

    environment: str
    sync: str
    run: str
    dbms: str
    database: str
    engine_version: str
    server_version: str
    key: str
    size: int
    sha256: str
    started: dt.datetime
    finished: dt.datetime
    data_time: dt.datetime
    """When the data was read in the environment where it was born."""
    born_in: str
    parents: tuple[Parent, ...]
    """From the nearest to the oldest."""
    transformations: tuple[Transformation, ...]
    """Applied to a copy before the dump was taken."""
    format: int = FORMAT
