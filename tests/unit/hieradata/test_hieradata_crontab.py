from __future__ import annotations

import datetime as dt

import pytest

from env_sync.config.crontab import HOUR, MINUTE, matches, times_of_day
from env_sync.domain.invalid_value import WrongValue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0,)),
        ("00", (0,)),
        ("05", (5,)),
        ("08", (8,)),
        ("10", (10,)),
        ("59", (59,)),
        ("1,2", (1, 2)),
        ("30,0,30", (0, 30)),
        ("1-5", (1, 2, 3, 4, 5)),
        ("1-5/2", (1, 3, 5)),
        ("7-7", (7,)),
        ("*/15", (0, 15, 30, 45)),
        ("*/59", (0, 59)),
        ("0-10/5,50", (0, 5, 10, 50)),
        ("*", tuple(range(60))),
    ],
)
def test_a_minute_matches(text: str, expected: tuple[int, ...]) -> None:
    assert matches(text, MINUTE) == expected


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("24", "from 0 to 23"),
        ("25", "from 0 to 23"),
        ("0-24", "from 0 to 23"),
        ("99,1", "from 0 to 23"),
        ("-1", "from 0 to 23"),
        ("1:30", "from 0 to 23"),
        ("yes", "from 0 to 23"),
        ("0x1", "from 0 to 23"),
        ("1.5", "from 0 to 23"),
        ("٣", "from 0 to 23"),
        ("1e1", "from 0 to 23"),
        ("", "from 0 to 23"),
        ("1,", "from 0 to 23"),
        ("1, 2", "from 0 to 23"),
        ("**", "from 0 to 23"),
        ("005", "from 0 to 23"),
        ("4/2", "4-23/2"),
        ("22-2", "22-23,0-2"),
        ("*/0", "a step must be 1 or more"),
    ],
)
def test_an_hour_is_refused(text: str, right: str) -> None:
    with pytest.raises(WrongValue, match=right.replace("*", r"\*")):
        matches(text, HOUR)


def test_times_are_the_product_in_order() -> None:
    assert times_of_day("23,1", "30,5") == (dt.time(1, 5), dt.time(1, 30), dt.time(23, 5), dt.time(23, 30))


def test_at_most_48_times_a_day() -> None:
    assert len(times_of_day("*", "*/30")) == 48
    with pytest.raises(WrongValue, match="72 times a day"):
        times_of_day("*", "*/20")
