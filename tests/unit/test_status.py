"""A status, of a plan and what Airflow knows."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from attrs import evolve

from env_sync.domain.leftovers import Leftover, Swept
from env_sync.domain.pause import Pause
from env_sync.domain.problem import Problem
from env_sync.domain.report import Report, Result
from env_sync.domain.settings import Options
from env_sync.domain.sync import Ensure, Place
from env_sync.planning.plan import Plan
from env_sync.status.environments import make_status, replacing_at
from env_sync.status.rows import Rows, RunRow, Summary, TaskRow, relevant_runs, wanted
from env_sync.status.values import Attempt, Disks, EnvironmentStatus, Phase, SyncStatus
from tests.unit.values import a_plan, a_push, a_sync, moment

OPENED = moment("2026-11-24 22:00")
NOW = moment("2026-11-25 03:10")
NIGHT = "scheduled__tonight"
PLAN = a_plan(
    a_sync("pull_signon", "03:00"),
    a_push("push_signon", "04:00"),
    a_sync("pull_shop", "05:00", database="shop"),
)


def a_run(run: str = NIGHT, **values: Any) -> RunRow:
    return RunRow(
        **{
            "environment": "integration",
            "run": run,
            "nightly": run.startswith("scheduled"),
            "state": "running",
            "run_after": OPENED,
            **values,
        }
    )


def tasks(
    group: str, *states: str | None, run: str = NIGHT, begun: str = "2026-11-25 03:00"
) -> list[TaskRow]:
    """The tasks of a pull, or of a push; a gate that is through ended at `begun`."""
    pull = ("start_gate", "download", "restore", "sanitise", "promote", "report")
    steps = pull if group.startswith("pull") else ("start_gate", "dump", "upload", "report")
    return [
        TaskRow(
            run=run,
            group=group,
            step=step,
            state=state,
            started=moment(begun) if state else None,
            ended=moment(begun) + dt.timedelta(minutes=number) if state in ("success", "failed") else None,
        )
        for number, (step, state) in enumerate(zip(steps, states, strict=True))
    ]


def a_summary(group: str = "pull_signon", night: int = 23, **values: Any) -> Summary:
    """A good one of the night that began on that day of November 2026."""
    opened = moment(f"2026-11-{night} 22:00")
    return Summary(
        **{
            "environment": "integration",
            "run": f"scheduled__{night}",
            "nightly": True,
            "run_after": opened,
            "group": group,
            "result": Result.OK,
            "skipped": False,
            "quiet": False,
            "undo": False,
            "seconds": 600.0,
            "replaced": group.startswith("pull"),
            "reported": opened + dt.timedelta(hours=6),
            **values,
        }
    )


def a_report(summary: Summary, **values: Any) -> Report:
    return Report(
        **{
            "environment": "integration",
            "sync": summary.group,
            "group": summary.group,
            "run": f"env_sync_integration/{summary.run}",
            "action": "pull",
            "database": "signon",
            "result": summary.result,
            "what": "pulled and promoted",
            "why": (),
            "skipped": summary.skipped,
            "quiet": False,
            "seconds": 600.0,
            "bytes": 2_500_000,
            "dump_key": "signon/2026-11-23T010000Z-signon.gz",
            "source_environment": "staging",
            "data_time": moment("2026-11-23 22:00"),
            "unavailable": 0.2,
            "awaited": None,
            "waited": None,
            "reported": summary.reported,
            "transformations": ("sanitise.sql",),
            "undo": summary.undo,
            "replaced": summary.replaced,
            **values,
        }
    )


def a_sweep(size: int = 1_200_000_000, left: tuple[str, ...] = ()) -> Swept:
    """What a group's tasks found on their workers: a folder of this size, and this."""
    return Swept(
        removed=(Leftover(environment="integration", group="pull_mapit", run="r", size=size),)
        if size
        else (),
        left=left,
    )


def rows(**values: Any) -> Rows:
    """Rows with the reports in full of all summaries, unless said otherwise."""
    summaries = values.get("summaries", ())
    return Rows(
        **{
            "switched_off": False,
            "runs": [a_run()],
            "tasks": [],
            "summaries": (),
            "reports": [a_report(each) for each in summaries],
            "pauses": {},
            **values,
        }
    )


def status(plan: Plan = PLAN, now: dt.datetime = NOW, **values: Any) -> EnvironmentStatus:
    return make_status(plan, rows(**values), now)


def sync(name: str = "pull_signon", plan: Plan = PLAN, now: dt.datetime = NOW, **values: Any) -> SyncStatus:
    return next(each for each in status(plan, now, **values).syncs if each.sync == name)


