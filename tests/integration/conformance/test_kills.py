"""Killed at any instant: live is whole, and a rerun, or the report alone, puts everything right."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
from pathlib import Path

import pytest

from env_sync.domain.report import Result
from tests.integration.conformance.stage import (
    NEW,
    NEW_LIVE,
    NEW_ROWS,
    OLD,
    OLD_LIVE,
    OLD_ROWS,
    PULL,
    PUSH,
    Attempt,
    Instant,
    Stage,
    parent_of,
    pids,
)
from tests.integration.conformance.subject import SOURCE, TARGET, Reading
from tests.sweep import draw, sample

STEPS = (
    *((PUSH, step) for step in ("start_gate", "dump", "upload")),
    *((PULL, step) for step in ("start_gate", "download", "restore", "sanitise")),
)
OF_EACH_STEP = pytest.mark.parametrize(("name", "step"), STEPS)
SOME_STEPS = pytest.mark.sweep("name", "step", at_most=3)
MANY_ROWS = 20_000
GUARDED = re.compile(r"runs, guarded by process (\d+)$")
MOMENTS = 3
"""At how many of its moments a step is killed or cancelled."""
PROMOTE_MOMENTS = 5
"""The same of promote, which needs a pull before it."""
PREVIOUS_MOMENTS = 3
"""The same of promote where there is a previous, which needs two pulls before it."""
PROMOTE_KILLS = 12
"""The same where it is killed again and again in one attempt."""


@SOME_STEPS
@OF_EACH_STEP
def test_a_task_that_is_killed_is_put_right_by_the_report(pushed: Stage, name: str, step: str) -> None:
    step = pushed.subject.step(step)
    killed = 0
    for moment in pushed.moments(name, step, MOMENTS):
        attempt = pushed.attempt(name)
        attempt.run_until(step)
        if attempt.kill_at(step, moment):
            killed += 1
            report = attempt.end()
            assert report.result is Result.CRITICAL
            assert step in report.line()
        else:
            attempt.end()
        pushed.settled(OLD_LIVE)
    assert killed


@SOME_STEPS
@OF_EACH_STEP
def test_a_task_that_is_killed_is_run_again(pushed: Stage, name: str, step: str) -> None:
    step = pushed.subject.step(step)
    killed = 0
    for moment in pushed.moments(name, step, MOMENTS):
        attempt = pushed.attempt(name)
        attempt.run_until(step)
        killed += attempt.kill_at(step, moment)
        assert attempt.run_rest(step), attempt.errors
        assert attempt.end().result is not Result.CRITICAL
        pushed.settled(NEW_LIVE if name == PULL else OLD_LIVE)
    assert killed


def test_promote_is_killed_at_each_moment_and_run_again(pushed: Stage) -> None:
    closed = 0
    opened = pushed.undisturbed(PULL, "promote")
    assert len(opened) > 10
    pushed.bring_target_back()
    attempt = pushed.attempt(PULL)
    attempt.run_until("promote")
    # First while live is closed: after a kill a promote may have more to do, and other numbers.
    wanted = [moment for moment, is_open in enumerate(opened) if not is_open][:1]
    wanted += sample(pushed.scenario, range(len(opened)), PROMOTE_KILLS)
    # From the last of them on one after another, until it gets to its end.
    for moment in itertools.chain(wanted, itertools.count(wanted[-1] + 1)):
        if not attempt.kill_at("promote", moment):
            break
        # Whatever it came to, live is whole: as it was, as it will be, or closed for a moment.
        if pushed.subject.is_open(TARGET, pushed.database):
            if pushed.read() == NEW_LIVE:
                break
            assert pushed.read() == OLD_LIVE
        else:
            closed += 1
    assert closed or not pushed.subject.closes_live
    assert attempt.run("promote"), attempt.errors
    report = attempt.end()
    assert report.result is not Result.CRITICAL, report.line()
    pushed.settled(NEW_LIVE)


def test_promote_is_killed_at_a_moment_and_run_again(pushed: Stage) -> None:
    # Each moment in an attempt of its own: after a swap there is another rest to do each time.
    for moment in draw(pushed.scenario, range(len(pushed.undisturbed(PULL, "promote"))), 1):
        pushed.bring_target_back()
        attempt = pushed.attempt(PULL)
        attempt.run_until("promote")
        assert attempt.kill_at("promote", moment)
        assert attempt.run("promote"), attempt.errors
        report = attempt.end()
        assert report.result is not Result.CRITICAL, report.line()
        pushed.settled(NEW_LIVE)


def test_promote_is_killed_and_not_run_again(pushed: Stage) -> None:
    found = set()
    for moment in pushed.moments(PULL, "promote", PROMOTE_MOMENTS):
        pushed.bring_target_back()
        attempt = pushed.attempt(PULL)
        attempt.run_until("promote")
        attempt.kill_at("promote", moment)
        report = attempt.end()
        live = pushed.settled(OLD_LIVE, NEW_LIVE)
        if attempt.states["promote"] == "failed":
            assert report.result is Result.CRITICAL
            assert ("live holds the new" in report.what) == (live == NEW_LIVE)
        found.add(live)
    assert found == {OLD_LIVE, NEW_LIVE}


def test_promote_that_finds_a_previous_is_killed(bare_stage: Stage) -> None:
    stage, subject, database = bare_stage, bare_stage.subject, bare_stage.database
    if not subject.keeps_previous:
        pytest.skip(f"{subject.name} keeps no previous")
    subject.fill(TARGET, database, OLD, OLD_ROWS, private=False)
    for marker, rows in ((OLD, OLD_ROWS), (NEW, NEW_ROWS)):
        subject.drop(SOURCE, database)
        subject.fill(SOURCE, database, marker, rows, private=True)
        stage.push_in_another_second() if stage.keys() else stage.push()
    before, after = stage.timestamps()

    def come_to_promote() -> Attempt:
        """The second night's, where a previous has been kept by the first."""
        stage.pull(timestamp=before)
        assert stage.settled(OLD_LIVE)
        assert "previous" in subject.copies(TARGET, database)
        attempt = stage.attempt(PULL, timestamp=after)
        attempt.run_until("promote")
        return attempt

    # Indices that were made by hand cannot be kept.
    stage.pull(timestamp=before)
    come_to_promote().end()
    [*early, last] = stage.moments(PULL, "promote", PREVIOUS_MOMENTS)
    found = set()
    for moment in (early[0], last):
        attempt = come_to_promote()
        # When the last moment comes can differ, for others are waited for.
        assert attempt.kill_at("promote", moment) or moment == last
        report = attempt.end()
        live = stage.settled(OLD_LIVE, NEW_LIVE)
        if attempt.states["promote"] == "failed":
            assert ("live holds the new" in report.what) == (live == NEW_LIVE)
        found.add(live)
    assert found == {OLD_LIVE, NEW_LIVE}
    for moment in early[1:]:
        attempt = come_to_promote()
        assert attempt.kill_at("promote", moment)
        assert attempt.run("promote"), attempt.errors
        assert attempt.end().result is not Result.CRITICAL
        stage.settled(NEW_LIVE)


