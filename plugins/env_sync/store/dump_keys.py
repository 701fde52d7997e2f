"""The names of what is kept in a bucket: dumps, pointers, manifests; and reading timestamps out of them."""

from __future__ import annotations

import datetime as dt
import re

from attrs import frozen

from env_sync.core.errors import NameRefused
from env_sync.planning.timestamps import as_utc

MANIFESTS = "env_sync_manifests/"
"""Everything that is not a dump or a pointer is kept below this, so that a dump's folder holds no more."""

DUMP_SUFFIX = ".gz"

_OURS = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{6}Z"
_SCRIPTS = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
# The timestamp has a fixed length and comes first, so the rest is the whole name, whatever it looks like.
_DUMP = re.compile(rf"(?P<timestamp>{_OURS}|{_SCRIPTS})-(?P<database>[^/]+)\.gz", re.DOTALL)


@frozen(kw_only=True)
class DumpName:
    """What a dump's key says: when it was begun (UTC, whole seconds), and of which database it is."""

    timestamp: dt.datetime
    database: str


def folder(path: str) -> str:
    """The prefix of all keys under a sync's path; empty for the bucket's top."""
    inner = path.strip("/")
    return f"{inner}/" if inner else ""


def timestamp_text(timestamp: dt.datetime) -> str:
    """A timestamp as it stands in our keys, e.g. `2026-11-23T010203Z`; it must have a zone."""
    if timestamp.tzinfo is None:
        raise ValueError("a timestamp needs a zone")
    return timestamp.astimezone(dt.UTC).strftime("%Y-%m-%dT%H%M%SZ")


def dump_key(path: str, timestamp: dt.datetime, database: str) -> str:
    """The key of a dump begun at `timestamp`. Raises NameRefused for a name that a key cannot hold."""
    return f"{folder(path)}{timestamp_text(timestamp)}-{_checked(database)}{DUMP_SUFFIX}"


def pointer_key(path: str, database: str) -> str:
    """The key of the pointer: a text that is the full key of the newest whole dump, without a newline."""
    return f"{folder(path)}latest-{_checked(database)}.txt"


def manifest_key(dump: str) -> str:
    """The key of the manifest of the dump with this key, of either timestamp style."""
    return f"{MANIFESTS}{dump.removesuffix(DUMP_SUFFIX)}.json"


def dump_of_manifest(key: str) -> str:
    """The key of the dump that the manifest with this key describes."""
    return key.removeprefix(MANIFESTS).removesuffix(".json") + DUMP_SUFFIX


def parse_dump_key(path: str, key: str) -> DumpName | None:
    """What the key says, or None where it is not the key of a dump directly under this path.

    Two styles are read, both UTC: `2026-11-23T010203Z-<database>.gz` is ours, and
    `2026-11-23T01:02:03-<database>.gz` is what govuk_env_sync.sh wrote.
    """
    if not key.startswith(folder(path)):
        return None
    match = _DUMP.fullmatch(key[len(folder(path)) :])
    if match is None:
        return None
    try:
        timestamp = dt.datetime.fromisoformat(match["timestamp"])
    except ValueError:  # the shape of a timestamp, but no such day or hour
        return None
    return DumpName(timestamp=as_utc(timestamp), database=match["database"])


def is_dump_key(key: str) -> bool:
    """Whether this is the key of a dump, of either style, under whatever path."""
    return key.endswith(DUMP_SUFFIX) and parse_dump_key("", key.rpartition("/")[2]) is not None


def _checked(database: str) -> str:
    if not database or "/" in database:
        raise NameRefused(
            f"{database!r} cannot be part of a dump's key: it is empty or holds a slash; "
            "rename the database, or leave it out of the syncs"
        )
    return database