def attempt(group: str = "pull_signon", now: dt.datetime = NOW, **values: Any) -> Attempt:
    return next(each for each in status(now=now, **values).night.attempts if each.group == group)


RUNNING = tasks("pull_signon", "success", "success", "running", None, None, None)
"""Of a pull that began at 03:00."""


def test_a_sync_at_work_has_its_step_and_an_estimate_of_its_end() -> None:
    seen = attempt(tasks=RUNNING, summaries=[a_summary(seconds=seconds) for seconds in (900, 1200, 6000)])
    assert (seen.phase, seen.step, seen.begun) == (Phase.RUNNING, "restore", moment("2026-11-25 03:00"))
    assert seen.ends == moment("2026-11-25 03:20")


def test_one_that_takes_longer_than_usual_may_end_at_any_moment() -> None:
    assert attempt(tasks=RUNNING, summaries=[a_summary(seconds=60)]).ends == NOW


def test_what_never_ended_well_has_no_estimate() -> None:
    failed = [a_summary(result=Result.CRITICAL), a_summary(skipped=True), a_summary(undo=True)]
    assert attempt(tasks=RUNNING, summaries=failed).ends is None


def test_what_follows_on_the_same_database_is_estimated_from_its_end() -> None:
    past = [a_summary(seconds=7200), a_summary("push_signon", seconds=60), a_summary("pull_shop", seconds=60)]
    waiting = tasks("push_signon", "deferred", None, None, None)
    values: dict[str, Any] = {"tasks": [*RUNNING, *waiting], "summaries": past}
    push = attempt("push_signon", **values)
    assert (push.phase, push.starts, push.ends) == (
        Phase.WAITING,
        moment("2026-11-25 05:00"),
        moment("2026-11-25 05:01"),
    )
    assert attempt("pull_shop", **values).starts == moment("2026-11-25 05:00")


@pytest.mark.parametrize(("hours", "late"), [(4, False), (6, True)])
def test_a_night_that_will_end_after_its_window_is_late(hours: int, late: bool) -> None:
    night = status(tasks=RUNNING, summaries=[a_summary(seconds=hours * 3600)]).night
    assert night.ends == moment("2026-11-25 03:00") + dt.timedelta(hours=hours)
    assert (night.closes, night.late) == (moment("2026-11-25 08:00"), late)


OVER = tasks("pull_signon", "success", "success", "success", "success", "success", "success")
TONIGHT = a_summary(night=24, run=NIGHT, reported=moment("2026-11-25 03:05"))


def test_a_sync_that_is_over_has_its_result() -> None:
    seen = attempt(tasks=OVER, summaries=[TONIGHT])
    assert (seen.phase, seen.result, seen.ended) == (Phase.OVER, Result.OK, moment("2026-11-25 03:05"))


def test_a_group_that_was_cleared_is_at_work_though_its_last_report_is_still_there() -> None:
    assert attempt(tasks=RUNNING, summaries=[TONIGHT]).phase is Phase.RUNNING
    cleared = tasks("pull_signon", None, None, None, None, None, None)
    assert attempt(tasks=cleared, summaries=[TONIGHT]).phase is Phase.WAITING


def test_a_group_whose_report_was_killed_is_critical() -> None:
    killed = tasks("pull_signon", "success", "success", "success", "success", "failed", "failed")
    lost = sync(tasks=killed, summaries=[a_summary()])
    assert lost.result is Result.CRITICAL
    assert "no report" in lost.why[0]
    assert attempt(tasks=killed).phase is Phase.LOST


def test_a_group_that_died_with_its_airflow_is_not_at_work_for_ever() -> None:
    later = NOW + dt.timedelta(days=1)
    old = a_run("scheduled__old", run_after=OPENED)
    stuck = [evolve(task, run="scheduled__old") for task in RUNNING]
    assert replacing_at(PLAN, rows(runs=[old], tasks=stuck), NOW).replacing
    assert not replacing_at(PLAN, rows(runs=[old], tasks=stuck), later).replacing


def test_what_is_due_is_planned_where_no_run_was_started() -> None:
    seen = attempt(runs=[])
    assert (seen.phase, seen.run, seen.planned) == (Phase.PLANNED, None, moment("2026-11-25 03:00"))
    assert (seen.starts, seen.ends) == (None, None)


