"""Durations as people write them: `4h`, `90m`, `30s`, `1d`, `1h30m`."""

from __future__ import annotations

import datetime as dt
import re

from env_sync.domain.invalid_value import WrongValue

LONGEST = dt.timedelta(days=365)
"""Nothing that is set here takes a year; longer is a slip of the pen."""

DURATION = re.compile(
    r"(?:(?P<days>[0-9]{1,9})d)?(?:(?P<hours>[0-9]{1,9})h)?(?:(?P<minutes>[0-9]{1,9})m)?"
    r"(?:(?P<seconds>[0-9]{1,9})s)?"
)
RIGHT = "write a duration such as `30s`, `90m`, `4h`, `1d` or `1h30m`"


def parse_duration(text: str) -> dt.timedelta:
    """Return the duration that `text` says; units stand from the longest to the shortest.

    Raises WrongValue for a number without a unit, an unknown unit, or more than LONGEST.
    """
    match = DURATION.fullmatch(text)
    if match is None or not text:
        raise WrongValue(RIGHT)
    try:
        duration = dt.timedelta(**{unit: int(count) for unit, count in match.groupdict(default="0").items()})
    except OverflowError:
        raise WrongValue(f"write at most {LONGEST.days}d") from None
    if duration > LONGEST:
        raise WrongValue(f"write at most {LONGEST.days}d")
    return duration


def format_duration(duration: dt.timedelta) -> str:
    """Return a duration of whole seconds as parse_duration reads it; zero is `0s`."""
    seconds = int(duration.total_seconds())
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
