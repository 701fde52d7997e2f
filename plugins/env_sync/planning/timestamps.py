"""Timestamps of dumps as people give them."""

from __future__ import annotations

import datetime as dt
import re

from env_sync.config.yaml_nodes import shorten
from env_sync.core.errors import InvalidRequest

LONGEST = 40
"""Characters of one, with spaces around it."""

_DAY = "[0-9]{4}-((0[1-9]|1[0-2])-(0[1-9]|[12][0-9])|(0[13-9]|1[0-2])-30|(0[13578]|1[02])-31)"
_HOUR = "([01][0-9]|2[0-3])"
_OURS = f"{_DAY}T{_HOUR}[0-5][0-9][0-5][0-9]Z"
_SCRIPTS = f"{_DAY}T{_HOUR}:[0-5][0-9]:[0-5][0-9](Z|[+-]{_HOUR}:?[0-5][0-9])?"
PATTERN = f"{_OURS}|{_SCRIPTS}"
"""What Python and a browser alike take for one; there may be no 29 February in that year."""
_ASKED = re.compile(PATTERN)


def parse_timestamp(text: str) -> dt.datetime:
    """A dump's timestamp as a person gives it, in UTC. Raises InvalidRequest, naming the accepted forms."""
    given = text.strip()
    try:
        if len(text) <= LONGEST and _ASKED.fullmatch(given):
            return as_utc(dt.datetime.fromisoformat(given))
    except (ValueError, OverflowError):
        pass  # the shape of a timestamp, but no such day or hour: refused below like any other
    raise InvalidRequest(
        f"{shorten(text)!r} is not the timestamp of a dump; write it as in the dump's key, "
        "2026-11-23T010203Z or 2026-11-23T01:02:03 (UTC), or with a zone, 2026-11-23T01:02:03Z or "
        "2026-11-23T02:02:03+01:00"
    )


def as_utc(timestamp: dt.datetime) -> dt.datetime:
    """The same in UTC; one without a zone is."""
    return timestamp.replace(tzinfo=dt.UTC) if timestamp.tzinfo is None else timestamp.astimezone(dt.UTC)