@pytest.mark.parametrize(("name", "step"), [(PUSH, "dump"), (PULL, "download"), (PULL, "restore")])
def test_a_program_that_is_killed_fails_its_step(bare_stage: Stage, name: str, step: str) -> None:
    stage, subject = bare_stage, bare_stage.subject
    if not subject.tools:
        pytest.skip(f"{subject.name} runs no outside program")
    if step not in subject.steps_with_tools:
        pytest.skip(f"{subject.name} runs no outside program in {step}")
    # Enough for the programs to be busy for a moment.
    subject.fill(SOURCE, stage.database, NEW, MANY_ROWS, private=True)
    subject.fill(TARGET, stage.database, OLD, OLD_ROWS, private=False)
    stage.push()
    attempt = stage.attempt(name)
    attempt.run_until(step)
    hit = False

    def at(instant: Instant) -> None:
        nonlocal hit
        if not hit and (guarded := GUARDED.search(instant.text)):
            hit = kill_program(int(guarded[1]), subject.tools)

    while attempt.states.get(step) != "failed":
        # It may have been killed at its very end.
        hit = False
        attempt.do_watched(step, at)
    assert "signal 9" in attempt.errors[step] or "SIGKILL" in attempt.errors[step]
    assert attempt.end().result is Result.CRITICAL
    stage.settled(OLD_LIVE)
    stage.do(name)
    stage.settled(Reading(NEW, MANY_ROWS, 0) if name == PULL else OLD_LIVE)


