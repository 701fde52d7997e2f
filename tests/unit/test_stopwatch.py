from __future__ import annotations

import pytest

from env_sync.core.serialization import from_plain, to_plain
from env_sync.core.stopwatch import Spent, Stopwatch


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_parts_add_up_and_each_take_begins_anew() -> None:
    clock = Clock()
    stopwatch = Stopwatch(clock)
    for seconds in (2.0, 3.0):
        with stopwatch.part("rows"):
            clock.now += seconds
    clock.now += 1
    stopwatch.add("indexes", 0.5)
    spent = stopwatch.take()
    assert spent == Spent(seconds=6.0, parts={"rows": 5.0, "indexes": 0.5})
    assert from_plain(Spent, to_plain(spent)) == spent
    clock.now += 4
    assert stopwatch.take() == Spent(seconds=4.0)


def test_a_part_that_fails_took_its_time_as_well() -> None:
    clock = Clock()
    stopwatch = Stopwatch(clock)

    def fail() -> None:
        with stopwatch.part("rows"):
            clock.now += 2
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert stopwatch.take().parts == {"rows": 2.0}


def test_what_took_no_time_is_not_shown() -> None:
    assert str(Spent(seconds=12.34, parts={"rows": 8.04, "rest": 0.09})) == "12.3 s (rows 8.0)"
    assert str(Spent(seconds=0.5, parts={"rest": 0.01})) == "0.5 s"
