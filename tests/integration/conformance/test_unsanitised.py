"""Nothing comes down raw, or goes out raw, because nothing says any more that it is to be sanitised."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from attrs import evolve

from env_sync.airflow.connections import CONNECTIONS
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import StampUnreadable
from env_sync.domain.report import Report, Result
from env_sync.domain.settings import Sanitise
from env_sync.engines.base.contract import Holder
from env_sync.engines.registry import DESCRIPTORS
from env_sync.pipeline.session import open_session
from env_sync.planning.installation import read_plan
from env_sync.planning.request import Request
from tests.integration.conformance.dumps import BucketDumps
from tests.integration.conformance.stage import BUCKET, NEW_LIVE, PULL, PUSH, Attempt, Instants, Stage
from tests.integration.conformance.subject import TARGET, Subject

SAID = {"transformation_sql_filename": "none", "reason": "nothing in it is personal"}
KIND = "raw rows because a line is missing"
SHARED = (
    "ensure",
    "dbms",
    "storagebackend",
    "database",
    "database_hostname",
    "minute",
    "url",
    "path",
    "indices",
)
"""The fields that a push of what came down has as the pull has them."""


@pytest.fixture
def transforming(subject: Subject) -> None:
    """Skip what cannot be, before anything is made for it."""
    if not DESCRIPTORS[subject.dbms].capabilities.transformation:
        pytest.skip(f"{subject.name} has no transformations that a pull could lose")


@pytest.fixture
def undoing(subject: Subject) -> None:
    """The same."""
    if not subject.can_undo:
        pytest.skip(f"{subject.name} has no undo")


def pull_without(stage: Stage, **said: object) -> None:
    """From now on the pull has no transformation, and says this."""
    stage.transformation, stage.options = "", said
    stage.configure()


def push_below(stage: Stage) -> Report:
    """A push of what came down, from an environment that must sanitise."""
    file = stage.folder / "hieradata" / f"{TARGET}.yaml"
    pull: dict[str, Any] = json.loads(file.read_text())["govuk_env_sync::tasks"][PULL]
    push = {name: pull[name] for name in SHARED if name in pull} | {"action": "push", "hour": "5"}
    if stage.subject.has_store:
        push["url"] = BUCKET.format(TARGET)
    content = {"govuk_env_sync::sanitise": "required", "govuk_env_sync::tasks": {PULL: pull, PUSH: push}}
    before = file.read_text()
    file.write_text(json.dumps(content))
    plan = read_plan(TARGET)
    file.write_text(before)
    [group] = [group for group in plan.groups if group.sync.name == PUSH]
    session = open_session(
        group=group,
        settings=plan.settings,
        request=Request(nightly=False, only=(PUSH,)),
        holder=Holder(run=f"env_sync_{TARGET}/{uuid.uuid4().hex[:8]}", group=group.id, attempt="1"),
        connections=CONNECTIONS,
        pause=lambda: None,
        cancellation=Cancellation(),
        progress=Instants(lambda _: None),
        log=stage.attempt(PULL).session.log,
    )
    attempt = Attempt(stage, session)
    attempt.run_rest("start_gate")
    return attempt.end()


def pushed_below(stage: Stage) -> list[str]:
    """The dumps of what came down; where there is no bucket, with those of what is above."""
    if not stage.subject.has_store:
        return stage.keys()
    return BucketDumps(stage.s3, BUCKET.format(TARGET), stage.path, stage.database).keys()


def assert_goes_out(stage: Stage, report: Report, before: list[str]) -> None:
    """A push below was let through, and what it made is there."""
    if stage.subject.has_store:
        assert report.result is not Result.CRITICAL, report.line()
        assert len(pushed_below(stage)) == len(before) + 1
    else:
        # What is below may only read the repository: it was asked for the snapshot, and refused it.
        assert "cannot create snapshot in a readonly repository" in report.line()


@pytest.mark.probe(KIND, engines=["postgresql", "mysql", "mongo", "elasticsearch"])
def test_a_pull_that_sanitises_no_longer_is_stopped(transforming: None, pushed: Stage) -> None:
    pushed.pull()
    pull_without(pushed)
    report = pushed.do(PULL)
    assert report.result is Result.CRITICAL
    assert "live was not replaced" in report.what
    assert "NOT SANITISED: " in report.why[0]
    assert "sanitise.sql" in report.why[0]
    assert pushed.settled(NEW_LIVE)
    pull_without(pushed, **SAID)
    pushed.pull()
    assert pushed.read().private == pushed.read().rows
    # Its stamp says so, so that nobody is asked again.
    pull_without(pushed)
    pushed.pull()
    pushed.is_settled = False


@pytest.mark.probe(KIND)
def test_a_stamp_that_cannot_be_read_is_not_none(pushed: Stage) -> None:
    pushed.pull()
    engine = pushed.attempt(PULL).session.engine
    assert [stamp.sync for stamp in engine.preflight_stamps()] == [PULL]
    pushed.subject.break_stamp(TARGET, pushed.database)
    before = pushed_below(pushed)
    with pytest.raises(StampUnreadable):
        engine.preflight_stamps()
    assert "carries a stamp that cannot be read" in push_below(pushed).why[0]
    assert pushed_below(pushed) == before
    pull_without(pushed)
    assert "carries a stamp that cannot be read" in pushed.do(PULL).why[0]
    # One that sanitises, or says why not, fills it anew.
    if DESCRIPTORS[pushed.subject.dbms].capabilities.transformation:
        pushed.transformation = None
        pushed.configure()
    else:
        pull_without(pushed, **SAID)
    pushed.pull()
    assert [stamp.sync for stamp in engine.preflight_stamps()] == [PULL]
    pushed.is_settled = False


@pytest.mark.probe(KIND)
def test_what_came_down_raw_is_not_pushed(pushed: Stage) -> None:
    pull_without(pushed)
    pushed.pull()
    before = pushed_below(pushed)
    report = push_below(pushed)
    assert report.result is Result.CRITICAL
    assert "NOT SANITISED: " in report.why[0]
    assert pushed_below(pushed) == before
    pull_without(pushed, **SAID)
    pushed.pull()
    pushed.wait_for_another_second()
    assert_goes_out(pushed, push_below(pushed), before)
    pushed.is_settled = False


def test_what_was_sanitised_is_pushed(transforming: None, pushed: Stage) -> None:
    pushed.pull()
    before = pushed_below(pushed)
    pushed.wait_for_another_second()
    assert_goes_out(pushed, push_below(pushed), before)
    pushed.is_settled = False


@pytest.mark.probe("an undo to raw rows", engines=["postgresql", "mysql", "files"])
def test_an_undo_makes_no_raw_rows_live_again(undoing: None, pushed: Stage) -> None:
    transforms = DESCRIPTORS[pushed.subject.dbms].capabilities.transformation
    pull_without(pushed)
    pushed.pull()
    raw = pushed.read()
    if transforms:
        pushed.transformation = None
        pushed.configure()
    pushed.pull()
    now = pushed.read()
    refused = undo(pushed)
    assert refused.result is Result.CRITICAL
    assert "NotSanitised: NOT SANITISED: " in refused.why[0]
    assert pushed.settled(now)
    assert undo(pushed, confirm=f"{pushed.database} NOT SANITISED").result is not Result.CRITICAL
    assert pushed.settled(raw)
    # What is previous now was sanitised, where it could be: nobody has to be asked.
    if transforms:
        assert undo(pushed).result is not Result.CRITICAL
        assert pushed.settled(now)


def undo(stage: Stage, confirm: str = "") -> Report:
    """An undo in an environment that must sanitise."""
    session = stage.attempt(PULL).session
    request = Request(nightly=False, restore_previous=stage.database, ignore_pauses=True, confirm=confirm)
    session = evolve(
        session,
        settings=evolve(session.settings, sanitise=Sanitise.REQUIRED),
        request=request,
        group=evolve(session.group, steps=request.steps(session.group)),
    )
    attempt = Attempt(stage, session)
    attempt.run_rest("start_gate")
    return attempt.end()
