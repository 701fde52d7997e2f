"""The operators, given a context as Airflow gives it, on an engine and a store in memory."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    DownstreamTasksSkipped,
    TaskDeferred,
)
from attrs import define, evolve, field
from tenacity import wait_none

from env_sync.airflow.operators import start_gate, step
from env_sync.airflow.operators.classes import operator_class
from env_sync.airflow.operators.config_problems import ConfigProblemsOperator
from env_sync.airflow.operators.night import NightOperator
from env_sync.airflow.operators.outbox import Outbox
from env_sync.airflow.operators.request import RequestOperator
from env_sync.airflow.operators.selection import SelectionOperator
from env_sync.airflow.operators.step import StepOperator
from env_sync.alerts import sending
from env_sync.alerts.alert import Alert
from env_sync.core.errors import AccessRefused, EnvSyncError, RestoreFailed, ServerUnreachable, ToolFailed
from env_sync.core.serialization import from_plain
from env_sync.domain.monitors import Icinga, Nsca
from env_sync.domain.pause import Pause
from env_sync.domain.problem import Problem
from env_sync.domain.report import Report
from env_sync.domain.settings import Options, Window
from env_sync.domain.sync import Ensure, Place, Sync
from env_sync.engines.base.contract import Holder
from env_sync.pipeline import clean_up as finish_module
from env_sync.pipeline import sweep as sweep_module
from env_sync.pipeline.folder_notes import Whose, write_whose
from env_sync.pipeline.session import make_folder
from env_sync.planning.plan import Plan
from tests.unit.core_dumps import core_dumps
from tests.unit.memory_engine import Database, World, open_memory_session, put
from tests.unit.values import a_bucket_sync, a_plan, a_push, a_sync

NOW = dt.datetime.now(dt.UTC)


@define
class Run:
    """One DAG run in memory: what its tasks left, and their states."""

    plan: Plan
    world: World
    scheduled: bool = True
    conf: dict[str, Any] = field(factory=dict)
    run_after: dt.datetime = NOW
    xcom: dict[tuple[str, str], Any] = field(factory=dict)
    states: dict[str, str | None] = field(factory=dict)
    pause: Pause | None = None
    max_tries: int = 2
    unfinished: set[str] = field(factory=set)
    """Other runs that are not over."""
    kept: dict[str, Any] = field(factory=dict)
    """The state store of the report's task, which XCom is not: a new try finds it as it was."""

    @property
    def sync(self) -> Sync:
        """The sync of its first group."""
        sync = self.plan.groups[0].sync
        assert isinstance(sync, Sync)
        return sync

    def context(self, task_id: str) -> Any:
        """What Airflow gives to a task."""

        def pull(*, task_ids: str, key: str = "return_value") -> Any:
            return self.xcom.get((task_ids, key))

        def push(*, key: str, value: Any) -> None:
            self.xcom[task_id, key] = value

        def get_task_states(*, dag_id: str, task_ids: list[str], run_ids: list[str]) -> Any:
            here = {name: self.states[name] for name in task_ids if name in self.states}
            return {run: here for run in run_ids if run == "the_run"}

        def get_dr_count(*, dag_id: str, run_ids: list[str], states: list[str]) -> int:
            return len(self.unfinished.intersection(run_ids))

        def keep(key: str, value: Any, *, retention: dt.timedelta) -> None:
            self.kept[key] = json.loads(json.dumps(value))

        return {
            "task_state_store": SimpleNamespace(get=self.kept.get, set=keep),
            "ti": SimpleNamespace(
                dag_id="env_sync_integration",
                run_id="the_run",
                max_tries=self.max_tries,
                xcom_pull=pull,
                xcom_push=push,
                get_task_states=get_task_states,
                get_dr_count=get_dr_count,
            ),
            "dag_run": SimpleNamespace(
                dag_id="env_sync_integration",
                run_id="the_run",
                run_type="scheduled" if self.scheduled else "manual",
                conf=self.conf,
                run_after=self.run_after,
            ),
        }

    def operator(self, name: str, group: int = 0) -> StepOperator:
        """The operator of a step, as the DAG factory makes it."""
        retries = {"retries": 2} if name in ("start_gate", "report") else {}
        of = self.plan.groups[group]
        return operator_class(of.sync, name)(task_id=name, group=of, plan=self.plan, **retries)

    def do(self, name: str, group: int = 0) -> Any:
        """Run one task as Airflow does: what it left before is removed, its result is kept."""
        task_id = f"{self.plan.groups[group].id}.{name}"
        for key in [key for key in self.xcom if key[0] == task_id]:
            del self.xcom[key]
        self.states[task_id] = "running"
        try:
            result = self.operator(name, group).execute(self.context(task_id))
        except AirflowSkipException:
            self.states[task_id] = "skipped"
            raise
        except TaskDeferred:
            self.states[task_id] = "deferred"
            raise
        except Exception:
            self.states[task_id] = "failed"
            raise
        self.states[task_id] = "success"
        if result is not None:
            self.xcom[task_id, "return_value"] = result
        return result


PULL = ("start_gate", "download", "restore", "sanitise", "promote")


@pytest.fixture
def sync(tmp_path: Path) -> Sync:
    file = tmp_path / "sanitise_signon.sql"
    file.write_text("clean;")
    due = (NOW - dt.timedelta(minutes=1)).strftime("%H:%M")
    return a_sync("pull_signon", due, transformation=file)


