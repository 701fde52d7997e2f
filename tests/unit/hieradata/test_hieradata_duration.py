from __future__ import annotations

import datetime as dt

import pytest

from env_sync.domain.duration import format_duration, parse_duration
from env_sync.domain.invalid_value import WrongValue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4h", dt.timedelta(hours=4)),
        ("90m", dt.timedelta(minutes=90)),
        ("30s", dt.timedelta(seconds=30)),
        ("1d", dt.timedelta(days=1)),
        ("1h30m", dt.timedelta(minutes=90)),
        ("1d2h3m4s", dt.timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("0s", dt.timedelta(0)),
        ("08m", dt.timedelta(minutes=8)),
        ("365d", dt.timedelta(days=365)),
    ],
)
def test_a_duration_is_read(text: str, expected: dt.timedelta) -> None:
    assert parse_duration(text) == expected
    assert parse_duration(format_duration(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "4", "h", "4 h", "4H", "30m1h", "-1h", "1.5h", "4hours", "1w", "366d", "999999999d", "9" * 30 + "s"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(WrongValue):
        parse_duration(text)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (30, "30s"), (5400, "1h30m"), (86400, "1d")])
def test_a_duration_is_written_as_it_is_read(seconds: int, text: str) -> None:
    assert format_duration(dt.timedelta(seconds=seconds)) == text
