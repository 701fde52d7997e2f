import datetime as dt
from typing import Any

import pytest

from env_sync.domain.pause import Pause, read_pause
from env_sync.domain.report import Result, Skip
from env_sync.domain.settings import Options
from env_sync.domain.sync import Ensure
from env_sync.pipeline.start_gate import Go, Tonight, Wait, decide
from env_sync.planning.plan import Plan
from env_sync.planning.request import NIGHTLY, Request, read_request
from tests.unit.values import a_plan, a_push, a_sync, moment

OPENED = moment("2026-11-23 22:00")
DUE = moment("2026-11-24 03:00")
BY_HAND = Request(nightly=False, only=("pull_signon",))


def decided(at: dt.datetime, plan: Plan | None = None, **given: Any) -> Skip | Wait | Go:
    plan = plan or a_plan(a_sync("pull_signon", "03:00"))
    values: dict[str, Any] = {"request": NIGHTLY, "pause": None, "run_after": OPENED, "rerun": False, **given}
    return decide(group=plan.groups[0], plan=plan, now=at, **values)


def paused(until: dt.datetime | None) -> Pause:
    return Pause(by="ada", why="load test", until=until)


def test_a_nightly_sync_waits_for_its_time() -> None:
    assert decided(OPENED) == Wait(DUE)
    assert decided(DUE - dt.timedelta(seconds=1)) == Wait(DUE)
    assert decided(DUE) == Go()


def test_it_starts_late_up_to_its_deadline() -> None:
    # start_deadline is 4 hours unless set.
    assert decided(moment("2026-11-24 07:00")) == Go()
    late = decided(moment("2026-11-24 07:00") + dt.timedelta(seconds=1))
    assert isinstance(late, Skip)
    assert late.result is Result.WARNING
    assert not late.quiet
    assert "due at 2026-11-24 03:00 UTC" in late.reason
    assert "2026-11-24 07:00 UTC" in late.reason


def test_the_deadline_is_the_syncs_own() -> None:
    plan = a_plan(a_sync("pull_signon", "03:00", options=Options(start_deadline=dt.timedelta(minutes=30))))
    assert decided(moment("2026-11-24 03:30"), plan) == Go()
    assert isinstance(decided(moment("2026-11-24 03:31"), plan), Skip)


def test_a_run_by_hand_starts_at_once_at_any_hour() -> None:
    for text in ("2026-11-23 22:30", "2026-11-24 03:00", "2026-11-24 15:00"):
        assert decided(moment(text), request=BY_HAND, run_after=moment(text)) == Go()


def test_a_cleared_group_starts_at_once_however_late_but_not_before_its_time() -> None:
    assert decided(OPENED, rerun=True) == Wait(DUE)
    assert decided(DUE, rerun=True) == Go()
    assert decided(moment("2026-11-25 15:00"), rerun=True) == Go()


def test_nothing_is_replaced_by_itself_after_the_window_closed() -> None:
    at_six = a_plan(a_sync("pull_signon", "06:30"))
    # The window is 22:00-08:00 unless set.
    assert decided(moment("2026-11-24 08:00"), at_six) == Go()
    late = decided(moment("2026-11-24 08:01"), at_six)
    assert isinstance(late, Skip)
    assert late.result is Result.WARNING
    assert "after the window closed at 08:00 UTC" in late.reason
    assert decided(moment("2026-11-24 08:01"), at_six, rerun=True) == Go()
    # A push only reads, and a time outside of the window was meant.
    assert decided(moment("2026-11-24 08:01"), a_plan(a_push("push_signon", "06:30"))) == Go()
    assert decided(moment("2026-11-24 10:00"), a_plan(a_sync("pull_signon", "09:00"))) == Go()


def test_what_was_not_selected_is_skipped_quietly() -> None:
    plan = a_plan(a_sync("pull_signon"), a_sync("z_other", database="other"))
    skip = decided(DUE, plan, request=read_request({"only": ["z_other"]}, plan))
    assert skip == Skip(reason="not selected in this run", quiet=True)
    assert isinstance(decided(DUE, plan, request=read_request({}, plan)), Skip)


def test_a_disabled_sync_is_skipped_for_all_to_see_and_runs_by_hand() -> None:
    plan = a_plan(a_sync("pull_signon", ensure=Ensure.DISABLED))
    assert decided(OPENED, plan) == Skip(reason="pull_signon is disabled: run it by hand")
    assert decided(OPENED, plan, request=BY_HAND) == Go()


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("2026-11-24 02:59", Wait(DUE)),
        ("2026-11-24 03:00", Wait(DUE)),  # it ends at that very moment
        ("2026-11-24 03:01", None),
    ],
)
def test_only_a_pause_that_holds_when_the_sync_is_due_stops_it(until: str, expected: Wait | None) -> None:
    decision = decided(OPENED, pause=paused(moment(until)))
    if expected is None:
        assert decision == Skip(reason=f"paused by ada until {until} UTC: load test")
    else:
        assert decision == expected