@pytest.fixture
def run(sync: Sync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that is due now, with a dump of two hours ago."""
    world = World(live=Database("yesterday;"))
    pushed = NOW - dt.timedelta(hours=2)
    put(world, f"{pushed:%Y-%m-%d %H:%M}", "raw;", sync, data_time=pushed)
    started = (NOW - dt.timedelta(minutes=2)).time().replace(second=0, microsecond=0)
    run = Run(
        plan=a_plan(sync, window=Window(opens=started, closes=started)),
        world=world,
        run_after=NOW - dt.timedelta(minutes=2),
    )

    def open_session(**given: Any) -> Any:
        group, holder = given["group"], given["holder"]
        session = open_memory_session(
            world,
            group.sync,
            run=holder.run,
            attempt=holder.attempt,
            request=given["request"],
            settings=given["settings"],
            pause=given["pause"],
            cancellation=given["cancellation"],
        )
        assert session.holder == holder
        return session

    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path / "work"))
    # What lies in this machine's own is nothing to these tests.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(step, "open_session", open_session)
    monkeypatch.setattr(step, "stored_pause", lambda *_: run.pause)
    monkeypatch.setattr(start_gate, "stored_pause", lambda *_: run.pause)
    monkeypatch.setattr(finish_module, "BETWEEN_ATTEMPTS", 0.0)
    return run


def pull(run: Run, *steps: str) -> None:
    for each in steps or PULL:
        run.do(each)


def upstream_failed(run: Run, *steps: str) -> None:
    for each in steps:
        run.states[f"pull_signon.{each}"] = "upstream_failed"


def trouble(run: Run, where: str, problem: BaseException) -> None:
    def fail() -> None:
        raise problem

    run.world.trouble[where] = fail


def test_a_pull_from_gate_to_report(run: Run) -> None:
    pull(run)
    report = run.do("report")
    assert (report["result"], report["what"], report["why"]) == ("OK", "pulled and promoted", [])
    assert run.world.live is not None
    assert run.world.live.content == "raw;clean;"
    assert run.world.lease is None
    assert list(report["spent"]) == ["download", "restore", "sanitise", "promote"]
    assert {"download", "reading through"} <= report["spent"]["download"]["parts"].keys()


def test_how_incoming_was_closed_is_kept_outside_of_it(run: Run) -> None:
    """Whoever was let in may have changed what incoming itself says."""
    pull(run, *PULL[:-1])
    assert run.xcom["pull_signon.restore", "return_value"]["closed"] == "1"
    assert run.xcom["pull_signon.sanitise", "return_value"]["closed"] == "1"
    # Somebody makes another in its place, with the same proof.
    run.world.made += 1
    with pytest.raises(EnvSyncError, match="PromoteFailed"):
        run.do("promote")
    assert run.world.live == Database("yesterday;")
    # It is restored again, and known by that from then on; also where it was sanitised before.
    for _ in range(2):
        run.do("sanitise")
        assert run.xcom["pull_signon.sanitise", "return_value"]["closed"] == str(run.world.made)
    run.do("promote")
    assert run.world.live is not None
    assert run.world.live.content == "raw;clean;"


def test_results_of_an_earlier_version_keep_nothing_of_how_incoming_was_closed(run: Run) -> None:
    pull(run, *PULL[:3])
    del run.xcom["pull_signon.restore", "return_value"]["closed"]
    assert run.do("sanitise")["closed"] == ""
    del run.xcom["pull_signon.sanitise", "return_value"]["closed"]
    run.do("promote")
    assert run.world.live is not None
    assert run.world.live.content == "raw;clean;"


def test_every_result_is_small_and_plain(run: Run) -> None:
    pull(run)
    run.do("report")
    for (task, key), value in run.xcom.items():
        assert len(repr(value)) < 2000, (task, key)
        assert "raw;" not in repr(value)


class TestStartGate:
    def test_it_defers_to_its_time(self, run: Run) -> None:
        later = (NOW + dt.timedelta(hours=2)).replace(second=0, microsecond=0)
        schedule = evolve(run.plan.groups[0].sync.schedule, times=(later.time(),))
        opens = (NOW - dt.timedelta(minutes=2)).time().replace(second=0, microsecond=0)
        run.plan = a_plan(
            evolve(run.plan.groups[0].sync, schedule=schedule), window=Window(opens=opens, closes=opens)
        )
        with pytest.raises(TaskDeferred) as deferred:
            run.do("start_gate")
        assert deferred.value.trigger.moment == later
        assert deferred.value.method_name == "resume"
        assert run.world.journal == []
        # Cleared by somebody, who may have meant what is upstream: `max_tries` has grown by its tries.
        run.max_tries = 3
        with pytest.raises(TaskDeferred) as deferred:
            run.do("start_gate")
        assert deferred.value.trigger.moment == later
        assert run.world.journal == []

    def test_a_group_that_is_cleared_when_it_was_due_starts_at_once_however_late(self, run: Run) -> None:
        late = evolve(run.plan.groups[0].sync, options=Options(start_deadline=dt.timedelta(seconds=1)))
        run.plan = evolve(run.plan, groups=(evolve(run.plan.groups[0], sync=late),))
        with pytest.raises(AirflowSkipException, match="more than start_deadline"):
            run.do("start_gate")
        run.max_tries = 3
        run.do("start_gate")
        assert run.world.lease is not None

    def test_each_attempt_is_a_new_one(self, run: Run) -> None:
        run.do("start_gate")
        first = run.world.lease
        run.max_tries = 3
        run.do("start_gate")
        assert first is not None
        assert run.world.lease is not None
        assert run.world.lease.attempt != first.attempt
        assert run.xcom["pull_signon.start_gate", "started"]["attempt"] == run.world.lease.attempt

    def test_a_skip_says_why_in_xcom_and_in_the_report(self, run: Run) -> None:
        run.pause = Pause(by="ada", why="load test")
        with pytest.raises(AirflowSkipException, match="paused by ada"):
            run.do("start_gate")
        assert "paused by ada" in run.xcom["pull_signon.start_gate", "skip"]["reason"]
        for each in PULL[1:]:
            run.states[f"pull_signon.{each}"] = "skipped"
        report = run.do("report")
        assert (report["result"], report["what"]) == ("OK", "skipped")
        assert "paused by ada" in report["why"][0]
        assert run.world.journal == []

    def test_a_request_that_is_refused_lets_nothing_through(self, run: Run) -> None:
        run.scheduled, run.conf = False, {"onyl": ["pull_signon"]}
        with pytest.raises(AirflowSkipException, match="did you mean 'only'"):
            run.do("start_gate")
        assert run.world.journal == []

    def test_it_waits_for_a_lease_without_holding_a_worker(self, run: Run) -> None:
        run.world.lease = Holder(run="another", group="g", attempt="a")
        with pytest.raises(TaskDeferred) as deferred:
            run.do("start_gate")
        left = deferred.value.trigger.moment - dt.datetime.now(dt.UTC)
        assert dt.timedelta(seconds=60) < left <= dt.timedelta(seconds=75)
        assert deferred.value.kwargs is not None
        since = deferred.value.kwargs["waiting_since"]
        gate = run.operator("start_gate")
        run.world.lease = None
        context = run.context("pull_signon.start_gate")
        gate.resume(context, event=None, waiting_since=since)  # type: ignore[attr-defined]
        assert run.world.lease is not None

    def test_it_waits_no_longer_than_lease_wait_and_never_again(self, run: Run) -> None:
        run.world.lease = Holder(run="another", group="g", attempt="a")
        since = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=2, seconds=1)).isoformat()
        gate = run.operator("start_gate")
        # AirflowFailException: a retry would wait another two hours.
        with pytest.raises(AirflowFailException, match="LeaseWaitOver: another g holds it"):
            gate.resume(run.context("pull_signon.start_gate"), waiting_since=since)  # type: ignore[attr-defined]

    def test_a_cancel_while_it_waits_ends_it(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        run.world.lease = Holder(run="another", group="g", attempt="a")
        monkeypatch.setattr(start_gate, "LOOK_AGAIN", dt.timedelta(seconds=30))
        gate = run.operator("start_gate")
        run.world.trouble["take_lease at most 4"] = lambda: None
        monkeypatch.setattr(time, "sleep", lambda _: gate.on_kill())
        with pytest.raises(AirflowFailException, match="Cancelled"):
            gate.execute(run.context("pull_signon.start_gate"))


class TestWaitForDump:
    """The run's only dump is of two hours ago; its window opened two minutes ago."""

    def wait(self, run: Run, hours: int = 1, **options: Any) -> None:
        sync = evolve(
            run.plan.groups[0].sync,
            options=Options(wait_for_dump=dt.timedelta(hours=hours), **options),
        )
        run.plan = evolve(run.plan, groups=(evolve(run.plan.groups[0], sync=sync),))

    def resume(self, run: Run, deferred: TaskDeferred) -> None:
        """What Airflow does when the trigger fires."""
        gate = run.operator("start_gate")
        context = run.context("pull_signon.start_gate")
        result = getattr(gate, deferred.method_name)(context, event=None, **(deferred.kwargs or {}))
        if result is not None:
            run.xcom["pull_signon.start_gate", "return_value"] = result
        run.states["pull_signon.start_gate"] = "success"

    def test_it_waits_deferred_and_without_the_lease_and_goes_when_the_dump_is_there(self, run: Run) -> None:
        self.wait(run)
        with pytest.raises(TaskDeferred) as deferred:
            run.do("start_gate")
        left = deferred.value.trigger.moment - dt.datetime.now(dt.UTC)
        assert dt.timedelta(seconds=60) < left <= dt.timedelta(seconds=75)
        assert run.world.journal == ["survey"]
        assert ("pull_signon.start_gate", "started") not in run.xcom
        key = put(run.world, f"{NOW:%Y-%m-%d %H:%M}", "tonight;", run.sync, data_time=NOW)
        self.resume(run, deferred.value)
        assert run.world.journal == ["survey", "survey", "take_lease at most 4"]
        pull(run, *PULL[1:])
        report = run.do("report")
        assert (report["result"], report["dump_key"]) == ("OK", key)
        assert report["awaited"].startswith("a dump of signon begun at ")
        assert report["waited"] >= 0
        assert run.xcom["pull_signon.start_gate", "return_value"]["found"] == key

    def test_a_group_that_was_cleared_before_its_time_waits_as_well(self, run: Run) -> None:
        self.wait(run)
        run.max_tries = 3
        gate = run.operator("start_gate")
        with pytest.raises(TaskDeferred) as deferred:
            gate.resume(run.context("pull_signon.start_gate"), waited_for_time=True)  # type: ignore[attr-defined]
        assert (deferred.value.kwargs or {})["waited_for_time"]
        assert run.world.journal == ["survey"]

    def test_a_dump_that_is_there_is_not_waited_for(self, run: Run) -> None:
        self.wait(run)
        put(run.world, f"{NOW:%Y-%m-%d %H:%M}", "tonight;", run.sync, data_time=NOW)
        run.do("start_gate")
        assert run.world.lease is not None

    def over(self, run: Run) -> None:
        """Make the wait be over: the sync was due longer ago than it waits."""
        run.run_after = NOW - dt.timedelta(hours=2)
        opens = run.run_after.time().replace(second=0, microsecond=0)
        due = (NOW - dt.timedelta(hours=1, minutes=30)).time().replace(second=0, microsecond=0)
        sync = evolve(run.sync, schedule=evolve(run.sync.schedule, times=(due,)))
        run.plan = a_plan(sync, window=Window(opens=opens, closes=opens))
        old = NOW - dt.timedelta(hours=20)
        run.world.objects.clear()
        run.world.manifests.clear()
        put(run.world, f"{old:%Y-%m-%d %H:%M}", "older;", sync, data_time=old)

    def test_when_the_wait_is_over_it_goes_on_with_a_warning(self, run: Run) -> None:
        self.wait(run)
        self.over(run)
        pull(run)
        report = run.do("report")
        assert (report["result"], report["what"]) == ("WARNING", "pulled and promoted")
        assert "begun 20h" in report["why"][0]
        assert run.world.live is not None
        assert run.world.live.content == "older;clean;"

    def test_or_fails_with_live_untouched_and_never_took_the_lease(self, run: Run) -> None:
        self.wait(run, wait_for_dump_then="fail")
        self.over(run)
        with pytest.raises(AirflowFailException, match="DumpNotThere"):
            run.do("start_gate")
        upstream_failed(run, *PULL[1:])
        report = run.do("report")
        assert (report["result"], report["what"]) == ("CRITICAL", "start_gate failed, live was not replaced")
        assert "begun 20h" in report["why"][0]
        assert run.world.journal == ["survey"]
        assert run.world.live == Database("yesterday;")

    def test_a_bucket_that_does_not_answer_is_asked_again(self, run: Run) -> None:
        self.wait(run)
        trouble(run, "survey", ServerUnreachable("no answer"))
        with pytest.raises(TaskDeferred) as deferred:
            run.do("start_gate")
        run.world.trouble.clear()
        put(run.world, f"{NOW:%Y-%m-%d %H:%M}", "tonight;", run.sync, data_time=NOW)
        self.resume(run, deferred.value)
        assert run.world.lease is not None

    def test_one_that_refuses_is_not(self, run: Run) -> None:
        self.wait(run)
        trouble(run, "survey", AccessRefused("no"))
        with pytest.raises(AirflowFailException, match="AccessRefused: no"):
            run.do("start_gate")

    def test_a_pause_that_comes_while_it_waits_stops_it(self, run: Run) -> None:
        self.wait(run)
        with pytest.raises(TaskDeferred) as deferred:
            run.do("start_gate")
        put(run.world, f"{NOW:%Y-%m-%d %H:%M}", "tonight;", run.sync, data_time=NOW)
        run.pause = Pause(by="ada", why="load test")
        with pytest.raises(AirflowSkipException, match="paused by ada"):
            self.resume(run, deferred.value)
        assert run.world.lease is None

    def test_what_the_wait_came_to_is_kept_while_it_then_waits_for_the_lease(self, run: Run) -> None:
        self.wait(run)
        key = put(run.world, f"{NOW:%Y-%m-%d %H:%M}", "tonight;", run.sync, data_time=NOW)
        run.world.lease = Holder(run="another", group="g", attempt="a")
        with pytest.raises(TaskDeferred) as deferred:
            run.do("start_gate")
        run.world.lease = None
        self.resume(run, deferred.value)
        assert run.world.journal.count("survey") == 1
        assert run.xcom["pull_signon.start_gate", "return_value"]["found"] == key

    def test_a_short_rest_of_the_wait_is_slept_through(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.wait(run)
        monkeypatch.setattr(start_gate, "LOOK_AGAIN", dt.timedelta(milliseconds=1))
        sync = run.sync

        def arrives() -> None:
            if run.world.journal.count("survey") == 3:
                put(run.world, f"{NOW:%Y-%m-%d %H:%M}", "tonight;", sync, data_time=NOW)

        run.world.trouble["survey"] = arrives
        run.do("start_gate")
        assert run.world.journal.count("survey") == 3

    @pytest.mark.parametrize("how", ["by hand", "cleared"])
    def test_runs_by_hand_and_cleared_groups_do_not_wait(self, run: Run, how: str) -> None:
        self.wait(run)
        if how == "by hand":
            run.scheduled, run.conf = False, {"only": ["pull_signon"]}
        else:
            run.max_tries = 3
        run.do("start_gate")
        assert run.world.journal == ["take_lease at most 4"]


class TestUndo:
    """A run that makes previous live again, after a pull."""

    @pytest.fixture(autouse=True)
    def _pulled(self, run: Run) -> None:
        pull(run)
        run.do("report")
        run.xcom.clear()
        run.states.clear()
        run.world.journal.clear()
        run.scheduled, run.conf = False, {"restore_previous": "signon"}

    def test_the_group_swaps_back_and_does_nothing_else(self, run: Run) -> None:
        pull(run)
        report = run.do("report")
        assert run.world.journal == [
            "take_lease at most 4",
            "restore_previous",
            "restored_previous",
            "clean_up",
            "release_lease",
        ]
        assert run.world.live == Database("yesterday;")
        assert run.world.previous is not None
        assert run.world.previous.content == "raw;clean;"
        assert (report["result"], report["what"]) == ("WARNING", "previous is live again")
        assert (report["unavailable"], report["dump_key"]) == (0.5, None)
        advice, warning = report["why"]
        assert warning.startswith("signon holds what was live before the first pull")
        assert "env-sync pause integration signon --pull-only" in advice

    def test_doing_it_again_changes_them_back_and_tells_of_which_dump_live_is(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pull(run)
        run.do("report")
        # Another run.
        monkeypatch.setattr("env_sync.airflow.operators.run_context.run_name", lambda _: "another run")
        pull(run)
        report = run.do("report")
        assert run.world.live is not None
        assert run.world.live.content == "raw;clean;"
        assert report["result"] == "OK"
        assert report["dump_key"] in run.world.objects
        assert report["source_environment"] == "staging"
        assert report["data_time"] is not None

    def test_clearing_the_group_of_one_run_does_not_change_them_back(self, run: Run) -> None:
        pull(run)
        run.do("report")
        run.max_tries = 3
        pull(run)
        assert run.do("report")["what"] == "previous is live again"
        assert run.world.live == Database("yesterday;")
        assert run.world.journal.count("restored_previous") == 1

    def test_a_pause_does_not_stop_it(self, run: Run) -> None:
        run.pause = Pause(by="ada", why="the last pull was bad")
        pull(run)
        assert run.world.live == Database("yesterday;")

    def test_old_data_is_what_was_asked_for(self, run: Run) -> None:
        old = NOW - dt.timedelta(days=9)
        live, previous = run.world.live, run.world.previous
        assert live is not None
        assert live.stamp is not None
        assert previous is not None
        previous.stamp = evolve(live.stamp, data_time=old)
        pull(run)
        report = run.do("report")
        assert (report["result"], report["data_time"]) == ("OK", old.isoformat())

    @pytest.mark.parametrize("change", ["another text", None])
    def test_data_that_was_sanitised_in_another_way_than_today_is_a_warning(
        self, run: Run, change: str | None
    ) -> None:
        live, previous = run.world.live, run.world.previous
        assert live is not None
        assert previous is not None
        previous.stamp = live.stamp
        file = run.sync.transformation
        assert file is not None
        file.unlink() if change is None else file.write_text(change)
        pull(run)
        report = run.do("report")
        assert (report["result"], report["what"]) == ("WARNING", "previous is live again")
        said = "could not be seen" if change is None else "was sanitised with sanitise_signon.sql ("
        assert said in report["why"][1]

    def test_what_is_refused_leaves_live_and_is_critical(self, run: Run) -> None:
        assert run.world.previous is not None
        run.world.previous.was_live = False
        pull(run, *PULL[:4])
        with pytest.raises(AirflowFailException, match="PreviousRefused"):
            run.do("promote")
        report = run.do("report")
        assert (report["result"], report["what"]) == ("CRITICAL", "promote failed, live was not replaced")
        assert run.world.live is not None
        assert run.world.live.content == "raw;clean;"

    def test_killed_after_the_swap_it_says_what_live_is(self, run: Run) -> None:
        pull(run, *PULL[:4])
        trouble(run, "restored_previous", KeyError("killed"))
        with pytest.raises(EnvSyncError):
            run.do("promote")
        report = run.do("report")
        assert report["what"] == "promote failed, live is what previous was"

    def test_a_mark_by_hand_is_not_taken_for_an_undo(self, run: Run) -> None:
        pull(run, *PULL[:4])
        run.states["pull_signon.promote"] = "success"
        with pytest.raises(AirflowFailException, match="left no result of this attempt"):
            run.do("report")

    def test_every_other_group_is_skipped_quietly(self, run: Run) -> None:
        run.plan = a_plan(*[group.sync for group in run.plan.groups], a_sync("pull_other", database="other"))
        other = [group.id for group in run.plan.groups].index("pull_other")
        with pytest.raises(AirflowSkipException, match="not selected"):
            run.do("start_gate", other)
        for each in PULL[1:]:
            run.states[f"pull_other.{each}"] = "skipped"
        assert run.do("report", other)["quiet"]

    def test_the_request_is_said_or_refused(self, run: Run) -> None:
        operator = RequestOperator(task_id="request", plan=run.plan)
        assert operator.execute(run.context("request")) == "previous of signon is made live again"
        run.conf = {"restore_previous": "signon", "only": ["all"]}
        with pytest.raises(AirflowFailException, match="cannot be combined"):
            operator.execute(run.context("request"))
        with pytest.raises(AirflowSkipException, match="cannot be combined"):
            run.do("start_gate")
        assert run.world.journal == []


class TestStep:
    @pytest.mark.parametrize(
        ("problem", "again"),
        [
            (ToolFailed("exit 1"), True),
            (RestoreFailed("x"), True),
            (AccessRefused("no"), False),
            (EnvSyncError("x"), False),
            (OSError(28, "No space left on device"), True),
            (KeyError("ada@home.example"), True),
        ],
    )
    def test_only_what_may_pass_is_tried_again(self, run: Run, problem: Exception, again: bool) -> None:
        pull(run, "start_gate", "download")
        trouble(run, "restore", problem)
        with pytest.raises(EnvSyncError if again else AirflowFailException) as raised:
            run.do("restore")
        left = run.xcom["pull_signon.restore", "error"]
        assert left == str(raised.value)
        assert left.startswith(type(problem).__name__)
        assert "ada" not in left

    def test_no_value_of_a_row_is_raised_or_left(self, run: Run) -> None:
        pull(run, "start_gate", "download", "restore")
        trouble(run, "sanitise", psycopg.errors.UniqueViolation("Key (email)=(ada@home.example) exists"))
        with pytest.raises(EnvSyncError) as raised:
            run.do("sanitise")
        assert "ada" not in f"{raised.value}{run.xcom}"
        assert raised.value.__suppress_context__

    def test_a_timeout_says_so(self, run: Run) -> None:
        pull(run, "start_gate", "download")
        trouble(run, "restore", AirflowTaskTimeout("Timeout"))
        with pytest.raises(AirflowTaskTimeout):
            run.operator("restore").execute(run.context("pull_signon.restore"))
        assert "time limit" in run.xcom["pull_signon.restore", "error"]

    def test_whatever_a_cancelled_step_dies_of_it_was_cancelled(self, run: Run) -> None:
        pull(run, "start_gate", "download")
        operator = run.operator("restore")

        def killed() -> None:
            operator.on_kill()
            raise ToolFailed("ended by signal 15")

        run.world.trouble["restore"] = killed
        with pytest.raises(AirflowFailException, match=r"^Cancelled: "):
            operator.execute(run.context("pull_signon.restore"))

    def test_a_group_whose_gate_was_marked_by_hand_does_nothing(self, run: Run) -> None:
        with pytest.raises(AirflowFailException, match="Clear the whole group"):
            run.do("download")
        assert run.world.journal == []

    def test_a_step_whose_input_was_marked_by_hand_does_nothing(self, run: Run) -> None:
        pull(run, "start_gate")
        run.world.journal.clear()
        with pytest.raises(AirflowFailException, match="Clear download"):
            run.do("restore")
        assert run.world.journal == []

    def test_a_sanitise_that_was_marked_by_hand_does_not_promote(self, run: Run) -> None:
        pull(run, "start_gate", "download", "restore")
        run.states["pull_signon.sanitise"] = "success"
        with pytest.raises(AirflowFailException, match="ProofMissing"):
            run.do("promote")
        assert run.world.live == Database("yesterday;")
        report = run.do("report")
        assert (report["result"], report["what"]) == ("CRITICAL", "promote failed, live was not replaced")
        assert run.world.incoming is None

    def test_a_pause_before_promote_is_a_skip(self, run: Run) -> None:
        pull(run, "start_gate", "download", "restore", "sanitise")
        run.pause = Pause(by="ada", why="load test")
        with pytest.raises(AirflowSkipException, match="paused by ada"):
            run.do("promote")
        report = run.do("report")
        assert (report["result"], report["what"], report["skipped"]) == ("OK", "skipped", True)
        assert run.world.live == Database("yesterday;")


class TestReport:
    def test_what_a_cleared_group_left_before_is_not_taken_for_its_own(self, run: Run) -> None:
        # The first attempt was paused at its end; the second fails at download. The skip of promote and
        # the results of restore and sanitise are still there, as those tasks did not start again.
        pull(run, "start_gate", "download", "restore", "sanitise")
        run.pause = Pause(by="ada", why="load test")
        with pytest.raises(AirflowSkipException):
            run.do("promote")
        run.do("report")
        run.pause, run.max_tries = None, 3
        run.do("start_gate")
        trouble(run, "choose", ToolFailed("the bucket is gone"))
        with pytest.raises(EnvSyncError):
            run.do("download")
        upstream_failed(run, "restore", "sanitise", "promote")
        report = run.do("report")
        assert (report["result"], report["what"]) == (
            "CRITICAL",
            "download failed, live was not replaced",
        )
        assert report["why"] == ["ToolFailed: the bucket is gone"]
        assert report["unavailable"] is None

    def test_a_promote_of_an_earlier_attempt_is_not_taken_for_this_ones(self, run: Run) -> None:
        pull(run)
        run.do("report")
        # Somebody clears restore alone: gate and report come with it, sanitise and promote do not.
        run.max_tries = 3
        pull(run, "start_gate", "restore")
        with pytest.raises(AirflowFailException, match="CRITICAL"):
            run.do("report")
        left = run.xcom["pull_signon.report", "return_value"]
        assert (left["result"], left["what"]) == (
            "CRITICAL",
            "promote is marked successful but live is not this attempt's",
        )

    def test_an_upload_of_an_earlier_attempt_is_not_taken_for_this_ones(self, run: Run) -> None:
        # The clock of the dump stands still, that of the report does not.
        run.plan = a_plan(a_push("push_signon", options=Options(max_dump_age=dt.timedelta.max)))
        run.scheduled, run.conf = False, {"only": ["push_signon"]}
        for each in ("start_gate", "dump", "upload"):
            run.do(each)
        assert run.do("report")["result"] == "OK"
        run.max_tries = 3
        for each in ("start_gate", "dump"):
            run.do(each)
        with pytest.raises(AirflowFailException, match="left no result of this attempt"):
            run.do("report")

    def test_it_is_red_where_nothing_else_is(self, run: Run) -> None:
        pull(run)
        trouble(run, "clean_up", AccessRefused("permission denied"))
        with pytest.raises(AirflowFailException, match="could not be cleaned up"):
            run.do("report")
        assert run.xcom["pull_signon.report", "return_value"]["result"] == "CRITICAL"

    def test_it_is_not_where_a_step_is(self, run: Run) -> None:
        pull(run, "start_gate")
        trouble(run, "choose", AccessRefused("whose access"))
        with pytest.raises(AirflowFailException):
            run.do("download")
        upstream_failed(run, "restore", "sanitise", "promote")
        assert run.do("report")["result"] == "CRITICAL"

    def test_a_step_that_was_killed_left_no_word(self, run: Run) -> None:
        pull(run, "start_gate", "download")
        run.states["pull_signon.restore"] = "failed"
        upstream_failed(run, "sanitise", "promote")
        report = run.do("report")
        assert "it was killed, timed out or marked by hand" in report["why"][0]

    def test_what_keeps_it_from_cleaning_up_is_told(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        pull(run)

        def refuse(**_: Any) -> Any:
            raise KeyError("ada@home.example")

        monkeypatch.setattr(step, "open_session", refuse)
        with pytest.raises(AirflowFailException) as raised:
            run.do("report")
        assert "cleaning up could not start: KeyError" in str(raised.value)
        assert "ada" not in str(raised.value)


class TestSweep:
    """Each task removes from its worker what ended attempts left, and the report tells of it."""

    @pytest.fixture
    def left(self, run: Run, tmp_path: Path) -> Path:
        """A raw dump of last night's run, of another group."""
        return self.leave(tmp_path, "last_night", "pull_mapit")

    def leave(self, tmp_path: Path, run: str, group: str) -> Path:
        folder = tmp_path / "work" / f"env_sync_{os.getuid()}" / "integration" / group / run
        make_folder(folder)
        (folder / "dump").write_text("ada@home.example")
        whose = Whose(
            run=f"env_sync_integration/{run}", group=group, environment="integration", attempt="a", made=NOW
        )
        write_whose(folder, whose)
        return folder

    @pytest.mark.parametrize("name", [*PULL, "report"])
    def test_every_task_of_a_group_does(self, run: Run, left: Path, tmp_path: Path, name: str) -> None:
        steps = [*PULL, "report"]
        steps = steps[: steps.index(name)]
        run.unfinished = {"last_night"}
        pull(run, *steps) if steps else None
        assert left.exists()
        run.unfinished = set()
        run.do(name)
        assert not left.exists()
        if name != "report":
            pull(run, *[each for each in (*PULL, "report") if each not in (*steps, name)])
        report = run.xcom["pull_signon.report", "return_value"]
        assert report["result"] == "OK"
        assert report["swept"] == {
            "removed": [
                {
                    "environment": "integration",
                    "group": "pull_mapit",
                    "run": "env_sync_integration/last_night",
                    "size": 16,
                }
            ],
            "left": [],
        }

    def test_what_several_tasks_found_is_told_together(self, run: Run, left: Path, tmp_path: Path) -> None:
        pull(run, "start_gate", "download")
        self.leave(tmp_path, "last_night", "pull_shop")
        pull(run, "restore", "sanitise", "promote")
        report = from_plain(Report, run.do("report"))
        assert report.swept is not None
        assert [each.group for each in report.swept.removed] == ["pull_mapit", "pull_shop"]
        assert (
            "2 work folders of ended attempts removed from workers, 0.0 MB: pull_mapit of "
            "env_sync_integration/last_night, pull_shop of env_sync_integration/last_night" in report.line()
        )

    def test_what_an_earlier_attempt_found_is_not_told_again(self, run: Run, left: Path) -> None:
        pull(run)
        assert run.do("report")["swept"] is not None
        run.max_tries = 3
        pull(run)
        # As it would be, had the group not been cleared as a whole.
        run.xcom["pull_signon.download", "swept"] = {"attempt": "a", "swept": {"removed": [], "left": ["x"]}}
        assert run.do("report")["swept"] is None

    def test_a_gate_that_waits_for_its_lease_keeps_what_it_found_before(
        self, run: Run, left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        operator, context = run.operator("start_gate"), run.context("pull_signon.start_gate")
        run.world.lease = Holder(run="another", group="pull_signon", attempt="x")
        with pytest.raises(TaskDeferred):
            operator.execute(context)
        assert not left.exists()
        run.world.lease = None
        self.leave(tmp_path, "last_night", "pull_shop")
        operator.resume(context)  # type: ignore[attr-defined]
        run.states["pull_signon.start_gate"] = "success"
        pull(run, *PULL[1:])
        assert [each["group"] for each in run.do("report")["swept"]["removed"]] == ["pull_mapit", "pull_shop"]

    def test_what_cannot_be_removed_is_a_warning_with_its_path(
        self, run: Run, left: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(folder: Path) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(sweep_module, "remove_folder", refuse)
        pull(run)
        report = run.do("report")
        assert report["result"] == "WARNING"
        [why] = report["why"]
        assert why == (
            f"{left} of an ended attempt may hold a raw dump and could not be removed (Permission denied): "
            "remove it by hand"
        )
        assert left.exists()

    def test_a_sweep_that_fails_fails_no_task(
        self, run: Run, left: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise KeyError("ada@home.example")

        monkeypatch.setattr(step, "sweep", fail)
        pull(run)
        assert run.do("report")["result"] == "OK"
        assert left.exists()
        warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
        assert len(warnings) == len(PULL) + 1
        assert all(
            each.startswith("Checking this worker for leftovers of ended attempts failed: KeyError")
            for each in warnings
        )
        assert "ada" not in caplog.text

    def test_nothing_is_asked_and_nothing_is_left_where_nothing_lies(self, run: Run) -> None:
        pull(run)
        assert run.do("report")["swept"] is None
        assert not [key for _, key in run.xcom if key == "swept"]

    def test_the_dump_of_the_group_itself_stays_for_its_next_step(self, run: Run) -> None:
        pull(run)
        assert run.world.journal.count("download_dump") == 1


def test_a_task_dumps_no_core_while_it_works(run: Run) -> None:
    pull(run, "start_gate", "download")
    seen: list[tuple[int, int]] = []
    run.world.trouble["restore"] = lambda: seen.append(core_dumps())
    before = core_dumps()
    run.do("restore")
    assert seen == [(0, 0)]
    assert core_dumps() == before


def test_nor_does_a_gate_that_waits_or_a_report(run: Run) -> None:
    seen: list[tuple[int, int]] = []
    for what in ("survey", "clean_up"):
        run.world.trouble[what] = lambda: seen.append(core_dumps())
    before = core_dumps()
    waiting = evolve(run.sync, options=Options(wait_for_dump=dt.timedelta(hours=1)))
    run.plan = evolve(run.plan, groups=(evolve(run.plan.groups[0], sync=waiting),))
    put(run.world, f"{NOW:%Y-%m-%d %H:%M}", "tonight;", run.sync, data_time=NOW)
    pull(run)
    assert len(seen) == 1
    run.do("report")
    assert seen == [(0, 0), (0, 0)]
    assert core_dumps() == before


class TestAlerts:
    """The report task tells each monitor of each report exactly once."""

    FIRST = Nsca(server="first", host="h")
    SECOND = Nsca(server="second", host="h")

    @pytest.fixture
    def told(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
        """Server and summary of each alert that was taken; `down` in its place is raised."""
        run.plan = evolve(run.plan, settings=evolve(run.plan.settings, monitors=(self.FIRST, self.SECOND)))
        told: list[tuple[str, str]] = []

        def send(monitor: Nsca, alert: Alert, *_: Any) -> None:
            if (problem := run.world.trouble.get(monitor.server)) is not None:
                problem()
            told.append((monitor.server, alert.summary))

        monkeypatch.setitem(sending.SENDERS, Nsca, send)
        monkeypatch.setattr(sending, "BETWEEN_ATTEMPTS", wait_none())
        return told

    def test_every_monitor_is_told_once(self, run: Run, told: list[tuple[str, str]]) -> None:
        pull(run)
        report = run.do("report")
        assert sorted(told) == [("first", "OK: pulled and promoted"), ("second", "OK: pulled and promoted")]
        assert report["unsent"] == []
        # The lease was given back before.
        assert run.world.journal[-1] == "release_lease"

    def test_a_try_after_one_that_was_killed_goes_on_from_there(
        self, run: Run, told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pull(run)
        take = Outbox.take

        def killed(outbox: Outbox, monitor: Any) -> None:
            take(outbox, monitor)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Outbox, "take", killed)
            with pytest.raises(KeyboardInterrupt):
                run.operator("report").execute(run.context("pull_signon.report"))
        (taken,) = run.kept["report"]["taken"]
        reported = run.kept["report"]["report"]["reported"]
        run.world.journal.clear()
        report = run.do("report")
        assert (report["what"], report["unsent"]) == ("pulled and promoted", [])
        assert report["reported"] == reported
        # The monitor that had taken it is not told again; what was cleaned up is not cleaned up again.
        first = "first" if "first" in taken else "second"
        assert [server for server, _ in told].count(first) == 1
        assert {server for server, _ in told} == {"first", "second"}
        assert run.world.journal == []

    def test_a_monitor_that_did_not_take_it_is_told_by_the_next_try(
        self, run: Run, told: list[tuple[str, str]]
    ) -> None:
        pull(run)
        trouble(run, "second", ServerUnreachable("second did not answer"))
        report = run.do("report")
        assert [server for server, _ in told] == ["first"]
        assert report["result"] == "OK"
        assert report["unsent"] == [
            "nsca second:5667 did not accept this report: ServerUnreachable: second did not answer"
        ]
        del run.world.trouble["second"]
        assert run.do("report")["unsent"] == []
        assert [server for server, _ in told] == ["first", "second"]

    def test_a_group_that_is_cleared_is_a_new_report(self, run: Run, told: list[tuple[str, str]]) -> None:
        pull(run)
        run.do("report")
        run.max_tries = 3
        trouble(run, "choose", AccessRefused("whose access"))
        run.do("start_gate")
        with pytest.raises(AirflowFailException):
            run.do("download")
        upstream_failed(run, "restore", "sanitise", "promote")
        run.do("report")
        assert [summary.split(":")[0] for server, summary in told if server == "first"] == ["OK", "CRITICAL"]

    def test_a_pause_is_told_as_ok_with_its_reason(self, run: Run, told: list[tuple[str, str]]) -> None:
        run.pause = Pause(by="ada", why="load test")
        with pytest.raises(AirflowSkipException):
            run.do("start_gate")
        run.do("report")
        assert {summary for _, summary in told} == {
            "OK: skipped: paused by ada until it is resumed: load test"
        }

    def test_what_was_not_asked_for_is_told_to_nobody(self, run: Run, told: list[tuple[str, str]]) -> None:
        run.scheduled, run.conf = False, {}
        with pytest.raises(AirflowSkipException):
            run.do("start_gate")
        assert run.do("report")["quiet"]
        assert told == []

    def test_a_red_report_is_told_as_well(self, run: Run, told: list[tuple[str, str]]) -> None:
        pull(run)
        trouble(run, "clean_up", AccessRefused("permission denied"))
        with pytest.raises(AirflowFailException, match="could not be cleaned up"):
            run.do("report")
        assert {summary.split(":")[0] for _, summary in told} == {"CRITICAL"}

    def test_without_a_state_store_it_is_told_all_the_same(
        self, run: Run, told: list[tuple[str, str]]
    ) -> None:
        class Away(dict[str, Any]):
            def get(self, *_: Any) -> Any:
                raise ConnectionError("the API server is away")

            def __setitem__(self, *_: Any) -> None:
                raise ConnectionError("the API server is away")

        run.kept = Away()
        pull(run)
        assert run.do("report")["result"] == "OK"
        assert len(told) == 2

    def test_a_login_that_is_missing_is_told_in_the_report(
        self, run: Run, told: list[tuple[str, str]]
    ) -> None:
        icinga = Icinga(url="https://icinga.example", host="h", connection="no_such_connection")
        run.plan = evolve(run.plan, settings=evolve(run.plan.settings, monitors=(icinga, self.FIRST)))
        pull(run)
        report = run.do("report")
        assert report["result"] == "OK"
        assert "no_such_connection" in report["unsent"][0]
        assert [server for server, _ in told] == ["first"]


class TestOfTheRun:
    def night(self, run: Run) -> str:
        return str(NightOperator(task_id="night", plan=run.plan).execute(run.context("night")))

    def test_the_night_shows_every_report_and_those_that_are_missing(self, run: Run) -> None:
        run.plan = a_plan(*[group.sync for group in run.plan.groups], a_push("push_other", database="other"))
        pull_group = [group.id for group in run.plan.groups].index("pull_signon")
        run.scheduled, run.conf = False, {"only": ["pull_signon"]}
        for each in (*PULL, "report"):
            run.do(each, pull_group)
        assert self.night(run).startswith("0 CRITICAL, 0 WARNING, 1 OK; 1 not asked for\n")
        assert "no report" not in self.night(run)
        run.conf = {"only": ["all"]}
        with pytest.raises(AirflowFailException, match=r"^push_other: "):
            self.night(run)
        assert "CRITICAL: no report of push_other" in run.xcom["night", "return_value"]

    def test_the_night_fails_where_a_report_is_red_and_no_step_is(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(finish_module, "BETWEEN_ATTEMPTS", 0)
        for each in PULL:
            run.do(each)
        trouble(run, "clean_up", AccessRefused("no"))
        with pytest.raises(AirflowFailException):
            run.do("report")
        with pytest.raises(AirflowFailException, match=r"^pull_signon: "):
            self.night(run)
        assert "1 CRITICAL" in run.xcom["night", "return_value"]

    def test_the_night_does_not_fail_where_a_red_step_fails_the_run(self, run: Run) -> None:
        trouble(run, "take_lease at most 4", AccessRefused("no"))
        with pytest.raises(AirflowFailException):
            run.do("start_gate")
        upstream_failed(run, *PULL[1:])
        run.do("report")
        assert "1 CRITICAL" in self.night(run)

    def test_the_night_of_a_refused_request_says_so(self, run: Run) -> None:
        run.scheduled, run.conf = False, {"only": ["nobody"]}
        assert "CRITICAL: the run's request was refused" in self.night(run)

    def skipped(self, run: Run) -> list[str]:
        """The ids of the tasks that the selection skips."""
        try:
            SelectionOperator(task_id="selection", plan=run.plan).execute(run.context("selection"))
        except DownstreamTasksSkipped as skip:
            return list(skip.tasks)
        return []

    def test_what_is_not_asked_for_is_skipped_at_once(self, run: Run) -> None:
        run.plan = a_plan(*[group.sync for group in run.plan.groups], a_push("push_other", database="other"))
        assert self.skipped(run) == []
        run.scheduled, run.conf = False, {"only": ["pull_signon"]}
        assert self.skipped(run) == [
            f"push_other.{step}" for step in ("start_gate", "dump", "upload", "report")
        ]
        run.conf = {"only": ["all"]}
        assert self.skipped(run) == []
        run.conf = {}
        assert {task.split(".")[0] for task in self.skipped(run)} == {"pull_signon", "push_other"}
        run.conf = {"only": ["nobody"]}
        assert self.skipped(run) == []

    def request(self, run: Run) -> str:
        return str(RequestOperator(task_id="request", plan=run.plan).execute(run.context("request")))

    def test_the_request_is_said_or_refused(self, run: Run) -> None:
        assert "the nightly run" in self.request(run)
        run.scheduled = False
        assert "nothing was selected" in self.request(run)
        run.conf = {"only": ["pull_signon"], "timestamp": "2026-11-23T010000Z"}
        assert self.request(run) == "a run by hand of pull_signon, the dump of 2026-11-23T010000Z"
        run.conf = {"onyl": []}
        with pytest.raises(AirflowFailException, match="Nothing was started"):
            self.request(run)

    @pytest.mark.parametrize("kind", ["manual", "backfill", "asset_triggered"])
    def test_only_the_schedule_makes_a_night(self, run: Run, kind: str) -> None:
        context = run.context("request")
        context["dag_run"].run_type = kind
        answer = RequestOperator(task_id="request", plan=run.plan).execute(context)
        assert "nothing was selected" in answer

    def test_config_problems_fail_the_night_but_hold_up_no_run_by_hand(self, run: Run) -> None:
        problem = Problem(place=Place("a.yaml", 3), sync="x", read="hour 25", right="0 to 23")
        plan = evolve(run.plan, problems=(problem,))
        operator = ConfigProblemsOperator(task_id="config_problems", plan=plan)
        with pytest.raises(AirflowFailException):
            operator.execute(run.context("config_problems"))
        run.scheduled = False
        with pytest.raises(AirflowSkipException):
            operator.execute(run.context("config_problems"))
        assert run.xcom["config_problems", "problems"] == ["a.yaml:3: hour 25; 0 to 23"]


def test_a_disabled_sync_is_skipped_at_night_and_runs_by_hand(run: Run) -> None:
    sync = evolve(run.plan.groups[0].sync, ensure=Ensure.DISABLED, options=Options())
    run.plan = evolve(run.plan, groups=(evolve(run.plan.groups[0], sync=sync),))
    with pytest.raises(AirflowSkipException, match="disabled"):
        run.do("start_gate")
    run.scheduled, run.conf = False, {"only": ["pull_signon"]}
    pull(run)
    assert run.do("report")["result"] == "OK"


class TestBucketSync:
    @pytest.fixture
    def mirror(self, run: Run) -> Run:
        """The same run with a bucket sync in place of the pull."""
        run.plan = a_plan(a_bucket_sync("mirror_assets", f"{NOW - dt.timedelta(minutes=1):%H:%M}"))
        run.scheduled, run.conf = False, {"only": ["mirror_assets"]}
        return run

    def test_from_gate_to_report(self, mirror: Run) -> None:
        mirror.do("start_gate")
        mirror.do("bucket_sync")
        report = mirror.do("report")
        assert report["result"] == "OK"
        assert report["what"] == "mirrored: 3 objects copied, 1 deleted, 6 unchanged"
        assert (report["bytes"], report["action"]) == (30, "bucket_sync")
        assert mirror.world.journal == [
            "look_at_mirrored",
            "look_at_mirrored",
            "mirror govuk-assets-staging to govuk-assets-integration",
        ]

    def test_a_failure_says_what_is_left(self, mirror: Run) -> None:
        mirror.do("start_gate")
        trouble(mirror, "look_at_mirrored", AccessRefused("s3://govuk-assets-staging: refused."))
        with pytest.raises(AirflowFailException, match="refused"):
            mirror.do("bucket_sync")
        report = mirror.do("report")
        assert report["result"] == "CRITICAL"
        assert "may be partly mirrored" in report["what"]
        assert report["why"] == ["AccessRefused: s3://govuk-assets-staging: refused."]

    def test_a_pause_skips_it(self, mirror: Run) -> None:
        mirror.pause = Pause(by="alex", why="moving", since=NOW, until=NOW + dt.timedelta(hours=1))
        with pytest.raises(AirflowSkipException, match="moving"):
            mirror.do("start_gate")
        mirror.states["mirror_assets.bucket_sync"] = "skipped"
        report = mirror.do("report")
        assert report["skipped"]
        assert mirror.world.journal == []

    def test_one_that_was_marked_by_hand_is_seen(self, mirror: Run) -> None:
        mirror.do("start_gate")
        mirror.states["mirror_assets.bucket_sync"] = "success"
        with pytest.raises(AirflowFailException, match="left no result of this attempt"):
            mirror.do("report")
