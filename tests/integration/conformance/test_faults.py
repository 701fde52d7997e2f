"""Servers that refuse, go away, or are slow; a store that is busy; a disk that is full."""

from __future__ import annotations

import contextlib
import datetime as dt
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from env_sync.domain.report import Result
from env_sync.domain.settings import Options
from sandbox.faulty_proxy import Busy, Cut, Fault, FaultyProxy, Pass, Slow, Stall
from tests.integration.conformance.stage import (
    NEW_LIVE,
    OLD_LIVE,
    PULL,
    PUSH,
    Instant,
    Stage,
)
from tests.integration.conformance.subject import SOURCE, TARGET
from tests.lacking import lacks

BOTH = pytest.mark.parametrize("name", [PUSH, PULL])


def environment_of(name: str) -> str:
    return SOURCE if name == PUSH else TARGET


@BOTH
@pytest.mark.probe("passwords in errors and arguments")
def test_a_wrong_password(pushed: Stage, name: str) -> None:
    environment = environment_of(name)
    right = pushed.subject.connection(environment)
    pushed.connect(environment, {**right, "password": "not the password at all"})
    report = pushed.do(name)
    assert report.result is Result.CRITICAL
    assert str(right["login"]) in report.why[0]
    assert "not the password at all" not in pushed.log.read_text() + report.line()
    pushed.connect(environment, right)
    pushed.settled(OLD_LIVE)


@BOTH
def test_a_role_without_rights(pushed: Stage, name: str) -> None:
    environment = environment_of(name)
    right = pushed.subject.connection(environment)
    pushed.connect(environment, pushed.subject.connection_without_rights(environment, pushed.database))
    report = pushed.do(name)
    assert report.result is Result.CRITICAL
    pushed.connect(environment, right)
    pushed.settled(OLD_LIVE)


def test_a_push_of_a_database_that_is_not_there(stage: Stage) -> None:
    stage.subject.drop(SOURCE, stage.database)
    report = stage.do(PUSH)
    assert report.result is Result.CRITICAL
    assert stage.database in report.why[0]
    assert stage.keys() == []
    stage.settled(OLD_LIVE)


@pytest.mark.probe("a connection of another environment")
def test_a_connection_of_another_environment(pushed: Stage) -> None:
    right = pushed.subject.connection(TARGET)
    extra = right["extra"]
    assert isinstance(extra, dict)
    pushed.connect(TARGET, {**right, "extra": {**extra, "environment": SOURCE}})
    with pytest.raises(Exception, match=f"belongs to {SOURCE}"):
        pushed.attempt(PULL)
    pushed.connect(TARGET, right)
    pushed.settled(OLD_LIVE)


@pytest.mark.sweep("name", "step", at_most=1)
@pytest.mark.parametrize(
    ("name", "step"),
    [(PUSH, "dump"), (PULL, "restore"), (PULL, "sanitise"), (PULL, "promote")],
)
def test_a_server_that_stops_half_way(pushed: Stage, name: str, step: str) -> None:
    environment = environment_of(name)
    step = pushed.subject.step(step)
    count = len(pushed.undisturbed(name, step))
    pushed.bring_target_back()
    limits = dict(Options().timeouts)
    attempt = pushed.attempt(name, timeouts=limits)
    attempt.run_until(step)
    began, stopped = dt.datetime.now(dt.UTC), threading.Event()

    def at(instant: Instant) -> None:
        if instant.number == count // 2 and not stopped.is_set():
            stopped.set()
            pushed.subject.stop(environment)
            # A step that waits for its server to come back does so until its time is over.
            limits[step] = dt.datetime.now(dt.UTC) - began + dt.timedelta(seconds=1)

    attempt.do_watched(step, at)
    assert stopped.is_set()
    if attempt.states[step] == "failed":
        assert str(pushed.subject.connection(environment)["port"]) in attempt.errors[step]
    pushed.subject.start(environment)
    attempt = pushed.again(attempt)
    report = attempt.end()
    assert report.result is Result.CRITICAL
    pushed.settled(*([OLD_LIVE, NEW_LIVE] if step == "promote" else [OLD_LIVE]))
    pushed.do(name)
    pushed.settled(NEW_LIVE if name == PULL else OLD_LIVE)