def test_a_run_by_hand_shows_what_it_was_asked_for_alone() -> None:
    by_hand = a_run("manual__1", run_after=moment("2026-11-25 02:00"), by="mary")
    quiet = a_summary("pull_shop", run="manual__1", quiet=True, skipped=True, nightly=False)
    values: dict[str, Any] = {
        "runs": [a_run(), by_hand],
        "tasks": [
            *tasks("pull_signon", "success", "running", None, None, None, None, run="manual__1"),
            *tasks(
                "pull_shop", "success", "success", "success", "success", "success", "success", run="manual__1"
            ),
        ],
        "summaries": [quiet],
    }
    found = [each for each in status(**values).night.attempts if each.run == "manual__1"]
    assert [(each.group, each.phase, each.nightly) for each in found] == [
        ("pull_signon", Phase.RUNNING, False)
    ]
    assert sync(**values).now == found[0]


def test_what_live_holds_is_of_the_last_run_that_replaced_it() -> None:
    pulled = a_summary(night=22)
    failed = a_summary(night=23, result=Result.CRITICAL, replaced=False)
    seen = sync(summaries=[pulled, failed])
    assert seen.holding is not None
    assert (seen.holding.since, seen.holding.source_environment) == (pulled.reported, "staging")
    assert seen.holding.transformations == ("sanitise.sql",)
    assert seen.last is not None
    assert seen.last.result is Result.CRITICAL


def test_after_an_undo_live_holds_what_it_did_before() -> None:
    undo = a_summary(night=24, run="manual__undo", nightly=False, undo=True)
    seen = sync(summaries=[a_summary(night=23), undo])
    assert seen.holding is not None
    assert seen.holding.undo
    assert seen.freshness.last_success == a_summary(night=23).reported


def test_a_monitor_that_took_no_report_is_said_once() -> None:
    summaries = [a_summary("pull_signon"), a_summary("push_signon"), a_summary("pull_shop")]
    down = ("icinga https://icinga.example did not accept this report: it answered 503",)
    reports = [a_report(each, unsent=() if each.group == "push_signon" else down) for each in summaries]
    [note] = status(summaries=summaries, reports=reports).notes
    assert note == f"the last report of pull_signon, and those of 1 more: {down[0]}"
    assert status(summaries=summaries).notes == ()


def test_only_the_reports_that_are_shown_are_wanted() -> None:
    first, second = a_summary(night=22), a_summary(night=23, result=Result.CRITICAL, replaced=False)
    quiet = a_summary(night=24, quiet=True, skipped=True)
    assert wanted([second, quiet, first]) == {(first.run, first.group), (second.run, second.group)}


def test_a_sync_that_failed_says_why_and_is_critical() -> None:
    failed = a_summary(result=Result.CRITICAL, reported=moment("2026-11-24 03:00"))
    seen = sync(
        summaries=[failed], reports=[a_report(failed, what="restore failed", why=("RestoreFailed: no room",))]
    )
    assert seen.result is Result.CRITICAL
    assert "restore failed; RestoreFailed: no room" in seen.why


def test_a_stale_sync_is_critical_though_its_last_report_is_ok() -> None:
    late = sync(summaries=[a_summary(night=22)])
    assert (late.result, late.why) == (Result.CRITICAL, (late.freshness.what,))
    never = sync()
    assert (never.result, never.last) == (Result.CRITICAL, None)


def test_a_stale_sync_that_is_paused_is_a_warning_and_says_who() -> None:
    pause = Pause(by="mary", why="a migration", until=NOW + dt.timedelta(hours=1))
    seen = sync(pauses={"pull_signon": pause})
    assert (seen.result, seen.pause) == (Result.WARNING, pause)
    assert "mary" in seen.why[0]
    over = evolve(pause, until=NOW)
    assert sync(pauses={"pull_signon": over}).pause is None


def test_a_disabled_sync_is_quiet_and_starts_never() -> None:
    plan = a_plan(a_sync(ensure=Ensure.DISABLED))
    seen = sync(plan=plan)
    assert (seen.result, seen.next_start, seen.enabled) == (Result.OK, None, False)
    assert status(plan).night.attempts == ()


@pytest.mark.parametrize(
    ("now", "start"),
    [
        ("2026-11-25 02:59", "2026-11-25 03:00"),
        ("2026-11-25 03:10", "2026-11-26 03:00"),
        ("2026-11-25 12:00", "2026-11-26 03:00"),
    ],
)
def test_the_next_start(now: str, start: str) -> None:
    assert sync(now=moment(now)).next_start == moment(start)


def test_nothing_starts_next_where_the_dag_is_switched_off_or_missing() -> None:
    assert sync(switched_off=True).next_start is None
    assert "switched off" in status(switched_off=True).notes[0]
    missing = status(switched_off=None, runs=[])
    assert "does not have the DAG" in missing.notes[0]
    assert missing.result is Result.CRITICAL


