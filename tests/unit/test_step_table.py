"""The table of steps has what plans ask for, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from env_sync.core.errors import Cancelled, EnvSyncError
from env_sync.domain.sync import Action, AnySync, Sync
from env_sync.engines.base.contract import Waiting
from env_sync.pipeline.results import Downloaded
from env_sync.pipeline.session import Session
from env_sync.pipeline.steps import STEPS, Reads, Step, do_here, step_of
from env_sync.planning.plan import steps_of
from tests.unit.memory_engine import World, open_memory_session
from tests.unit.values import a_bucket_sync, a_push, a_sync

CLUSTER: dict[str, Any] = {"dbms": "elasticsearch", "storagebackend": "elasticsearch", "database": "search"}
COPY: Sync = a_sync(action=Action.COPY, source_hostname="above", **CLUSTER)
SYNCS: dict[str, AnySync] = {
    "push": a_push(),
    "pull": a_sync(),
    "mirror": a_bucket_sync(),
    "push of a cluster": a_push(**CLUSTER),
    "pull of a cluster": a_sync(**CLUSTER),
    "copy of a cluster": COPY,
}


def in_table(sync: AnySync) -> list[Step]:
    return [step_of(sync, name) for name in steps_of(sync) if name != "report"]


@pytest.mark.parametrize("sync", SYNCS.values(), ids=SYNCS)
def test_every_step_of_a_plan_is_there(sync: AnySync) -> None:
    assert [step.name for step in in_table(sync)] == list(steps_of(sync))[:-1]


def test_and_no_other() -> None:
    assert {step for sync in SYNCS.values() for step in in_table(sync)} == set(STEPS)


@pytest.mark.parametrize("sync", SYNCS.values(), ids=SYNCS)
def test_what_is_read_comes_of_a_step_before(sync: AnySync) -> None:
    before: set[str] = set()
    for step in in_table(sync):
        missing = {reads.step for reads in step.reads if reads.needed} - before
        assert (step.name, missing) == (step.name, set())
        before.add(step.name)


@pytest.mark.parametrize("sync", SYNCS.values(), ids=SYNCS)
def test_a_cluster_alone_is_waited_for(sync: AnySync) -> None:
    waits = {step.name for step in in_table(sync) if step.waits}
    assert waits == ({*steps_of(sync)} - {"start_gate", "promote", "report"} if sync.is_cluster else set())


def test_a_name_that_no_step_has() -> None:
    with pytest.raises(KeyError):
        step_of(a_sync(), "snapshot")


def a_step(work: Callable[..., object], **fields: Any) -> Step:
    return Step(name="copy", work=work, operator="CopyOperator", **fields)


@pytest.fixture
def session() -> Session:
    return open_memory_session(World(), COPY)


def test_it_is_given_what_it_reads_in_that_order(session: Session) -> None:
    step = a_step(
        lambda _, *given: given,
        reads=(Reads(step="b", kind=str), Reads(step="a", kind=str), Reads(step="c", kind=str, needed=False)),
    )
    assert do_here(step, session, {"a": "of a", "b": "of b"}) == ("of b", "of a", None)


def test_without_what_it_needs_it_does_nothing(session: Session) -> None:
    done: list[object] = []
    step = a_step(done.append, reads=(Reads(step="download", kind=Downloaded),))
    with pytest.raises(EnvSyncError, match="download left no result"):
        do_here(step, session, {})
    assert done == []


def test_what_a_cluster_does_is_asked_for_until_it_is_there(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("env_sync.pipeline.polling.FIRST", 0.01)
    answers = [Waiting("it is at work"), "done"]
    assert do_here(a_step(lambda _: answers.pop(0), waits=True), session, {}) == "done"
    session.cancellation.cancel()
    with pytest.raises(Cancelled):
        do_here(a_step(lambda _: Waiting("it is at work"), waits=True), session, {})
