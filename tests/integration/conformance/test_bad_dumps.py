"""A dump that is cut, flipped, empty, too small or somebody else's never becomes live."""

from __future__ import annotations

import re

import pytest

from env_sync.domain.report import Result
from tests.integration.conformance.stage import (
    BUCKET,
    NEW,
    NEW_LIVE,
    NEW_ROWS,
    OLD_LIVE,
    PULL,
    Stage,
)
from tests.integration.conformance.subject import SOURCE, TARGET, Reading
from tests.sweep import sample

SOMEWHERE = ("cut at ", "flipped at ", "a tar cut at ")
"""How the names of dumps begin that differ by the place of their damage alone."""
OTHER = "somebody_elses"
IN_A_BUCKET = ("postgresql", "mysql", "mongo", "files")
"""The engines whose dumps are files in a bucket."""


@pytest.fixture
def good(stage: Stage) -> bytes:
    """The bytes of a good dump."""
    stage.push()
    [key] = stage.keys()
    return stage.content(key)


@pytest.fixture
def other(stage: Stage) -> bytes:
    """The bytes of a dump of another database."""
    stage.subject.fill(SOURCE, OTHER, NEW, NEW_ROWS, private=True)
    mine = stage.database
    stage.database = OTHER
    stage.configure()
    try:
        stage.push()
        [key] = stage.keys()
        return stage.content(key)
    finally:
        stage.empty_bucket()
        stage.dumps.clear()
        stage.database = mine
        stage.configure()
        stage.subject.drop(SOURCE, OTHER)


@pytest.mark.probe("a damaged or truncated dump", "a dump of another database")
@pytest.mark.probe("a dump of another engine", "a gzip bomb", engines=IN_A_BUCKET)
def test_dumps_that_are_wrong(stage: Stage, good: bytes, other: bytes) -> None:
    dumps = stage.subject.bad_dumps(good, other)
    assert len(dumps) > 15
    damaged = [name for name in dumps if name.startswith(SOMEWHERE)]
    left_out = {*damaged} - {*sample(f"damaged dumps, {stage.subject.name}", damaged, 5)}
    for name, bad in dumps.items():
        if name in left_out:
            continue
        stage.put_dump(bad.content)
        report = stage.do(PULL)
        assert report.result is Result.CRITICAL, name
        assert "live was not replaced" in report.what, name
        assert re.search(bad.says, report.why[0]), (name, report.why)
        stage.settled(OLD_LIVE)
    stage.put_dump(good)
    stage.pull()
    stage.settled(NEW_LIVE)


@pytest.mark.probe("a damaged or truncated dump")
def test_a_dump_that_is_not_its_manifests(stage: Stage, good: bytes) -> None:
    [key] = stage.keys()
    changed = bytearray(good)
    changed[len(changed) // 2] ^= 1
    stage.s3.client().put_object(Bucket=BUCKET.format(SOURCE), Key=key, Body=bytes(changed))
    report = stage.do(PULL)
    assert report.result is Result.CRITICAL
    assert "manifest" in report.why[0]
    stage.settled(OLD_LIVE)


def test_a_dump_of_half_its_usual_size(stage: Stage, good: bytes) -> None:
    subject, database = stage.subject, stage.database
    # Some engines compare it with the dump before it, others with what the last pull brought.
    stage.pull()
    subject.drop(SOURCE, database)
    subject.fill(SOURCE, database, "small", 3, private=True)
    stage.options = {"min_size_ratio": 0.9}
    stage.configure()
    stage.push_in_another_second()
    report = stage.do(PULL)
    assert report.result is Result.CRITICAL
    assert "timestamp" in report.why[0]
    stage.settled(NEW_LIVE)
    # Whoever asks for it gets it, and so does whoever asks for the one before.
    first, second = stage.timestamps()
    stage.pull(timestamp=second)
    stage.settled(Reading("small", 3, 0))
    stage.pull(timestamp=first)
    stage.settled(NEW_LIVE)


def test_an_older_dump_by_its_timestamp(stage: Stage, good: bytes) -> None:
    stage.subject.drop(SOURCE, stage.database)
    stage.subject.fill(SOURCE, stage.database, "newer", NEW_ROWS, private=True)
    stage.push_in_another_second()
    first, second = stage.timestamps()
    stage.pull(timestamp=first)
    stage.settled(NEW_LIVE)
    stage.pull(timestamp=second)
    assert stage.read().generation == "newer"


def test_nothing_to_restore(stage: Stage) -> None:
    report = stage.do(PULL)
    assert report.result is Result.CRITICAL
    assert "live was not replaced" in report.what
    stage.settled(OLD_LIVE)


def test_a_dump_that_vanishes_while_it_is_read(stage: Stage, good: bytes) -> None:
    step = "download" if stage.subject.has_store else stage.subject.step("restore")
    attempt = stage.attempt(PULL)
    attempt.run_until(step)
    chosen: list[str] = []

    def at(instant: object) -> None:
        if not chosen:
            chosen.append("gone")
            stage.empty_bucket()

    attempt.do_watched(step, at)
    assert attempt.states[step] == "failed"
    report = attempt.end()
    assert report.result is Result.CRITICAL
    assert stage.subject.copies(TARGET, stage.database) == {"live"}
    stage.settled(OLD_LIVE)