def test_a_night_that_was_never_started_is_told() -> None:
    yesterday = a_run("scheduled__23", state="success", run_after=OPENED - dt.timedelta(days=1))
    assert "no run was started" in status(runs=[yesterday]).notes[0]
    assert status().notes == ()


def test_the_gravest_comes_first_and_is_the_environments() -> None:
    good = [TONIGHT, a_summary("push_signon"), a_summary("pull_shop")]
    fine = status(summaries=good)
    assert (fine.result, fine.count(Result.OK)) == (Result.OK, 3)
    assert status(summaries=good[:2]).result is Result.CRITICAL

    def result(left_out: str | None) -> Result:
        problem = Problem(place=Place(file="x.yaml", line=1), sync=left_out, read="wrong", right="right")
        return status(plan=evolve(PLAN, problems=(problem,)), summaries=good).result

    assert result(None) is Result.WARNING
    # A sync that cannot run is nowhere else seen to grow old.
    assert result("pull_museum") is Result.CRITICAL


def test_the_last_nights_are_told_the_oldest_first() -> None:
    runs = [a_run(f"scheduled__{day}", run_after=moment(f"2026-11-{day} 22:00")) for day in (22, 23)]
    past = sync(runs=[a_run(), *runs], summaries=[a_summary(night=23, result=Result.WARNING)]).past
    assert [each.result for each in past] == [None, Result.WARNING, None]


def test_replacing_names_what_is_at_work_and_what_is_to_come() -> None:
    now = replacing_at(PLAN, rows(tasks=[*RUNNING, *tasks("push_signon", "deferred", None, None, None)]), NOW)
    assert (now.replacing, now.since, now.databases) == (True, moment("2026-11-25 03:00"), ("signon",))
    assert now.waiting == ("shop",)
    assert (now.open, now.opens, now.closes) == (True, OPENED, moment("2026-11-25 08:00"))


def test_a_push_replaces_nothing() -> None:
    pushing = tasks("push_signon", "success", "running", None, None)
    assert not replacing_at(PLAN, rows(tasks=pushing), NOW).replacing


def test_by_day_the_next_window_is_told() -> None:
    closed = replacing_at(PLAN, rows(runs=[a_run(state="success")]), moment("2026-11-25 12:00"))
    assert (closed.replacing, closed.waiting, closed.open) == (False, (), False)
    assert (closed.opens, closed.closes) == (moment("2026-11-25 22:00"), moment("2026-11-26 08:00"))


def test_a_run_by_hand_by_day_replaces_as_well() -> None:
    by_hand = a_run("manual__1", run_after=moment("2026-11-25 12:00"))
    at_work = tasks("pull_shop", "success", "running", None, None, None, None, run="manual__1")
    found = replacing_at(PLAN, rows(runs=[by_hand], tasks=at_work), moment("2026-11-25 12:05"))
    assert (found.replacing, found.databases, found.open) == (True, ("shop",), False)


def test_the_runs_whose_tasks_matter() -> None:
    old = a_run("scheduled__22", state="success", run_after=moment("2026-11-22 22:00"))
    stuck = a_run("scheduled__21", run_after=moment("2026-11-21 22:00"))
    before = a_run("manual__1", state="success", run_after=moment("2026-11-24 21:00"))
    since = a_run("manual__2", state="failed", run_after=moment("2026-11-25 01:00"))
    found = relevant_runs([a_run(state="success"), old, stuck, before, since], NOW, PLAN.settings)
    assert [run.run for run in found] == [NIGHT, "scheduled__21", "manual__2"]


def test_each_sync_has_a_limit_of_its_own() -> None:
    weekly = a_plan(a_sync(options=Options(fresh_within=dt.timedelta(days=8))))
    assert sync(plan=weekly, summaries=[a_summary(night=20)]).result is Result.OK


def test_what_was_swept_from_workers_last_and_what_lies_there_still() -> None:
    assert status().disks == Disks(at=None, group=None, folders=0, size=0, left=())
    groups = (("pull_signon", 23), ("push_signon", 23), ("pull_shop", 20))
    summaries = [a_summary(group, night) for group, night in groups]
    sweeps = (a_sweep(), a_sweep(0, ("/work/1", "/work/2")), a_sweep(7, ("/work/old",)))
    reports = [a_report(each, swept=swept) for each, swept in zip(summaries, sweeps, strict=True)]
    found = status(summaries=summaries, reports=reports).disks
    assert found == Disks(
        at=summaries[0].reported,
        group="pull_signon",
        folders=1,
        size=1_200_000_000,
        left=("/work/1", "/work/2"),
    )
