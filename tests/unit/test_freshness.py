import datetime as dt
from typing import Any

import pytest

from env_sync.domain.freshness import Freshness, judge_freshness
from env_sync.domain.pause import Pause
from env_sync.domain.report import Result
from tests.unit.values import moment

NOW = moment("2026-11-24 09:00")
LIMIT = dt.timedelta(hours=28)
RUNNING_PAUSE = Pause(by="mary", why="a migration", until=moment("2026-11-24 18:00"))
OVER = Pause(by="mary", why="a migration", until=moment("2026-11-24 08:00"))


def judged(**values: Any) -> Freshness:
    asked: dict[str, Any] = {
        "limit": LIMIT,
        "last_success": NOW - dt.timedelta(hours=30, minutes=5),
        "disabled": False,
        "pause": None,
        "now": NOW,
    }
    return judge_freshness(**{**asked, **values})


@pytest.mark.parametrize(
    ("age", "result"),
    [
        (dt.timedelta(0), Result.OK),
        (LIMIT, Result.OK),
        (LIMIT + dt.timedelta(seconds=1), Result.CRITICAL),
        (dt.timedelta(days=30), Result.CRITICAL),
    ],
)
def test_a_sync_is_stale_after_its_limit(age: dt.timedelta, result: Result) -> None:
    assert judged(last_success=NOW - age).result is result


def test_what_is_stale_says_since_when_and_the_limit() -> None:
    assert judged().what == "no successful run for 1d6h5m, since 2026-11-23 02:55 UTC (fresh_within 1d4h)"


def test_a_sync_that_never_succeeded_is_critical() -> None:
    never = judged(last_success=None)
    assert (never.result, never.what) == (Result.CRITICAL, "no successful run on record (fresh_within 1d4h)")


@pytest.mark.parametrize("last_success", [None, NOW - dt.timedelta(days=3)])
def test_a_paused_one_is_a_warning_until_its_pause_ends(last_success: dt.datetime | None) -> None:
    paused = judged(last_success=last_success, pause=RUNNING_PAUSE)
    assert paused.result is Result.WARNING
    assert paused.what.endswith("; paused by mary until 2026-11-24 18:00 UTC: a migration")
    assert judged(last_success=last_success, pause=OVER).result is Result.CRITICAL


def test_a_fresh_sync_that_is_paused_is_fresh() -> None:
    assert judged(last_success=NOW, pause=RUNNING_PAUSE).result is Result.OK


def test_a_disabled_sync_is_quiet_though_it_never_ran() -> None:
    quiet = judged(last_success=None, disabled=True)
    assert quiet.result is Result.OK


def test_each_sync_has_a_limit_of_its_own() -> None:
    assert judged(limit=dt.timedelta(days=8)).result is Result.OK
