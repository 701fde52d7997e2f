"""A transformation that fails, in whatever way, leaves live as it was and nothing else."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator

import pytest

from env_sync.domain.report import Result
from tests.integration.conformance.stage import NEW_LIVE, NEW_ROWS, OLD_LIVE, PULL, Attempt, Stage
from tests.integration.conformance.subject import PRIVATE, TARGET

BREAKING_OUT = ("commit", "commit and begin", "rollback", "open", "disconnect", "endless")
FAILING = (
    "first",
    "middle",
    "last",
    "unique",
    "row",
    "raise",
    "not closed",
    "vacuum",
    "copy",
    "missing table",
)


@pytest.mark.sweep("way", at_most=4)
@pytest.mark.parametrize("way", FAILING)
def test_a_transformation_that_fails(pushed: Stage, way: str) -> None:
    a_transformation_fails(pushed, way)


@pytest.mark.probe("a transformation that breaks out")
@pytest.mark.parametrize("way", BREAKING_OUT)
def test_a_transformation_that_breaks_out(pushed: Stage, way: str) -> None:
    a_transformation_fails(pushed, way)


def a_transformation_fails(pushed: Stage, way: str) -> None:
    """Live stays as it was, and all is well once the transformation is mended."""
    bad = pushed.subject.bad_transformations().get(way)
    if bad is None:
        pytest.skip(f"{pushed.subject.name} has nothing of the kind")
    pushed.transformation = bad.text
    pushed.configure()
    attempt = pushed.attempt(PULL)
    attempt.run_until("sanitise")
    with cancelled_when_running(attempt, bad.never_ends) if bad.never_ends else contextlib.nullcontext():
        assert not attempt.run("sanitise")
    # The step itself drops it, not only the end of the group.
    assert pushed.subject.copies(TARGET, pushed.database) == {"live"}
    attempt.session.cancellation.reset()
    report = attempt.end()
    assert report.result is Result.CRITICAL
    assert "live was not replaced" in report.what
    assert re.search(bad.says, report.why[0]), report.why
    pushed.settled(OLD_LIVE)
    # It is mended, and all is well.
    pushed.transformation = None
    pushed.configure()
    pushed.pull()
    pushed.settled(NEW_LIVE)


@contextlib.contextmanager
def cancelled_when_running(attempt: Attempt, statement: str) -> Iterator[None]:
    """Cancel a step while the server runs this statement, as Airflow does when the step's time is over."""
    subject, database = attempt.stage.subject, attempt.stage.database
    over = threading.Event()

    def cancel() -> None:
        while not over.is_set():
            if any(statement in each for each in subject.statements(TARGET, database)):
                attempt.session.cancellation.cancel()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.probe("personal values in errors", engines=["postgresql", "mysql", "mongo", "elasticsearch"])
def test_a_transformation_that_fails_tells_no_row(pushed: Stage) -> None:
    for bad in pushed.subject.bad_transformations().values():
        if bad.never_ends:
            continue
        pushed.transformation = bad.text
        pushed.configure()
        assert pushed.do(PULL).result is Result.CRITICAL
    pushed.settled(OLD_LIVE)


@pytest.mark.probe("what a transformation does not reach")
def test_a_statement_that_changes_no_row_is_a_warning(pushed: Stage) -> None:
    pushed.transformation = "\n".join([pushed.subject.transformation(), *pushed.subject.statements_of_people])
    pushed.configure()
    last = pushed.transformation.count("\n") + 1
    report = pushed.pull()
    assert report.result is Result.WARNING
    assert any(re.match(rf"sanitise\.sql:{last} .*people.* changed no row", why) for why in report.why)
    [found] = [each for each in report.statements if each.startswith(f"sanitise.sql:{last - 1} ")]
    assert re.search(rf"people.*: {NEW_ROWS:,} rows$", found), found
    pushed.settled(NEW_LIVE)


def test_only_what_is_sanitised_is_live(pushed: Stage) -> None:
    pushed.pull()
    pushed.settled(NEW_LIVE)
    assert PRIVATE.encode() not in pushed.subject.whole_text(TARGET, pushed.database)
