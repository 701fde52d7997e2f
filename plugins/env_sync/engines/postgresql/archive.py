"""What an archive of pg_dump says about itself: where it is from, and what is in it."""

from __future__ import annotations

import logging
from pathlib import Path

from attrs import frozen

from env_sync.cancellation import Cancellation


@frozen(kw_only=True)
class Entry:
    """One entry of the table of contents. `schema` is "" where it has none."""

    dump_id: int
    type: str
    schema: str
    name: str
    owner: str
    dependencies: tuple[int, ...] = ()
    definition: str = ""
    """The SQL that makes it; empty for data."""
    line: str = ""
    """As `pg_restore -l` lists it, for `pg_restore -L`."""


@frozen(kw_only=True)
class Locale:
    """How the dumped database was encoded and sorted, as CREATE DATABASE says it; "" where it does not."""

    encoding: str
    collate: str
    ctype: str
    provider: str
    """"libc", "icu" or "builtin"."""
    provider_locale: str
    """The locale of the icu or builtin provider."""
    icu_rules: str


@frozen(kw_only=True)
class Archive:
    """An archive file and what it says about itself."""

    file: Path
    database: str
    server_version: str
    """Version of the server that was dumped, e.g. "16.14"."""
    locale: Locale
    entries: tuple[Entry, ...]


def read_archive(file: Path, *, cancellation: Cancellation, log: logging.Logger) -> Archive:
    """Read the table of contents, not the data. Raises DumpDamaged, ToolMissing, Cancelled."""
    raise NotImplementedError
