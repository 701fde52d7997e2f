"""Tests that wait, side by side: each lane is a thread that runs its tests one after another.

A test that is marked `lane("a name")` runs in that lane's thread, from when the scene stands; pytest, once
that test's turn has come, tells what became of it. All other tests run as ever. So a lane's tests take no
fixtures but `scene` and parameters, and what they change is seen by no other lane: each has databases of its
own.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest
from attrs import define, field, frozen

from tests.parameters import parameters_of

MARK = "lane"

T = TypeVar("T")


@frozen
class LaneTest:
    """A test of a lane: its id, and the function to call, with all its arguments."""

    id: str
    lane: str
    call: Callable[[], object]


class Lanes:
    """Threads that run tests, and what became of each."""

    def __init__(self, tests: Iterable[LaneTest]) -> None:
        """Nothing runs before `start`."""
        self._lanes: dict[str, list[LaneTest]] = {}
        self._ends: dict[str, Future[None]] = {}
        for test in tests:
            self._lanes.setdefault(test.lane, []).append(test)
            self._ends[test.id] = Future()
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start a thread for each lane. None holds up the end of this process."""
        for name, tests in self._lanes.items():
            thread = threading.Thread(target=self._run, args=[tests], name=f"lane {name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def result(self, test: str) -> None:
        """Wait for the test of this id, and raise what it raised."""
        self._ends[test].result()

    def wait(self) -> None:
        """Wait for all tests, whatever became of them."""
        for end in self._ends.values():
            end.exception()

    def stop(self) -> None:
        """Begin no more tests: nobody asks any longer what becomes of them."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for the threads to end."""
        for thread in self._threads:
            thread.join()

    def _run(self, tests: Sequence[LaneTest]) -> None:
        for test in tests:
            if self._stopped.is_set():
                return
            end = self._ends[test.id]
            try:
                test.call()
            except BaseException as problem:  # noqa: BLE001 - raised again where pytest waits for it
                end.set_exception(problem)
            else:
                end.set_result(None)


@define
class Once:
    """What several tests look at is made by whichever comes first; the others wait for it."""

    _made: dict[str, Future[Any]] = field(factory=dict)
    _lock: threading.Lock = field(factory=threading.Lock)

    def __call__(self, what: str, make: Callable[[], T]) -> T:
        """What was made under this name, or what making it raised."""
        with self._lock:
            first = what not in self._made
            made: Future[T] = self._made.setdefault(what, Future())
        if first:
            try:
                made.set_result(make())
            except BaseException as problem:  # noqa: BLE001 - raised for each who asks
                made.set_exception(problem)
        return made.result()


def lane_of(item: pytest.Item) -> str | None:
    """The lane of a test; None where it has none."""
    mark = item.get_closest_marker(MARK)
    return None if mark is None else str(mark.args[0])


def lane_tests(items: Iterable[pytest.Item], fixtures: Mapping[str, object]) -> Iterator[LaneTest]:
    """Those of the tests that have a lane; `fixtures` are what they may take."""
    for item in items:
        lane = lane_of(item)
        if lane is not None and isinstance(item, pytest.Function):
            values = {**fixtures, **parameters_of(item)}
            arguments = {name: values[name] for name in inspect.signature(item.obj).parameters}
            yield LaneTest(item.nodeid, lane, functools.partial(item.obj, **arguments))