def test_a_pause_is_looked_at_again_after_the_wait() -> None:
    assert isinstance(decided(DUE, pause=paused(None)), Skip)
    assert decided(DUE, pause=paused(DUE)) == Go()
    late = moment("2026-11-24 04:00")
    assert isinstance(decided(late, pause=paused(moment("2026-11-24 04:01"))), Skip)
    assert decided(late, pause=paused(moment("2026-11-24 03:30"))) == Go()


@pytest.mark.parametrize("more", [{"request": BY_HAND}, {"rerun": True}])
def test_a_pause_stops_runs_by_hand_and_reruns_by_what_holds_now(more: dict[str, Any]) -> None:
    later = moment("2026-11-24 03:30")
    assert isinstance(decided(later, pause=paused(moment("2026-11-24 04:00")), **more), Skip)
    assert decided(later, pause=paused(moment("2026-11-24 03:30")), **more) == Go()


def test_a_pause_that_ends_before_the_time_stops_a_run_by_hand_alone() -> None:
    evening, pause = moment("2026-11-23 22:30"), paused(moment("2026-11-23 23:00"))
    assert isinstance(decided(evening, pause=pause, request=BY_HAND), Skip)
    assert decided(evening, pause=pause, rerun=True) == Wait(DUE)


def test_pauses_can_be_ignored() -> None:
    request = Request(nightly=False, only=("pull_signon",), ignore_pauses=True)
    assert decided(DUE, request=request, pause=paused(None)) == Go()


def test_a_pause_that_cannot_be_read_is_a_warning() -> None:
    skip = decided(DUE, pause=read_pause("{"))
    assert isinstance(skip, Skip)
    assert skip.result is Result.WARNING


def test_the_time_is_of_the_environments_zone() -> None:
    plan = a_plan(a_sync("pull_signon", "03:00"), timezone="Europe/London")
    # In July 22:00 in London is 21:00 UTC.
    opened = moment("2026-07-01 21:00")
    assert decided(opened, plan, run_after=opened) == Wait(moment("2026-07-02 02:00"))
    # The night in which the clock goes back is an hour longer.
    opened = moment("2026-10-24 21:00")
    assert decided(opened, plan, run_after=opened) == Wait(moment("2026-10-25 03:00"))


WAITING = Options(wait_for_dump=dt.timedelta(hours=2))
TONIGHT = Go(Tonight(opened=OPENED, due=DUE, until=moment("2026-11-24 05:00")))


def test_a_nightly_pull_goes_once_tonights_dump_is_there() -> None:
    plan = a_plan(a_sync("pull_signon", "03:00", options=WAITING))
    assert decided(OPENED, plan) == Wait(DUE)
    # However late it starts, the wait counts from its time.
    for text in ("2026-11-24 03:00", "2026-11-24 04:30", "2026-11-24 05:01"):
        assert decided(moment(text), plan) == TONIGHT


@pytest.mark.parametrize("more", [{"request": BY_HAND}, {"rerun": True}])
def test_runs_by_hand_and_reruns_wait_for_no_dump(more: dict[str, Any]) -> None:
    plan = a_plan(a_sync("pull_signon", "03:00", options=WAITING))
    assert decided(DUE, plan, **more) == Go()


def test_nor_does_a_push_in_an_environment_that_waits() -> None:
    plan = a_plan(a_push("push_signon", "03:00", options=WAITING))
    assert decided(DUE, plan) == Go()


def test_what_stops_a_pull_stops_it_before_it_waits_for_a_dump() -> None:
    plan = a_plan(a_sync("pull_signon", "03:00", options=WAITING))
    assert isinstance(decided(DUE, plan, pause=paused(None)), Skip)
    assert isinstance(decided(moment("2026-11-24 07:01"), plan), Skip)


def test_a_pull_of_a_cluster_waits_for_no_dump() -> None:
    """It is told for a whole environment, and a cluster keeps its snapshots itself."""
    cluster = {"dbms": "elasticsearch", "storagebackend": "elasticsearch", "database": "search"}
    plan = a_plan(a_sync("pull_search", "03:00", options=WAITING, **cluster))
    assert decided(DUE, plan) == Go()
    assert "waits up to" not in plan.as_text()
