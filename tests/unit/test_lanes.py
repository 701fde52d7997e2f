"""Tests of acceptance that run side by side: in order in their lane, and what they raise is raised again."""

from __future__ import annotations

import threading

import pytest

from tests.acceptance.lanes import Lanes, LaneTest, Once


def test_a_lane_runs_its_tests_in_order_and_others_meanwhile() -> None:
    done = []
    other_ran = threading.Event()

    def wait_for_the_other() -> None:
        other_ran.wait()
        done.append("first")

    lanes = Lanes(
        [
            LaneTest("first", "one", wait_for_the_other),
            LaneTest("second", "one", lambda: done.append("second")),
            LaneTest("other", "two", other_ran.set),
        ]
    )
    lanes.start()
    lanes.wait()
    assert done == ["first", "second"]


def test_what_a_test_raises_is_raised_where_it_is_awaited_and_stops_no_other() -> None:
    def fail() -> None:
        raise AssertionError("as it must")

    def skip() -> None:
        pytest.skip("not here")

    lanes = Lanes(
        [
            LaneTest("fails", "one", fail),
            LaneTest("skips", "one", skip),
            LaneTest("passes", "one", lambda: None),
        ]
    )
    lanes.start()
    lanes.wait()
    with pytest.raises(AssertionError, match="as it must"):
        lanes.result("fails")
    with pytest.raises(pytest.skip.Exception):
        lanes.result("skips")
    lanes.result("passes")


def test_no_test_begins_once_the_lanes_are_stopped() -> None:
    begun, go_on, second = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        go_on.wait()

    lanes = Lanes([LaneTest("first", "one", first), LaneTest("second", "one", second.set)])
    lanes.start()
    begun.wait()
    lanes.stop()
    go_on.set()
    lanes.join()
    lanes.result("first")
    assert not second.is_set()


def test_what_is_made_once_is_made_by_the_first_and_given_to_all() -> None:
    once = Once()
    begun, go_on = threading.Event(), threading.Event()
    found: list[int] = []

    def make() -> int:
        begun.set()
        go_on.wait()
        return 7

    first = threading.Thread(target=lambda: found.append(once("seven", make)))
    first.start()
    begun.wait()
    second = threading.Thread(target=lambda: found.append(once("seven", lambda: 8)))
    second.start()
    go_on.set()
    first.join()
    second.join()
    assert found == [7, 7]
    assert once("eight", lambda: 8) == 8


def test_what_cannot_be_made_is_tried_once_and_fails_for_all() -> None:
    once = Once()

    def fail() -> int:
        raise AssertionError("as it must")

    for _ in range(2):
        with pytest.raises(AssertionError, match="as it must"):
            once("nothing", fail)
    with pytest.raises(AssertionError, match="as it must"):
        once("nothing", lambda: 1)