def kill_program(guard: int, tools: frozenset[str]) -> bool:
    """Kill the program that a process of ours guards as soon as it is one of these; whether it did."""
    seen: set[int] = set()
    program = 0
    while parent_of(guard):
        if not program:
            new = pids() - seen
            program = next((pid for pid in new if parent_of(pid) == guard), 0)
            seen |= new
            continue
        with contextlib.suppress(OSError):
            if Path(f"/proc/{program}/comm").read_text().strip() in tools:
                command = Path(f"/proc/{program}/cmdline").read_bytes()
                if b"--version" in command or b"--list" in command:
                    # Some steps ask that of several programs, and can do without one answer.
                    return False
                os.kill(program, signal.SIGKILL)
                return True
    return False


@SOME_STEPS
@OF_EACH_STEP
def test_a_step_that_is_cancelled(pushed: Stage, name: str, step: str) -> None:
    step = pushed.subject.step(step)
    cancelled = 0
    for moment in pushed.moments(name, step, MOMENTS):
        attempt = pushed.attempt(name)
        attempt.run_until(step)
        attempt.cancel_at(step, moment)
        report = attempt.end()
        if attempt.states[step] == "failed":
            cancelled += 1
            assert "cancelled" in report.line()
        pushed.settled(OLD_LIVE)
    # The gate of files asks no server, and is over at once.
    assert cancelled or (pushed.subject.name == "Files" and step == "start_gate")


def test_promote_that_is_cancelled(pushed: Stage) -> None:
    cancelled = 0
    for moment in pushed.moments(PULL, "promote", PROMOTE_MOMENTS):
        pushed.bring_target_back()
        attempt = pushed.attempt(PULL)
        attempt.run_until("promote")
        attempt.cancel_at("promote", moment)
        report = attempt.end()
        live = pushed.settled(OLD_LIVE, NEW_LIVE)
        if attempt.states["promote"] == "failed":
            cancelled += 1
            assert "cancelled" in report.line()
            assert ("live holds the new" in report.what) == (live == NEW_LIVE)
        else:
            assert live == NEW_LIVE
    assert cancelled


@pytest.mark.probe("a step that is marked successful by hand")
def test_a_group_that_was_marked_successful_by_hand(pushed: Stage) -> None:
    restore = pushed.subject.step("restore")
    for marked in (restore, "sanitise", "promote"):
        attempt = pushed.attempt(PULL)
        for step in attempt.steps():
            if step == marked:
                attempt.mark(step)
            elif not attempt.run(step):
                break
        report = attempt.end()
        if marked == restore:
            # What was not restored is restored before it is sanitised.
            assert report.result is not Result.CRITICAL
            pushed.settled(NEW_LIVE)
            pushed.bring_target_back()
        else:
            assert report.result is Result.CRITICAL
            assert "by hand" in report.line() or "proof" in report.line().lower()
            pushed.settled(OLD_LIVE)


@pytest.mark.probe("a step that is marked successful by hand")
def test_a_push_that_was_marked_successful_by_hand(stage: Stage) -> None:
    dump = stage.subject.step("dump")
    for marked in (step for step in (dump, "upload") if step not in stage.subject.lacks_steps):
        attempt: Attempt = stage.attempt(PUSH)
        for step in attempt.steps():
            if step == marked:
                attempt.mark(step)
            elif step == dump or marked != dump:
                assert attempt.run(step)
        report = attempt.end()
        assert report.result is Result.CRITICAL
        assert stage.keys() == []


@pytest.mark.probe("a forged proof")
def test_a_forged_proof_is_not_believed(pushed: Stage) -> None:
    attempt = pushed.attempt(PULL)
    attempt.run_until("sanitise")
    pushed.subject.forge_proof(TARGET, pushed.database)
    attempt.mark("sanitise")
    assert not attempt.run("promote")
    assert "attempt" in attempt.errors["promote"]
    assert attempt.end().result is Result.CRITICAL
    pushed.settled(OLD_LIVE)
