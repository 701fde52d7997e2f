"""Killed at any instant: live is whole, and a rerun, or the report alone, puts everything right."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from env_sync.report import Result
from tests.integration.conformance.stage import (
    NEW,
    NEW_LIVE,
    OLD,
    OLD_LIVE,
    OLD_ROWS,
    PULL,
    PUSH,
    Attempt,
    Instant,
    Stage,
    descendants,
    programs,
)
from tests.integration.conformance.subject import SOURCE, TARGET, Reading

STEPS = (
    *((PUSH, step) for step in ("start_gate", "dump", "upload")),
    *((PULL, step) for step in ("start_gate", "download", "restore", "sanitise")),
)
MANY_ROWS = 50_000
MOMENTS = 4
"""At how many of its moments a step is killed."""


def moments(stage: Stage, name: str, step: str) -> list[int]:
    """The numbers of some moments of a step, its first and last among them."""
    count = stage.moments(name, step)
    return sorted({round(part * (count - 1) / (MOMENTS - 1)) for part in range(MOMENTS)})


@pytest.mark.parametrize(("name", "step"), STEPS)
def test_a_task_that_is_killed_is_put_right_by_the_report(stage: Stage, name: str, step: str) -> None:
    stage.push()
    for moment in moments(stage, name, step):
        attempt = stage.attempt(name)
        attempt.run_until(step)
        if attempt.kill_at(step, moment):
            report = attempt.end()
            assert report.result is Result.CRITICAL
            assert step in report.line()
        else:
            attempt.end()
        stage.settled(OLD_LIVE)


@pytest.mark.parametrize(("name", "step"), STEPS)
def test_a_task_that_is_killed_is_run_again(stage: Stage, name: str, step: str) -> None:
    stage.push()
    killed = 0
    for moment in moments(stage, name, step):
        attempt = stage.attempt(name)
        attempt.run_until(step)
        killed += attempt.kill_at(step, moment)
        assert attempt.run_rest(step), attempt.errors
        assert attempt.end().result is not Result.CRITICAL
        stage.settled(NEW_LIVE if name == PULL else OLD_LIVE)
    assert killed


def test_promote_is_killed_at_each_moment_and_run_again(stage: Stage) -> None:
    stage.push()
    attempt = stage.attempt(PULL)
    attempt.run_until("promote")
    moment, closed = 0, 0
    while attempt.kill_at("promote", moment):
        # Whatever it came to, live is whole: as it was, as it will be, or closed for a moment.
        if stage.subject.is_open(TARGET, stage.database):
            if stage.read() == NEW_LIVE:
                break
            assert stage.read() == OLD_LIVE
        else:
            closed += 1
        moment += 1
    assert moment > 10
    assert closed or not stage.subject.closes_live
    assert attempt.run("promote"), attempt.errors
    report = attempt.end()
    assert report.result is not Result.CRITICAL, report.line()
    stage.settled(NEW_LIVE)


def test_promote_is_killed_and_not_run_again(stage: Stage) -> None:
    stage.push()
    count = stage.moments(PULL, "promote")
    found = set()
    for moment in sorted({*range(0, count, count // 6), *range(count - 6, count)}):
        stage.fill_target_anew()
        attempt = stage.attempt(PULL)
        attempt.run_until("promote")
        attempt.kill_at("promote", moment)
        report = attempt.end()
        live = stage.settled(OLD_LIVE, NEW_LIVE)
        if attempt.states["promote"] == "failed":
            assert report.result is Result.CRITICAL
            assert ("live holds the new" in report.what) == (live == NEW_LIVE)
        found.add(live)
    assert found == {OLD_LIVE, NEW_LIVE}


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
        if not hit and instant.what == "log":
            hit = kill_program(subject.tools)

    while attempt.states.get(step) != "failed":
        # It may have been killed at its very end.
        hit = False
        attempt.do_watched(step, at)
    assert "signal 9" in attempt.errors[step] or "SIGKILL" in attempt.errors[step]
    assert attempt.end().result is Result.CRITICAL
    stage.settled(OLD_LIVE)
    stage.do(name)
    stage.settled(Reading(NEW, MANY_ROWS, 0) if name == PULL else OLD_LIVE)


def kill_program(tools: frozenset[str]) -> bool:
    """Kill an outside program that this process runs, or has just begun to run; whether there was one."""
    while programs():
        for pid in descendants():
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                # Of several programs the one that answers such a question is taken: one fewer does no harm.
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if name in tools and not (b"--version" in command or b"--list" in command):
                    os.kill(pid, signal.SIGKILL)
                    return True
    return False


@pytest.mark.parametrize(("name", "step"), STEPS)
def test_a_step_that_is_cancelled(stage: Stage, name: str, step: str) -> None:
    stage.push()
    for moment in moments(stage, name, step):
        attempt = stage.attempt(name)
        attempt.run_until(step)
        attempt.cancel_at(step, moment)
        report = attempt.end()
        if attempt.states[step] == "failed":
            assert "cancelled" in report.line()
        stage.settled(OLD_LIVE)


def test_promote_that_is_cancelled(stage: Stage) -> None:
    stage.push()
    count = stage.moments(PULL, "promote")
    for moment in range(0, count, count // 8):
        stage.fill_target_anew()
        attempt = stage.attempt(PULL)
        attempt.run_until("promote")
        attempt.cancel_at("promote", moment)
        report = attempt.end()
        live = stage.settled(OLD_LIVE, NEW_LIVE)
        if attempt.states["promote"] == "failed":
            assert "cancelled" in report.line()
            assert ("live holds the new" in report.what) == (live == NEW_LIVE)
        else:
            assert live == NEW_LIVE


def test_a_group_that_was_marked_successful_by_hand(stage: Stage) -> None:
    stage.push()
    for marked in ("restore", "sanitise", "promote"):
        attempt = stage.attempt(PULL)
        for step in attempt.steps():
            if step == marked:
                attempt.mark(step)
            elif not attempt.run(step):
                break
        report = attempt.end()
        if marked == "restore":
            # What was not restored is restored before it is sanitised.
            assert report.result is not Result.CRITICAL
            stage.settled(NEW_LIVE)
            stage.fill_target_anew()
        else:
            assert report.result is Result.CRITICAL
            assert "by hand" in report.line() or "proof" in report.line().lower()
            stage.settled(OLD_LIVE)


def test_a_push_that_was_marked_successful_by_hand(stage: Stage) -> None:
    for marked in ("dump", "upload"):
        attempt: Attempt = stage.attempt(PUSH)
        for step in attempt.steps():
            if step == marked:
                attempt.mark(step)
            elif step == "dump" or marked != "dump":
                assert attempt.run(step)
        report = attempt.end()
        assert report.result is Result.CRITICAL
        assert stage.keys() == []


def test_a_forged_proof_is_not_believed(stage: Stage) -> None:
    stage.push()
    attempt = stage.attempt(PULL)
    attempt.run_until("sanitise")
    stage.subject.forge_proof(TARGET, stage.database)
    attempt.mark("sanitise")
    assert not attempt.run("promote")
    assert "attempt" in attempt.errors["promote"]
    assert attempt.end().result is Result.CRITICAL
    stage.settled(OLD_LIVE)
