"""A run that the schedule starts in a real Airflow, while people work on the same syncs."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from attrs import frozen

from sandbox.airflow_api import TASK_OVER
from tests.acceptance.caller import API, Caller
from tests.acceptance.scene import Scene, nightly

DAG = "env_sync_nightly"
WAITING = ("deferred", *TASK_OVER)
"""The states in which a task waits, or no longer does."""


@frozen
class Night:
    """A nightly run, started by the schedule when the window opened; moments are UTC."""

    run: str
    opened: dt.datetime


def the_night(scene: Scene) -> Night:
    """The one night of these tests. It begins when the first of them asks for it."""
    return scene.once("the night", lambda: _begin(scene))


def _begin(scene: Scene) -> Night:
    """Make the environment, whose window opens in some minutes, and wait until its run is there."""
    scene.hold("nightly", "archive")
    opens = _announce(scene)
    scene.switch_on("nightly")
    run = f"scheduled__{opens.isoformat()}"
    scene.api.wait_for_run(DAG, run, states=["queued", "running"])
    return Night(run, opens)


def _announce(scene: Scene, minutes: int = 1) -> dt.datetime:
    """Have Airflow know the environment before its window opens; gives when that is.

    Where the window opens before Airflow has read that it does, there is a minute more the next time.
    """
    opens = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes, seconds=30)
    opens = opens.replace(second=0, microsecond=0)
    (scene.hieradata / "nightly.yaml").write_text(nightly(opens, scene.replay.url))
    scene.api.parse_again("env_sync_production")
    last = opens - dt.timedelta(days=1)

    def first_opening() -> dt.datetime | None:
        """The last opening when Airflow read the file, of which the schedule would start a run."""
        dag = scene.api.dag(DAG)
        found = dt.datetime.fromisoformat(dag["next_dagrun_logical_date"]) if dag else None
        return found if found in (last, opens) else None

    known = scene.api.wait_for(first_opening, f"Airflow to know when the window of {DAG} opens")
    return opens if known == last else _announce(scene, minutes + 1)


def skipped_late(scene: Scene) -> Night:
    """The night, once a sync that had to wait for a held one for longer than its deadline was skipped."""

    def wait() -> Night:
        night = the_night(scene)
        deadline = night.opened + dt.timedelta(minutes=1)
        scene.api.wait_for(lambda: dt.datetime.now(dt.UTC) > deadline, "the deadline to pass")
        scene.release("nightly", "archive")
        scene.api.wait_for_group(DAG, night.run, "pull_museum")
        return night

    return scene.once("skipped late", wait)


@pytest.mark.lane("nightly shop")
def test_a_sync_that_is_due_runs(scene: Scene) -> None:
    states = scene.api.wait_for_group(DAG, the_night(scene).run, "pull_shop")
    assert set(states.values()) == {"success"}
    assert scene.sanitised("nightly", "shop")


@pytest.mark.lane("nightly museum")
def test_a_late_start_is_skipped_with_a_warning(scene: Scene) -> None:
    night = skipped_late(scene)
    report = scene.report("nightly", night.run, "pull_museum")
    assert report["result"] == "WARNING", (report, scene.api.states(DAG, night.run))
    assert "start_deadline" in " ".join(report["why"])
    assert scene.untouched("nightly", "museum")


@pytest.mark.lane("nightly gallery")
def test_a_pull_waits_deferred_for_tonights_dump_and_takes_it(scene: Scene) -> None:
    scheduled = the_night(scene).run
    gate = scene.api.wait_for_task(DAG, scheduled, "pull_gallery.start_gate", WAITING)
    assert gate.state == "deferred"
    log = scene.api.log(DAG, scheduled, "pull_gallery.start_gate")
    assert "a dump of gallery begun at" in log
    assert "the newest whole one is" in log
    assert scene.untouched("nightly", "gallery")
    # It waits before it takes the lease, so that live can be pulled or pushed meanwhile.
    leases = scene.servers["nightly"].execute("SELECT database FROM lease", database="env_sync")
    assert ("gallery",) not in leases
    pushed = scene.run("production", only=["push_gallery"])
    key = scene.api.xcom("env_sync_production", pushed, "push_gallery.upload")["dump_key"]
    states = scene.api.wait_for_group(DAG, scheduled, "pull_gallery")
    assert set(states.values()) == {"success"}
    assert scene.sanitised("nightly", "gallery")
    report = scene.report("nightly", scheduled, "pull_gallery")
    assert (report["result"], report["dump_key"]) == ("OK", key)
    assert report["awaited"].startswith("a dump of gallery begun at")
    assert report["waited"] > 0


@pytest.mark.lane("nightly shop")
def test_a_pull_fails_when_tonights_dump_does_not_come_in_time(scene: Scene) -> None:
    scheduled = the_night(scene).run
    states = scene.api.wait_for_group(DAG, scheduled, "pull_shop_again")
    assert states["pull_shop_again.start_gate"] == "failed"
    report = scene.report("nightly", scheduled, "pull_shop_again")
    assert report["result"] == "CRITICAL"
    assert "wait_for_dump" in " ".join(report["why"])
    assert scene.sanitised("nightly", "shop")


@pytest.mark.lane("nightly library")
def test_a_waiting_sync_is_deferred_and_runs_by_hand_meanwhile(scene: Scene) -> None:
    scheduled = the_night(scene).run
    gate = scene.api.wait_for_task(DAG, scheduled, "pull_library.start_gate", WAITING)
    assert gate.state == "deferred"
    scene.run("nightly", only=["pull_library"])
    assert scene.sanitised("nightly", "library")
    assert scene.api.task(DAG, scheduled, "pull_library.start_gate").state == "deferred"
    # As Airflow's dialog does with what is downstream of another group: it still waits for its time.
    scene.api.clear_group(DAG, scheduled, "pull_library")
    gate = scene.api.wait_for_task(DAG, scheduled, "pull_library.start_gate", WAITING)
    assert (gate.state, gate.try_number) == ("deferred", 2)


@pytest.mark.lane("nightly museum")
def test_a_late_sync_runs_at_once_when_its_group_is_cleared(scene: Scene) -> None:
    scheduled = skipped_late(scene).run
    scene.api.clear_group(DAG, scheduled, "pull_museum")
    scene.api.wait_for_group(DAG, scheduled, "pull_museum")
    assert scene.sanitised("nightly", "museum")


@pytest.mark.lane("nightly shop")
def test_a_problem_of_the_configuration_fails_loudly_and_alone(scene: Scene) -> None:
    scheduled = the_night(scene).run
    task = scene.api.wait_for_task(DAG, scheduled, "config_problems")
    assert task.state == "failed"
    log = scene.api.log(DAG, scheduled, "config_problems")
    assert "nightly.yaml:" in log
    assert "25" in log
    assert scene.report("nightly", by_hand(scene), "pull_shop")["result"] == "OK"


@pytest.mark.lane("nightly shop")
def test_others_are_told_before_and_after_data_is_replaced(scene: Scene) -> None:
    ((path, begun),) = told(scene, the_night(scene).run)
    assert (path, begun["event"]) == ("/pause", "replacing_begins")
    assert {"shop", "library", "archive"} <= set(begun["databases"])
    run = by_hand(scene)
    assert told(scene, run) == [
        (
            path,
            {"event": event, "environment": "nightly", "run": f"{DAG}/{run}", "databases": ["shop"]},
        )
        for path, event in (("/pause", "replacing_begins"), ("/go-on", "replacing_ends"))
    ]


@pytest.mark.lane("nightly shop")
def test_a_rerun_by_the_board_tells_others_again_and_needs_a_dag_that_is_switched_on(scene: Scene) -> None:
    scheduled = the_night(scene).run
    scene.api.wait_for_group(DAG, scheduled, "pull_shop_again")
    rerun = f"{API}/environments/nightly/rerun"
    asked = {"run": scheduled, "groups": ["pull_shop_again"]}
    admin = Caller(scene, "admin")
    scene.api.pause_dag(DAG)
    refused = admin("POST", rerun, asked)
    scene.api.unpause_dag(DAG)
    assert (refused.status_code, "switched off" in refused.text) == (400, True)
    before = len(told(scene, scheduled))
    assert admin("POST", rerun, asked).status_code == 200
    states = scene.api.wait_for_group(DAG, scheduled, "pull_shop_again")
    assert set(states.values()) == {"success"}
    # This run's end is told once its last sync has had its turn.
    ((_, begun),) = told(scene, scheduled)[before:]
    assert begun["event"] == "replacing_begins"


def by_hand(scene: Scene) -> str:
    """A run by hand of one of the night's syncs, once that has run; it is over."""

    def make() -> str:
        scene.api.wait_for_group(DAG, the_night(scene).run, "pull_shop")
        return scene.run("nightly", only=["pull_shop"])

    return scene.once("by hand at night", make)


def told(scene: Scene, run: str) -> list[tuple[str, dict[str, Any]]]:
    """What was told of a run, and where."""
    return [(each.path, each.json) for each in scene.replay.told if each.json["run"] == f"{DAG}/{run}"]
