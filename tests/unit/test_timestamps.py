"""What people give as the timestamp of a dump."""

from __future__ import annotations

import calendar
import re

import pytest

from env_sync.core.errors import InvalidRequest
from env_sync.planning.timestamps import PATTERN, parse_timestamp


@pytest.mark.parametrize("clock", ["T010203Z", "T01:02:03", "T01:02:03+01:00"])
def test_there_is_such_a_day(clock: str) -> None:
    for month in range(14):
        for day in range(40):
            text = f"2024-{month:02}-{day:02}{clock}"
            there = 1 <= month <= 12 and 1 <= day <= calendar.monthrange(2024, month)[1]
            assert bool(re.fullmatch(PATTERN, text)) is there, text
            if there:
                assert parse_timestamp(text).month


def test_what_a_pattern_does_not_know_is_refused_all_the_same() -> None:
    for text in ("2026-02-29T010203Z", "0000-01-01T010203Z", "0001-01-01T00:00:00+01:00"):
        assert re.fullmatch(PATTERN, text)
        with pytest.raises(InvalidRequest):
            parse_timestamp(text)
