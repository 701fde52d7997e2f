import logging

import pytest

from env_sync.core.progress import LogProgress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock, caplog: pytest.LogCaptureFixture) -> LogProgress:
    caplog.set_level(logging.INFO)
    return LogProgress(logging.getLogger("test_progress"), every=5, clock=clock)


def test_a_line_every_few_seconds(
    progress: LogProgress, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    progress.start("download", 200_000_000, "bytes")
    for second in range(1, 11):
        clock.now = 100.0 + second
        progress.advance(second * 10_000_000)
    clock.now = 120.0
    progress.finish()
    assert caplog.messages == [
        "download: 50.0 of 200.0 MB, 10.0 MB/s, 15 s left",
        "download: 100.0 of 200.0 MB, 10.0 MB/s, 10 s left",
        "download: 100.0 of 200.0 MB, 5.0 MB/s, in 20.0 s",
    ]


def test_a_total_that_is_not_known(
    progress: LogProgress, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    progress.start("dump", None, "bytes")
    clock.now += 5
    progress.advance(2_500_000)
    assert caplog.messages == ["dump: 2.5 MB, 0.5 MB/s"]


def test_items(progress: LogProgress, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    progress.start("restore", 40, "items")
    clock.now += 10
    progress.advance(10)
    assert caplog.messages == ["restore: 10 of 40 items, 30 s left"]


def test_nothing_done_and_no_time_gone(progress: LogProgress, caplog: pytest.LogCaptureFixture) -> None:
    progress.start("restore", 0, "items")
    progress.finish()
    assert caplog.messages == ["restore: 0 items, in 0.0 s"]


def test_each_start_begins_anew(
    progress: LogProgress, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    progress.start("one", 10, "items")
    clock.now += 5
    progress.advance(10)
    progress.start("two", 10, "items")
    clock.now += 4
    progress.advance(1)
    assert caplog.messages == ["one: 10 of 10 items, 0 s left"]
    clock.now += 1
    progress.advance(5)
    assert caplog.messages[1:] == ["two: 5 of 10 items, 5 s left"]
