"""A push that transforms: the dump is clean, live is as it was, and the copy is closed and never stays."""

from __future__ import annotations

import contextlib
import re

import pytest

from env_sync.domain.report import Result
from env_sync.engines.registry import DESCRIPTORS
from env_sync.store.dump_keys import manifest_key
from tests.integration.conformance.stage import (
    BUCKET,
    NEW,
    NEW_LIVE,
    NEW_ROWS,
    OLD_LIVE,
    PUSH,
    Instant,
    Stage,
)
from tests.integration.conformance.subject import PRIVATE, SOURCE, TARGET, Subject
from tests.sweep import sample

MOMENTS = 3
"""At how many of its moments the dump is killed or cancelled."""
STATEMENTS = 6
"""How many statements that fail are tried; a pull tries them all."""


@pytest.fixture
def offered(subject: Subject) -> None:
    """Skip what cannot be, before anything is made for it."""
    if not DESCRIPTORS[subject.dbms].capabilities.pre_dump_transformation:
        pytest.skip(f"{subject.name} runs no transformation before a dump")


@pytest.fixture
def pushing(offered: None, stage: Stage) -> Stage:
    """The same with a push that sanitises, so that the pull has nothing left to do."""
    stage.pre_dump = stage.subject.transformation()
    stage.transformation = ""
    stage.configure()
    return stage


def source_untouched(stage: Stage) -> None:
    """Live above is as it was made, raw, and the copy of it is gone."""
    found = stage.subject.read(SOURCE, stage.database)
    assert (found.generation, found.rows, found.private) == (NEW, NEW_ROWS, NEW_ROWS)
    assert stage.subject.copies(SOURCE, stage.database) == {"live"}


def test_the_dump_is_clean_and_live_is_untouched(pushing: Stage) -> None:
    stage, subject = pushing, pushing.subject
    before = subject.picture(SOURCE, stage.database)
    stage.push()
    assert subject.picture(SOURCE, stage.database) == before
    source_untouched(stage)
    stage.pull()
    stage.settled(NEW_LIVE)
    assert PRIVATE.encode() not in subject.whole_text(TARGET, stage.database)


def test_all_that_a_database_holds_goes_through_the_copy(offered: None, bare_stage: Stage) -> None:
    stage, subject = bare_stage, bare_stage.subject
    for environment in (SOURCE, TARGET):
        subject.fill_rich(environment, stage.database)
    subject.change_rich(SOURCE, stage.database)
    before = subject.picture(SOURCE, stage.database)
    # It changes nothing, so that what comes out is what went in.
    stage.pre_dump, stage.transformation = subject.harmless_transformation, ""
    stage.configure()
    stage.push()
    assert subject.picture(SOURCE, stage.database) == before
    stage.pull()
    assert subject.picture(TARGET, stage.database) == before


def test_the_manifest_tells_what_ran(pushing: Stage) -> None:
    pushing.push()
    [key] = pushing.keys()
    told = pushing.s3.client().get_object(Bucket=BUCKET.format(SOURCE), Key=manifest_key(key))["Body"].read()
    assert b'"before.sql"' in told
    assert "transformed by before.sql" in pushing.reports[-1].line()


@pytest.mark.probe("raw rows because a line is missing", engines=["postgresql", "mysql"])
def test_a_push_that_no_longer_transforms_uploads_nothing(pushing: Stage) -> None:
    pushing.push()
    before = pushing.keys()
    pushing.pre_dump = None
    pushing.configure()
    report = pushing.do(PUSH)
    assert report.result is Result.CRITICAL
    assert "was sanitised by before.sql before it was taken" in report.why[0]
    assert pushing.keys() == before
    pushing.push_options = {"pre_dump_transformation_sql_filename": "none", "reason": "nothing is personal"}
    pushing.configure()
    pushing.push_in_another_second()
    assert "NOT SANITISED: nothing is personal" in pushing.reports[-1].line()


def test_any_statement_that_fails_stops_the_push(pushing: Stage) -> None:
    quick = [bad for bad in pushing.subject.bad_transformations().values() if not bad.never_ends]
    for bad in sample(pushing.scenario, quick, STATEMENTS):
        pushing.pre_dump = bad.text
        pushing.configure()
        report = pushing.do(PUSH)
        assert report.result is Result.CRITICAL
        assert "no dump was uploaded" in report.what
        assert re.search(bad.says, report.why[0]), report.why
        assert pushing.keys() == []
        source_untouched(pushing)
    pushing.settled(OLD_LIVE)


def test_a_push_that_is_killed_while_it_transforms(pushing: Stage) -> None:
    killed = 0
    for moment in pushing.moments(PUSH, "dump", MOMENTS):
        pushing.empty_bucket()
        attempt = pushing.attempt(PUSH)
        attempt.run_until("dump")
        if attempt.kill_at("dump", moment):
            killed += 1
            assert attempt.end().result is Result.CRITICAL
            assert pushing.keys() == []
        else:
            attempt.end()
        pushing.settled(OLD_LIVE)
        source_untouched(pushing)
    assert killed


def test_a_push_that_was_killed_while_it_transformed_is_run_again(pushing: Stage) -> None:
    killed = 0
    for moment in pushing.moments(PUSH, "dump", MOMENTS):
        attempt = pushing.attempt(PUSH)
        attempt.run_until("dump")
        killed += attempt.kill_at("dump", moment)
        assert attempt.run_rest("dump"), attempt.errors
        assert attempt.end().result is not Result.CRITICAL
        pushing.settled(OLD_LIVE)
        source_untouched(pushing)
    assert killed
    pushing.pull()
    pushing.settled(NEW_LIVE)


def test_a_push_that_is_cancelled_while_it_transforms(pushing: Stage) -> None:
    cancelled = 0
    for moment in pushing.moments(PUSH, "dump", MOMENTS):
        pushing.empty_bucket()
        attempt = pushing.attempt(PUSH)
        attempt.run_until("dump")
        attempt.cancel_at("dump", moment)
        report = attempt.end()
        if attempt.states["dump"] == "failed":
            cancelled += 1
            assert "cancelled" in report.line()
        assert pushing.keys() == []
        pushing.settled(OLD_LIVE)
        source_untouched(pushing)
    assert cancelled


@pytest.mark.probe("reading the copies during a sync")
def test_nobody_else_reads_the_copy(pushing: Stage) -> None:
    subject, database = pushing.subject, pushing.database
    got_in: list[str] = []
    seen: set[str] = set()

    def look(_: Instant) -> None:
        there = subject.copies(SOURCE, database)
        seen.update(there)
        if "outgoing" not in there:
            return
        for name, attempt in subject.intruders(SOURCE, database).items():
            with contextlib.suppress(*subject.refusals):
                attempt()
                got_in.append(name)

    attempt = pushing.attempt(PUSH)
    attempt.run_until("dump")
    attempt.do_watched("dump", look)
    attempt.end()
    assert attempt.states["dump"] == "success"
    assert "outgoing" in seen
    assert got_in == []


def test_in_place_live_is_what_the_transformation_made_of_it(pushing: Stage) -> None:
    pushing.pre_dump = pushing.subject.transformation_in_place()
    pushing.push_options = {"pre_dump_in_place": True}
    pushing.configure()
    pushing.push()
    assert pushing.subject.read(SOURCE, pushing.database) == NEW_LIVE
    assert pushing.subject.copies(SOURCE, pushing.database) == {"live"}
    pushing.pull()
    pushing.settled(NEW_LIVE)
