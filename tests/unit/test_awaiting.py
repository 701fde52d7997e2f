import datetime as dt
from typing import Any

import pytest

from env_sync.core.errors import DumpNotThere
from env_sync.domain.settings import FAIL, Options, Settings
from env_sync.pipeline.results import Awaited
from env_sync.pipeline.start_gate import Tonight
from env_sync.pipeline.wait_for_dump import NotYet, judge
from env_sync.store.dump_choice import StoredDump, Survey
from env_sync.store.dump_keys import dump_key
from tests.unit.values import a_sync, moment

OPENED = moment("2026-11-23 22:00")
TONIGHT = Tonight(opened=OPENED, due=moment("2026-11-24 03:00"), until=moment("2026-11-24 05:00"))
BEFORE = moment("2026-11-24 04:59")
OVER = TONIGHT.until
SINCE = moment("2026-11-24 03:10")


def seen(*begun: str, whole: tuple[str, ...] | None = None, pointer: str | None = None) -> Survey:
    """A bucket with dumps begun at these moments; those that are `whole` have a manifest, else all."""

    def key(text: str) -> str:
        return dump_key("signon-postgres", moment(text), "signon")

    return Survey(
        bucket="govuk-staging-database-backups",
        path="signon-postgres",
        database="signon",
        dumps=tuple(
            StoredDump(key=key(text), database="signon", timestamp=moment(text), size=9, etag="")
            for text in sorted(begun, reverse=True)
        ),
        described=frozenset(key(text) for text in (begun if whole is None else whole)),
        pointer=key(pointer) if pointer else None,
    )


def judged(
    what: Survey | str, at: dt.datetime = BEFORE, then: str = "go", **changes: Any
) -> Awaited | NotYet:
    sync = a_sync(options=Options(wait_for_dump=dt.timedelta(hours=2), wait_for_dump_then=then))
    values: dict[str, Any] = {"sync": sync, "settings": Settings(), **changes}
    return judge(what, tonight=TONIGHT, since=SINCE, now=at, **values)


@pytest.mark.parametrize("at", [BEFORE, OVER, OVER + dt.timedelta(hours=1)])
def test_a_dump_that_was_begun_when_the_window_opened_is_tonights(at: dt.datetime) -> None:
    # Also where it is seen at the very end, or after it.
    assert judged(seen("2026-11-22 23:00", "2026-11-23 22:00"), at, then=FAIL) == Awaited(
        awaited="a dump of signon begun at 2026-11-23 22:00 UTC or later",
        waited=(at - SINCE).total_seconds(),
        found="signon-postgres/2026-11-23T220000Z-signon.gz",
        warnings=(),
    )


def test_one_that_was_begun_a_second_before_is_not() -> None:
    late = Survey(
        bucket="b",
        path="p",
        database="signon",
        dumps=(
            StoredDump(
                key="p/2026-11-23T215959Z-signon.gz",
                database="signon",
                timestamp=OPENED - dt.timedelta(seconds=1),
                size=9,
                etag="",
            ),
        ),
        described=frozenset({"p/2026-11-23T215959Z-signon.gz"}),
        pointer=None,
    )
    not_yet = judged(late)
    assert isinstance(not_yet, NotYet)
    assert "the newest whole one is 2026-11-23T215959Z, begun 6h59m before" in not_yet.what


def test_one_that_is_still_being_written_is_waited_for_and_named() -> None:
    not_yet = judged(seen("2026-11-22 23:00", "2026-11-24 03:05", whole=("2026-11-22 23:00",)))
    assert isinstance(not_yet, NotYet)
    assert "2026-11-24T030500Z-signon.gz has neither manifest nor pointer" in not_yet.what
    assert "the newest whole one is 2026-11-22T230000Z" in not_yet.what


def test_the_pointer_is_evidence_enough() -> None:
    found = judged(seen("2026-11-22 23:00", "2026-11-24 03:05", whole=(), pointer="2026-11-24 03:05"))
    assert isinstance(found, Awaited)
    assert found.found == "signon-postgres/2026-11-24T030500Z-signon.gz"


def test_an_older_whole_one_of_tonight_will_do_while_a_newer_one_is_written() -> None:
    found = judged(seen("2026-11-23 23:00", "2026-11-24 03:05", whole=("2026-11-23 23:00",)))
    assert isinstance(found, Awaited)
    assert found.found == "signon-postgres/2026-11-23T230000Z-signon.gz"


def test_when_the_wait_is_over_it_goes_on_and_says_with_what_and_where_to_look() -> None:
    over = judged(seen("2026-11-22 23:00"), OVER)
    assert isinstance(over, Awaited)
    assert (over.found, over.waited) == (None, 110 * 60)
    [warning] = over.warnings
    for said in (
        "a dump of signon begun at 2026-11-23 22:00 UTC or later was awaited in s3://govuk-staging-",
        "-database-backups/signon-postgres/ from 2026-11-24 03:10 UTC",
        "(wait_for_dump 2h, from 2026-11-24 03:00 UTC)",
        "the newest whole one is 2026-11-22T230000Z, begun 1d6h before",
        "staging's own Airflow, DAG env_sync_staging",
    ):
        assert said in warning


def test_or_it_fails() -> None:
    with pytest.raises(
        DumpNotThere, match=r"2026-11-22T230000Z.*Live is untouched.*Clear the group"
    ) as raised:
        judged(seen("2026-11-22 23:00"), OVER, then=FAIL)
    # A retry would wait no longer, and find the same.
    assert not raised.value.passing


@pytest.mark.parametrize("then", ["go", FAIL])
def test_a_bucket_that_cannot_be_asked_is_no_verdict_until_the_end(then: str) -> None:
    assert judged("ServerUnreachable: no answer", BEFORE, then) == NotYet(
        "a dump of signon begun at 2026-11-23 22:00 UTC or later is not in "
        "s3://govuk-staging-database-backups/signon-postgres/ yet (the bucket could not be asked: "
        "ServerUnreachable: no answer)"
    )
    if then == FAIL:
        with pytest.raises(DumpNotThere, match="could not be asked: ServerUnreachable"):
            judged("ServerUnreachable: no answer", OVER, then)
    else:
        over = judged("ServerUnreachable: no answer", OVER, then)
        assert isinstance(over, Awaited)
        assert "could not be asked: ServerUnreachable" in over.warnings[0]


def test_nothing_at_all_is_said_so() -> None:
    not_yet = judged(seen())
    assert isinstance(not_yet, NotYet)
    assert "(no whole one is there)" in not_yet.what


def test_a_bucket_of_nobody_known_names_no_dag() -> None:
    sync = a_sync(options=Options(wait_for_dump=dt.timedelta(hours=2)), url="dumps-of-somebody")
    over = judged(seen(), OVER, sync=sync)
    assert isinstance(over, Awaited)
    assert "whoever owns that bucket" in over.warnings[0]
    assert "env_sync_" not in over.warnings[0]
