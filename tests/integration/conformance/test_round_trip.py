"""What goes up comes down: every type, index, view, constraint, owner and grant."""

from __future__ import annotations

import pytest

from env_sync.domain.report import Result
from tests.integration.conformance.stage import PULL, PUSH, Stage
from tests.integration.conformance.subject import PRIVATE, SOURCE, TARGET
from tests.sweep import exhaustive

FEW = 50
"""At least so many tables are very many."""


@pytest.fixture
def rich(bare_stage: Stage) -> Stage:
    """The same rich database on both sides; above it has been worked in since."""
    for environment in (SOURCE, TARGET):
        bare_stage.subject.fill_rich(environment, bare_stage.database)
    bare_stage.subject.change_rich(SOURCE, bare_stage.database)
    bare_stage.subject.add_rich(SOURCE, bare_stage.database)
    return bare_stage


@pytest.mark.probe("a dump that points back at its source", engines=["postgresql", "mysql", "elasticsearch"])
def test_everything_comes_down_twice(rich: Stage) -> None:
    rich.transformation = ""
    rich.configure()
    subject, database = rich.subject, rich.database
    for _ in range(2):
        wanted = subject.picture(SOURCE, database)
        rich.push()
        rich.pull()
        got = subject.picture(TARGET, database)
        assert got.keys() == wanted.keys()
        # Two versions write one view, or all grants on a table, in different words: rows are compared then.
        rows = {name for name in wanted if name.startswith(("rows of", "sequence", "large object"))}
        assert {name: got[name] for name in rows} == {name: wanted[name] for name in rows}
        assert got == wanted or not subject.same_words
        assert subject.never_comes_down(SOURCE, database) != []
        assert subject.never_comes_down(TARGET, database) == []
        subject.change_rich(SOURCE, database)


def test_nothing_personal_comes_down_and_nothing_changes_above(rich: Stage) -> None:
    subject, database = rich.subject, rich.database
    above = subject.picture(SOURCE, database)
    before = subject.picture(TARGET, database)
    rich.push()
    assert subject.picture(SOURCE, database) == above
    rich.pull()
    assert PRIVATE.encode() in subject.whole_text(SOURCE, database)
    assert PRIVATE.encode() not in subject.whole_text(TARGET, database)
    after = subject.picture(TARGET, database)
    assert before.keys() <= after.keys()
    rich.nothing_was_told()


def test_a_first_pull_makes_live(rich: Stage) -> None:
    subject, database = rich.subject, rich.database
    subject.drop(TARGET, database)
    rich.push()
    report = rich.do(PULL)
    assert report.result is (
        Result.WARNING if subject.warns_at_first or subject.warns_of_pulls else Result.OK
    )
    assert report.unavailable == 0
    assert subject.copies(TARGET, database) == {"live"}
    assert PRIVATE.encode() not in subject.whole_text(TARGET, database)
    wanted, got = subject.picture(SOURCE, database), subject.picture(TARGET, database)
    rows = {name for name in wanted if name.startswith("rows of")}
    assert rows == {name for name in got if name.startswith("rows of")}
    if subject.closed_at_first:
        with pytest.raises(subject.refusals):
            subject.read(TARGET, database)
    else:
        assert subject.read(TARGET, database).private == 0


def test_an_empty_database(bare_stage: Stage) -> None:
    subject, database = bare_stage.subject, bare_stage.database
    for environment in (SOURCE, TARGET):
        subject.fill_empty(environment, database)
    bare_stage.transformation = ""
    bare_stage.configure()
    bare_stage.push()
    bare_stage.pull()
    assert subject.picture(TARGET, database) == subject.picture(SOURCE, database)


def test_very_many_tables(bare_stage: Stage) -> None:
    subject, database = bare_stage.subject, bare_stage.database
    count = subject.many if exhaustive() else max(subject.many // 10, FEW)
    for environment in (SOURCE, TARGET):
        subject.fill_tables(environment, database, count)
    bare_stage.transformation = ""
    bare_stage.configure()
    bare_stage.push()
    bare_stage.pull()
    assert subject.picture(TARGET, database) == subject.picture(SOURCE, database)


def test_a_push_tells_of_an_exclusion_that_excludes_nothing(stage: Stage) -> None:
    stage.push_options = {"excluded_tables": ["no_such_*"]}
    stage.configure()
    report = stage.do(PUSH)
    assert report.result is Result.WARNING
    assert "excluded_tables has no_such_*, and nothing of" in " ".join(report.why)
