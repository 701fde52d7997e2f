"""The small results that steps give to each other and to the report, by XCom. Sizes are bytes."""

from __future__ import annotations

import datetime as dt

from attrs import frozen

from env_sync.domain.changed_rows import Changed
from env_sync.domain.manifest import Transformation


@frozen(kw_only=True)
class Started:
    """A start gate let its group through. `attempt` is new each time; `started` is UTC.

    `undo`: this run makes previous live again.
    """

    attempt: str
    started: dt.datetime
    undo: bool = False


@frozen(kw_only=True)
class Awaited:
    """A start gate waited for tonight's dump. `waited` is seconds; `found` is its key, if it came."""

    awaited: str
    """Which dump, in words."""
    waited: float
    found: str | None
    warnings: tuple[str, ...]


@frozen(kw_only=True)
class Downloaded:
    """A dump was chosen, fetched and read through to its end."""

    dump_key: str
    timestamp: str
    size: int
    sha256: str
    source_environment: str
    born_in: str
    data_time: dt.datetime
    warnings: tuple[str, ...]


@frozen(kw_only=True)
class Restored:
    """Incoming holds the dump, raw. `closed` is the engine's."""

    dump_sha256: str
    warnings: tuple[str, ...]
    closed: str = ""


@frozen(kw_only=True)
class Sanitised:
    """Incoming is sanitised and says so itself. `statements`: what each of the transformations changed."""

    transformations: tuple[Transformation, ...]
    badge: str = ""
    reason: str = ""
    """Why nothing had to be sanitised, where that was said."""
    statements: tuple[Changed, ...] = ()
    warnings: tuple[str, ...] = ()
    closed: str = ""
    """The engine's: of the restore, or of the one that had to be done again."""


@frozen(kw_only=True)
class Promoted:
    """Live is what incoming was. `unavailable` is seconds."""

    unavailable: float
    first: bool
    previous_kept: bool
    warnings: tuple[str, ...]


@frozen(kw_only=True)
class LiveAgain:
    """Live is what previous was. `unavailable` is seconds; the rest is of the dump that it came from.

    That is None where it was live before the first pull. `advice` is what to know and to do next.
    """

    unavailable: float
    dump_key: str | None
    source_environment: str | None
    data_time: dt.datetime | None
    advice: str
    warnings: tuple[str, ...]
    badge: str = ""
    reason: str = ""
    """Why nothing had to be sanitised, where that was said."""


@frozen(kw_only=True)
class Dumped:
    """Live was dumped into the work folder."""

    dump_key: str
    size: int
    sha256: str
    data_time: dt.datetime
    born_in: str
    transformations: tuple[Transformation, ...] = ()
    statements: tuple[Changed, ...] = ()
    warnings: tuple[str, ...] = ()
    badge: str = ""
    reason: str = ""
    """Why nothing had to be sanitised, where that was said."""


@frozen(kw_only=True)
class Uploaded:
    """The dump is in the bucket, with its manifest, and the pointer names it. `attempt`: by which one."""

    attempt: str
    dump_key: str
    size: int
    pointer_moved: bool


@frozen(kw_only=True)
class BucketSynced:
    """The destination is as the source was. `size`: of what was copied; `said`: the counts in words."""

    said: str
    size: int
    copied: int
    deleted: int
    same: int
    warnings: tuple[str, ...]
