"""A transformation that fails, in whatever way, leaves live as it was and nothing else."""

from __future__ import annotations

import re
import threading

import pytest

from env_sync.report import Result
from tests.integration.conformance.stage import NEW_LIVE, OLD_LIVE, PULL, Stage
from tests.integration.conformance.subject import PRIVATE, TARGET

BREAKING_OUT = ("commit", "commit and begin", "rollback", "open", "disconnect", "endless")
WAYS = (
    *("first", "middle", "last", "unique", "row", "raise", "not closed", "vacuum", "copy", "missing table"),
    *(pytest.param(way, marks=pytest.mark.probe("a transformation that breaks out")) for way in BREAKING_OUT),
)


@pytest.mark.parametrize("way", WAYS)
def test_a_transformation_that_fails(pushed: Stage, way: str) -> None:
    bad = pushed.subject.bad_transformations().get(way)
    if bad is None:
        pytest.skip(f"{pushed.subject.name} has nothing of the kind")
    pushed.transformation = bad.text
    pushed.configure()
    attempt = pushed.attempt(PULL)
    attempt.run_until("sanitise")
    if bad.seconds:
        # As Airflow does it when a step's time is over.
        timer = threading.Timer(bad.seconds, attempt.session.cancellation.cancel)
        timer.start()
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


@pytest.mark.probe("personal values in errors", engines=["postgresql", "mysql", "mongo"])
def test_a_transformation_that_fails_tells_no_row(pushed: Stage) -> None:
    for bad in pushed.subject.bad_transformations().values():
        if bad.seconds:
            continue
        pushed.transformation = bad.text
        pushed.configure()
        assert pushed.do(PULL).result is Result.CRITICAL
    pushed.settled(OLD_LIVE)


def test_only_what_is_sanitised_is_live(pushed: Stage) -> None:
    pushed.pull()
    pushed.settled(NEW_LIVE)
    assert PRIVATE.encode() not in pushed.subject.whole_text(TARGET, pushed.database)
