"""Names: of incoming indices, of snapshots, and which indices a sync is about."""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
import uuid
from collections.abc import Iterator, Sequence

from env_sync.core.errors import NameRefused
from env_sync.domain.database_name import Refusal, Use, kept_for_copies, refuse, with_slash

STATE = ".env-sync"
"""The hidden index that holds the lease and the records; no data of applications is in it."""
CONTENTS = ".env-sync-contents"
"""The hidden index that travels in each snapshot and says what the snapshot holds."""
TEMPLATE = "env-sync"
"""The index template for incoming: hidden, and never made by a write."""
COPIES = "env-sync-*"
"""What all of incoming, and all that was incoming, is called."""

_COPY = re.compile(r"env-sync-(?P<token>[0-9a-f]{12})-(?P<name>.+)")
_OURS = re.compile(r"(?P<day>\d{4}-\d{2}-\d{2})t(?P<hour>\d{2}):?(?P<minute>\d{2}):?(?P<second>\d{2})z?")
TIMESTAMP = len("2026-11-23t010203z")
LONGEST = 255
"""Bytes of an index's name; see "Create index API" in Elasticsearch's reference."""
_NOT_IN_SNAPSHOTS = re.compile(r'[\\*?"<>| ,#]')
"""What no name of a snapshot may hold, beside `/`."""
RENAME_PATTERN = "^(?:env-sync-[0-9a-f]{12}-)?(.+)$"


def new_token() -> str:
    """What the names of one incoming's indices have in common, and no other's.

    The names begin with no dot: `.*` and the like find hidden indices whose names begin with one.
    """
    return uuid.uuid4().hex[:12]


def copy_name(token: str, name: str) -> str:
    """The name of the incoming index for an index of this name. Raises NameRefused where it is too long."""
    copy = f"env-sync-{token}-{name}"
    if len(copy.encode()) > LONGEST:
        room = LONGEST - len(copy_prefix(token))
        raise NameRefused(
            f"The index {name} has a name of {len(name.encode())} bytes, and at most {room} can be copied. "
            "Rename it on the source, or exclude it. Nothing was touched."
        )
    return copy


def copy_prefix(token: str) -> str:
    """What each incoming index of an attempt begins with."""
    return f"env-sync-{token}-"


def logical_name(index: str) -> str:
    """The name by which applications know an index: without what Env Sync put before it."""
    match = _COPY.fullmatch(index)
    return match["name"] if match else index


def token_of(index: str) -> str | None:
    """The token in the name of a copy; None where it is called otherwise."""
    match = _COPY.fullmatch(index)
    return match["token"] if match else None


def is_copy(index: str) -> bool:
    """Whether an index was made by Env Sync."""
    return _COPY.fullmatch(index) is not None


def refusals(host: str, use: Use) -> Iterator[Refusal]:
    """Why a cluster whose host is called so cannot be used so: its snapshots are called like it."""
    yield from with_slash(host, f"{host!r} cannot be part of a snapshot's name; correct `database`.")
    odd = _NOT_IN_SNAPSHOTS.search(host)
    if use is Use.DUMPED and (odd or not host):
        what = f"a name with `{odd[0]}`" if odd else "such a name"
        yield Refusal(
            right=f"{what} cannot be part of a snapshot's name; write the host's name alone",
            error=f"{host!r} cannot be part of a snapshot's name; correct `database`.",
        )
    yield from kept_for_copies(host)


def snapshot_name(host: str, timestamp: dt.datetime) -> str:
    """The name of a snapshot of a host: `<timestamp>-<host>` in lower case. Raises NameRefused."""
    refuse(refusals(host, Use.DUMPED))
    return f"{timestamp.astimezone(dt.UTC):%Y-%m-%dT%H%M%SZ}-{host}".lower()


def snapshot_name_after(name: str) -> str:
    """The name of a snapshot of the same host, one second later; `name` is one that `snapshot_name` made."""
    timestamp, rest = name[:TIMESTAMP], name[TIMESTAMP:]
    later = dt.datetime.strptime(timestamp, "%Y-%m-%dt%H%M%Sz") + dt.timedelta(seconds=1)  # noqa: DTZ007
    return f"{later:%Y-%m-%dT%H%M%SZ}".lower() + rest


def snapshot_time(host: str, name: str) -> dt.datetime | None:
    """The timestamp of a snapshot of exactly this host (UTC); None where it is something else.

    `2026-11-23t01:02:03-<host>`, as the shell script named them, is read as well.
    """
    rest = f"-{host.lower()}"
    match = _OURS.fullmatch(name.removesuffix(rest)) if name.endswith(rest) else None
    if match is None:
        return None
    try:
        return dt.datetime.fromisoformat(
            f"{match['day']}T{match['hour']}:{match['minute']}:{match['second']}+00:00"
        )
    except ValueError:
        return None


def is_about(name: str, include: Sequence[str], exclude: Sequence[str], *, apart: bool = False) -> bool:
    """Whether a sync is about an index of this name.

    One that stands apart (closed, hidden), and a system one, only where its very name is asked for.
    """
    if matches(name, exclude):
        return False
    return name in include if apart or name.startswith(".") else matches(name, include)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns, with `*` for anything, is for this name."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
