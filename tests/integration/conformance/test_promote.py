"""Live is swapped under clients that read and write all the time, while strangers try the other copies."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from env_sync.domain.pause import Pause
from env_sync.domain.report import Result
from tests.integration.conformance.stage import NEW_LIVE, OLD_LIVE, PULL, Stage
from tests.integration.conformance.subject import SOURCE, TARGET, Reading

READERS = 3


class Clients:
    """Threads that do something again and again until the end; what went wrong is raised there."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._problems: list[Exception] = []

    def start(self, work: Callable[[], None]) -> None:
        def loop() -> None:
            try:
                while not self._stop.is_set():
                    work()
            except Exception as problem:  # noqa: BLE001 - raised where the test ends
                self._problems.append(problem)

        thread = threading.Thread(target=loop)
        thread.start()
        self._threads.append(thread)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for problem in self._problems:
            raise problem


@pytest.fixture
def clients() -> Iterator[Clients]:
    running = Clients()
    yield running
    running.end()


class Watcher:
    """One application: what it read, and for how long at most it could not."""

    def __init__(self, read: Callable[[], Reading], refusals: tuple[type[Exception], ...]) -> None:
        self.seen: list[Reading] = []
        self.outage = 0.0
        self._read = read
        self._refusals = refusals
        self._last = time.monotonic()

    def __call__(self) -> None:
        try:
            reading = self._read()
        except self._refusals:
            return
        now = time.monotonic()
        if self.seen:
            self.outage = max(self.outage, now - self._last)
        self._last = now
        self.seen.append(reading)


@pytest.mark.probe("reading the copies during a sync")
def test_clients_see_the_old_data_and_then_the_new(
    pushed: Stage, clients: Clients, record_property: Callable[[str, str], None]
) -> None:
    subject, database = pushed.subject, pushed.database
    watchers = [Watcher(subject.reader(TARGET, database), subject.refusals) for _ in range(READERS)]
    got_in: list[str] = []

    def intrude() -> None:
        for name, attempt in subject.intruders(TARGET, database).items():
            with contextlib.suppress(*subject.refusals):
                attempt()
                got_in.append(name)

    def write() -> None:
        with contextlib.suppress(*subject.refusals):
            subject.write(TARGET, database)

    for watcher in watchers:
        clients.start(watcher)
    clients.start(write)
    clients.start(intrude)
    _wait_until(lambda: all(watcher.seen for watcher in watchers))
    report = pushed.pull()
    _wait_until(lambda: all(watcher.seen[-1] == NEW_LIVE for watcher in watchers))
    clients.end()
    assert got_in == []
    for watcher in watchers:
        seen = [watcher.seen[0]]
        for reading in watcher.seen:
            if reading != seen[-1]:
                seen.append(reading)
        assert seen == [OLD_LIVE, NEW_LIVE]
    assert report.unavailable is not None
    outage = max(watcher.outage for watcher in watchers)
    record_property("said", f"{outage:.2f} s outage")
    pushed.settled(NEW_LIVE)


def test_a_second_pull_under_load_keeps_the_one_before_as_previous(pushed: Stage, clients: Clients) -> None:
    subject, database = pushed.subject, pushed.database
    pushed.pull()
    watcher = Watcher(subject.reader(TARGET, database), subject.refusals)
    clients.start(watcher)
    _wait_until(lambda: bool(watcher.seen))
    assert pushed.do(PULL).result is (Result.WARNING if pushed.subject.warns_of_pulls else Result.OK)
    clients.end()
    assert set(watcher.seen) == {NEW_LIVE}
    assert subject.copies(TARGET, database) == copies_after_a_pull(pushed)
    pushed.settled(NEW_LIVE)


def test_a_pull_that_a_pause_stops_leaves_previous(pushed: Stage) -> None:
    pushed.pull()
    pauses: list[Pause] = []
    attempt = pushed.attempt(PULL, pause=lambda: pauses[0] if pauses else None)
    attempt.run_until("promote")
    pauses.append(Pause(by="somebody", why="the last pull was bad"))
    assert not attempt.run("promote")
    assert "the last pull was bad" in attempt.errors["promote"]
    attempt.end()
    assert pushed.subject.copies(TARGET, pushed.database) == copies_after_a_pull(pushed)
    pushed.settled(NEW_LIVE)
    if pushed.subject.can_undo:
        undo(pushed)
        pushed.settled(OLD_LIVE)


def test_a_promotion_that_any_of_its_looks_stops_leaves_all_copies(pushed: Stage) -> None:
    looks, stopped_at = 0, 0

    def pause() -> Pause | None:
        nonlocal looks
        looks += 1
        return Pause(by="somebody", why="the last pull was bad") if looks == stopped_at else None

    first = pushed.attempt(PULL, pause=pause)
    first.run_until("promote")
    looks = 0
    assert first.run("promote")
    count = looks
    first.end()
    assert count
    for number in range(1, count + 1):
        attempt = pushed.attempt(PULL, pause=pause)
        attempt.run_until("promote")
        looks, stopped_at = 0, number
        assert not attempt.run("promote")
        assert "the last pull was bad" in attempt.errors["promote"]
        stopped_at = 0
        attempt.end()
        assert pushed.subject.copies(TARGET, pushed.database) == copies_after_a_pull(pushed)
        pushed.settled(NEW_LIVE)
    if pushed.subject.can_undo:
        undo(pushed)
        pushed.settled(OLD_LIVE)


def test_a_cleared_group_does_not_take_what_an_earlier_attempt_promoted_for_its_own(pushed: Stage) -> None:
    run = f"env_sync_{TARGET}/one"
    pushed.pull(run=run)
    again = pushed.attempt(PULL, run=run)
    again.session.engine.take_lease(at_most=99)
    assert not again.run("promote")
    assert again.errors["promote"].startswith("ProofMissing")
    again.end()
    pushed.settled(NEW_LIVE)


def test_previous_is_dropped_where_it_is_not_wanted(pushed: Stage) -> None:
    pushed.options = {"keep_previous": False}
    pushed.configure()
    pushed.pull()
    assert pushed.subject.copies(TARGET, pushed.database) == {"live"}
    pushed.settled(NEW_LIVE)


def test_what_others_left_is_cleared_away(pushed: Stage) -> None:
    crashed = pushed.attempt(PULL)
    crashed.run_until("promote")
    # Its machine is gone: nobody reports. The next one takes over once the lease has lapsed.
    crashed.session.engine.release_lease()
    assert pushed.subject.copies(TARGET, pushed.database) == {"live", "incoming"}
    pushed.pull()
    assert pushed.subject.copies(TARGET, pushed.database) == copies_after_a_pull(pushed)
    # Its machine comes back, and reports late.
    assert crashed.end().result is Result.CRITICAL
    pushed.settled(NEW_LIVE)


def test_a_push_while_clients_write(stage: Stage, clients: Clients) -> None:
    clients.start(lambda: stage.subject.write(SOURCE, stage.database))
    stage.push()
    clients.end()
    stage.pull()
    stage.settled(NEW_LIVE)


def undo(stage: Stage) -> None:
    """Make previous live again."""
    attempt = stage.attempt(PULL)
    attempt.run_until("download")
    with attempt.session.engine.at_work():
        attempt.session.engine.restore_previous(lambda _: None)
    attempt.end()


def copies_after_a_pull(stage: Stage) -> set[str]:
    return {"live", "previous"} if stage.subject.keeps_previous else {"live"}


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