@pytest.mark.parametrize(("name", "step"), [(PUSH, "dump"), (PULL, "restore")])
def test_a_connection_that_is_cut(pushed: Stage, name: str, step: str) -> None:
    step = pushed.subject.step(step)
    environment = environment_of(name)
    right = pushed.subject.connection(environment)
    attempt = pushed.attempt(name)
    attempt.run_until(step)
    with FaultyProxy(int(str(right["port"])), lambda number: Cut(pushed.subject.cut_after)) as proxy:
        pushed.connect(environment, {**right, "port": proxy.port})
        cut = pushed.again(attempt)
        assert not cut.run(step)
    pushed.connect(environment, right)
    pushed.again(cut).end()
    pushed.settled(OLD_LIVE)


@BOTH
def test_a_store_that_is_busy_and_cuts_connections(pushed: Stage, name: str) -> None:
    faults: dict[int, Fault] = {0: Busy(), 2: Cut(after=2_000), 3: Busy()}
    with pushed.spoiled_store(environment_of(name), lambda number: faults.get(number, Pass())) as proxy:
        attempt = pushed.attempt(name)
        assert attempt.run_as_tasks(), attempt.errors
        assert attempt.end().result is not Result.CRITICAL
        assert proxy.counts["Busy"] > 0
    pushed.settled(NEW_LIVE if name == PULL else OLD_LIVE)


@BOTH
def test_a_store_that_is_slow(pushed: Stage, name: str) -> None:
    slow = Slow(pushed.subject.slow_rate)
    with pushed.spoiled_store(environment_of(name), lambda number: slow) as proxy:
        warned = name == PULL and pushed.subject.warns_of_pulls
        assert pushed.do(name).result is (Result.WARNING if warned else Result.OK)
        assert proxy.counts["Slow"] > 0
    pushed.settled(NEW_LIVE if name == PULL else OLD_LIVE)


@BOTH
def test_a_store_that_hangs_until_the_task_is_cancelled(pushed: Stage, name: str) -> None:
    steps = ("dump", "upload") if name == PUSH else ("restore", "download")
    step = pushed.subject.step(steps[pushed.subject.has_store])
    attempt = pushed.attempt(name)
    attempt.run_until(step)
    stall = Stall(after=500)
    with pushed.spoiled_store(environment_of(name), lambda number: stall, timeout=2) as proxy:
        hanging = pushed.again(attempt)

        def cancel() -> None:
            proxy.stalled.wait(60)
            hanging.session.cancellation.cancel()

        waiting = threading.Thread(target=cancel)
        waiting.start()
        assert not hanging.run(step)
        waiting.join()
        assert "cancelled" in hanging.errors[step]
        hanging.session.cancellation.reset()
    pushed.again(hanging).end()
    pushed.settled(OLD_LIVE)


@pytest.fixture
def small_disk(pushed: Stage) -> Iterator[Callable[[int], None]]:
    """Makes the work folder a disk of so many bytes."""
    mounted: list[Path] = []

    def make(size: int) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", pushed.work_folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lacks(f"this user may not mount a small disk: {done.stderr.strip()}")
        mounted.append(pushed.work_folder)

    yield make
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


@BOTH
def test_a_full_disk(pushed: Stage, small_disk: Callable[[int], None], name: str) -> None:
    small_disk(8192)
    report = pushed.do(name)
    assert report.result is Result.CRITICAL
    assert str(pushed.work_folder) in report.why[0]
    with contextlib.suppress(OSError):
        assert list(pushed.work_folder.rglob("dump*")) == []
    pushed.settled(OLD_LIVE)
