"""Crontab fields: the hour and minute of a sync become times of day.

The text of a field is read as it was written, before YAML gives it a meaning: bare `08`, `010` and
`1:30` would otherwise be an error, eight and ninety.
"""

from __future__ import annotations

import datetime as dt
import re

from attrs import frozen

from env_sync.domain.invalid_value import WrongValue

MOST_TIMES = 48
"""More times a day than this is a slip (`*` for an hour or a minute), not a wish."""

PART = re.compile(
    r"(?:(?P<any>\*)|(?P<first>[0-9]{1,2})(?:-(?P<last>[0-9]{1,2}))?)(?:/(?P<step>[0-9]{1,2}))?"
)


@frozen
class CrontabField:
    """One of the two crontab fields that a sync has, and the values that it may take."""

    name: str
    highest: int

    @property
    def right(self) -> str:
        """What may be written."""
        return (
            f"write a number from 0 to {self.highest}, a list `1,2`, a range `1-5`, `*`, "
            "or a step `*/15` or `1-5/2`"
        )


HOUR = CrontabField("hour", 23)
MINUTE = CrontabField("minute", 59)


def matches(text: str, field: CrontabField) -> tuple[int, ...]:
    """Return the values that a crontab field matches, in order and each once.

    Raises WrongValue for anything that is not a crontab field within 0 and `field.highest`.
    """
    found: set[int] = set()
    for part in text.split(","):
        found.update(_part(part, field))
    return tuple(sorted(found))


def times_of_day(hour: str, minute: str) -> tuple[dt.time, ...]:
    """Return the times of day that an hour and a minute match together, in order, without a zone.

    Raises WrongValue where a field is wrong or the two match more than MOST_TIMES times.
    """
    hours, minutes = matches(hour, HOUR), matches(minute, MINUTE)
    count = len(hours) * len(minutes)
    if count > MOST_TIMES:
        raise WrongValue(f"that is {count} times a day; at most {MOST_TIMES} make sense")
    return tuple(dt.time(each_hour, each_minute) for each_hour in hours for each_minute in minutes)


def _part(part: str, field: CrontabField) -> range:
    match = PART.fullmatch(part)
    if match is None:
        raise WrongValue(field.right)
    if match["any"]:
        first, last = 0, field.highest
    else:
        first = int(match["first"])
        last = first if match["last"] is None else int(match["last"])
        if match["step"] and match["last"] is None:
            example = f"{first}-{field.highest}/{match['step']}"
            raise WrongValue(f"a step needs a range before it, such as `{example}`")
    if max(first, last) > field.highest:
        raise WrongValue(field.right)
    if last < first:
        raise WrongValue(f"a range cannot run backwards; write `{first}-{field.highest},0-{last}`")
    step = 1 if match["step"] is None else int(match["step"])
    if step == 0:
        raise WrongValue("a step must be 1 or more")
    return range(first, last + 1, step)
