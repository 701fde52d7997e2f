"""Workers that share no disk: whatever runs where, and however it ends, no raw dump stays on any of them."""

from __future__ import annotations

import datetime as dt
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from env_sync.domain.leftovers import Swept
from env_sync.domain.report import Report, Result
from env_sync.pipeline.session import WORK_FOLDER
from env_sync.pipeline.sweep import sweep
from tests.integration.conformance.stage import (
    NEW_LIVE,
    OLD_LIVE,
    PULL,
    PUSH,
    Attempt,
    Instant,
    Stage,
    files_in,
)
from tests.integration.conformance.test_bad_dumps import IN_A_BUCKET

LOG = logging.getLogger("env_sync.conformance")


@define
class Workers:
    """Steps as Airflow's tasks do them, each on the worker that it is given to, with a disk of its own."""

    stage: Stage
    over: set[str] = field(factory=set)
    """The groups that were reported, as `run report`."""
    ended: set[str] = field(factory=set)
    """The runs that are over, or unknown to Airflow."""
    silent: bool = False
    """Whether Airflow gives no answer."""

    def disk(self, worker: str) -> Path:
        return self.stage.folder / "workers" / worker

    def on(self, worker: str, attempt: Attempt) -> Attempt:
        """The attempt as it goes on there: swept as before each step."""
        self.stage.monkeypatch.setenv(WORK_FOLDER, str(self.disk(worker)))
        attempt = self.stage.again(attempt)
        self.sweep(worker, own=attempt.session.folder)
        return attempt

    def run(self, worker: str, attempt: Attempt, *steps: str) -> None:
        for step in steps:
            assert self.on(worker, attempt).run(step), attempt.errors

    def report(self, worker: str, attempt: Attempt) -> Report:
        report = self.on(worker, attempt).end()
        self.over.add(f"{attempt.session.holder.run.partition('/')[2]} {attempt.session.holder.group}.report")
        return report

    def sweep(self, worker: str, own: Path | None = None) -> Swept:
        return sweep([self.disk(worker)], own=own, airflow=self, log=LOG, now=dt.datetime.now(dt.UTC))

    def left(self) -> list[str]:
        """The workers on which anything lies."""
        return sorted(path.name for path in (self.stage.folder / "workers").iterdir() if files_in(path))

    # As Airflow

    def get_task_states(
        self, *, dag_id: str, task_ids: list[str], run_ids: list[str]
    ) -> Mapping[str, Mapping[str, Any]]:
        if self.silent:
            raise ConnectionError
        return {
            run: {task: "success" if f"{run} {task}" in self.over else None for task in task_ids}
            for run in run_ids
        }

    def get_dr_count(self, *, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        return len(set(run_ids) - self.ended)


@pytest.fixture
def workers(stage: Stage) -> Workers:
    return Workers(stage)


@pytest.mark.probe("a raw dump that stays on a worker", engines=IN_A_BUCKET)
def test_what_one_worker_fetched_and_another_restored(stage: Stage, workers: Workers) -> None:
    stage.push()
    attempt = stage.attempt(PULL)
    workers.run("a", attempt, "start_gate", "download")
    assert workers.left() == ["a"]
    # At work: neither a sweep on the same worker nor the steps of others take it away.
    assert not workers.sweep("a")
    workers.run("b", attempt, "restore")
    assert workers.left() == ["a"]
    workers.run("b", attempt, "sanitise")
    workers.run("c", attempt, "promote")
    assert workers.report("c", attempt).result is not Result.CRITICAL
    assert workers.left() == ["a"]
    # The next step there, of whatever group.
    following = stage.attempt(PUSH)
    workers.run("a", following, "start_gate")
    assert workers.left() == []
    workers.report("b", following)
    stage.settled(NEW_LIVE)


@pytest.mark.probe("a raw dump that stays on a worker", engines=IN_A_BUCKET)
def test_what_a_run_left_that_is_over_without_a_report(stage: Stage, workers: Workers) -> None:
    stage.push()
    attempt = stage.attempt(PULL)
    workers.run("a", attempt, "start_gate", "download")
    run = attempt.session.holder.run.partition("/")[2]
    assert not workers.sweep("a")
    workers.ended.add(run)
    workers.silent = True
    assert not workers.sweep("a")
    assert workers.left() == ["a"]
    workers.silent = False
    assert [one.run for one in workers.sweep("a").removed] == [attempt.session.holder.run]
    assert workers.left() == []
    workers.report("b", attempt)
    stage.settled(OLD_LIVE)


@pytest.mark.probe("a raw dump that stays on a worker", engines=IN_A_BUCKET)
def test_what_one_worker_dumped_and_another_uploaded(stage: Stage, workers: Workers) -> None:
    attempt = stage.attempt(PUSH)
    workers.run("a", attempt, "start_gate", "dump")
    workers.run("b", attempt, "upload")
    assert workers.left() == ["a"]
    assert workers.report("b", attempt).result is not Result.CRITICAL
    following = stage.attempt(PULL)
    workers.run("a", following, "start_gate")
    assert workers.left() == []
    workers.report("b", following)
    assert len(stage.keys()) == 1


@pytest.mark.probe("a raw dump that stays on a worker", engines=IN_A_BUCKET)
def test_one_worker_fetches_and_dumps_once(stage: Stage, workers: Workers) -> None:
    """And has nothing on its disk from the moment on from which no step needs it."""
    push, pull = stage.attempt(PUSH), stage.attempt(PULL)
    workers.run("a", push, "start_gate", "dump")
    [dump] = workers.disk("a").rglob("dump")
    made = dump.stat().st_ino
    assert not workers.sweep("a")
    assert dump.stat().st_ino == made
    workers.run("a", push, "upload")
    assert workers.left() == []
    workers.report("a", push)
    workers.run("a", pull, "start_gate", "download")
    stage.empty_bucket()
    # There is nothing to fetch any more.
    workers.run("a", pull, "restore")
    assert workers.left() == []
    workers.run("a", pull, "sanitise", "promote")
    assert workers.report("a", pull).result is not Result.CRITICAL
    stage.settled(NEW_LIVE)


@pytest.mark.probe("a raw dump that stays on a worker", engines=IN_A_BUCKET)
@pytest.mark.parametrize("step", ["dump", "upload", "download", "restore"])
def test_what_a_killed_step_left(stage: Stage, workers: Workers, step: str) -> None:
    name = PUSH if step in ("dump", "upload") else PULL
    if name == PULL:
        stage.push()
    attempt = stage.attempt(name)
    for before in attempt.steps()[: attempt.steps().index(step)]:
        workers.run("a", attempt, before)

    def kill(_: Instant) -> None:
        """As soon as there is anything of a dump."""
        if any(workers.disk("a").rglob("dump*")):
            os.kill(os.getpid(), signal.SIGKILL)

    assert workers.on("a", attempt).in_child(step, kill) == -signal.SIGKILL
    # Nobody knows yet whether a retry comes.
    there = files_in(workers.disk("a"))
    assert not workers.sweep("a")
    assert files_in(workers.disk("a")) == there
    workers.report("b", attempt)
    [leftover] = workers.sweep("a").removed
    assert (leftover.run, leftover.group) == (attempt.session.holder.run, attempt.session.holder.group)
    assert workers.left() == []
    stage.settled(OLD_LIVE)


@pytest.mark.probe("a raw dump that stays on a worker", engines=IN_A_BUCKET)
def test_a_step_that_fails_for_good_leaves_nothing(stage: Stage, workers: Workers) -> None:
    stage.push()
    attempt = stage.attempt(PULL)
    workers.run("a", attempt, "start_gate")
    workers.on("b", attempt).cancel_at("download", 0)
    assert attempt.states["download"] == "failed"
    workers.run("a", attempt, "download")
    workers.on("a", attempt).cancel_at("restore", 0)
    assert attempt.states["restore"] == "failed"
    assert workers.left() == []
    workers.report("c", attempt)
    stage.settled(OLD_LIVE)
