"""A run that the schedule starts in a real Airflow, while people work on the same syncs."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.acceptance.caller import API, Caller
from tests.acceptance.scene import Scene, nightly

pytestmark = pytest.mark.timeout(600)

DAG = "env_sync_nightly"


@pytest.fixture(scope="module")
def scheduled(scene: Scene) -> str:
    """The id of a nightly run, started by the schedule when the window opened."""
    now = dt.datetime.now(dt.UTC)
    opens = (now + dt.timedelta(seconds=90)).replace(second=0, microsecond=0)
    (scene.hieradata / "nightly.yaml").write_text(nightly(opens, scene.replay.url))
    scene.api.wait_for_dag(DAG)
    scene.api.unpause_dag(DAG)
    found = scene.api.wait_for(
        lambda: [
            run
            for run in scene.api.runs(DAG, run_type="scheduled")
            if run.raw["run_after"] >= opens.isoformat()[:16]
        ],
        "the schedule to start the nightly run",
        180,
    )
    run_id: str = found[0].id
    return run_id


def test_a_sync_that_is_due_runs(scene: Scene, scheduled: str) -> None:
    states = scene.api.wait_for_group(DAG, scheduled, "pull_shop", 300)
    assert set(states.values()) == {"success"}
    assert scene.sanitised("nightly", "shop")


def test_a_late_start_is_skipped_with_a_warning(scene: Scene, scheduled: str) -> None:
    scene.api.wait_for_group(DAG, scheduled, "pull_museum", 300)
    report = scene.report("nightly", scheduled, "pull_museum")
    assert report["result"] == "WARNING", (report, scene.api.states(DAG, scheduled))
    assert "start_deadline" in " ".join(report["why"])
    assert all(email.startswith("old-") for email in scene.emails("nightly", "museum"))


def test_a_pull_waits_deferred_for_tonights_dump_and_takes_it(scene: Scene, scheduled: str) -> None:
    scene.api.wait_for_task(DAG, scheduled, "pull_gallery.start_gate", ["deferred"], 180)
    log = scene.api.log(DAG, scheduled, "pull_gallery.start_gate")
    assert "a dump of gallery begun at" in log
    assert "the newest whole one is" in log
    assert all(email.startswith("old-") for email in scene.emails("nightly", "gallery"))
    # It waits before it takes the lease, so that live can be pulled or pushed meanwhile.
    leases = scene.targets["nightly"].execute("SELECT database FROM lease", database="env_sync")
    assert ("gallery",) not in leases
    pushed = scene.trigger("production", only=["push_gallery"])
    scene.finish("production", pushed)
    key = scene.api.xcom("env_sync_production", pushed, "push_gallery.upload")["dump_key"]
    states = scene.api.wait_for_group(DAG, scheduled, "pull_gallery", 300)
    assert set(states.values()) == {"success"}
    assert scene.sanitised("nightly", "gallery")
    report = scene.report("nightly", scheduled, "pull_gallery")
    assert (report["result"], report["dump_key"]) == ("OK", key)
    assert report["awaited"].startswith("a dump of gallery begun at")
    assert report["waited"] > 0


def test_a_pull_fails_when_tonights_dump_does_not_come_in_time(scene: Scene, scheduled: str) -> None:
    states = scene.api.wait_for_group(DAG, scheduled, "pull_shop_again", 300)
    assert states["pull_shop_again.start_gate"] == "failed"
    report = scene.report("nightly", scheduled, "pull_shop_again")
    assert report["result"] == "CRITICAL"
    assert "wait_for_dump" in " ".join(report["why"])
    assert scene.sanitised("nightly", "shop")


def test_a_waiting_sync_is_deferred_and_runs_by_hand_meanwhile(scene: Scene, scheduled: str) -> None:
    gate = scene.api.wait_for_task(DAG, scheduled, "pull_library.start_gate", ["deferred"], 120)
    assert gate.state == "deferred"
    by_hand = scene.trigger("nightly", only=["pull_library"])
    scene.finish("nightly", by_hand)
    assert scene.sanitised("nightly", "library")
    assert scene.api.task(DAG, scheduled, "pull_library.start_gate").state == "deferred"
    # As Airflow's dialog does with what is downstream of another group: it still waits for its time.
    scene.api.clear_group(DAG, scheduled, "pull_library")
    gate = scene.api.wait_for_task(DAG, scheduled, "pull_library.start_gate", ["deferred", "success"], 120)
    assert (gate.state, gate.try_number) == ("deferred", 2)


def test_a_late_sync_runs_at_once_when_its_group_is_cleared(scene: Scene, scheduled: str) -> None:
    scene.api.wait_for_group(DAG, scheduled, "pull_museum", 300)
    scene.api.clear_group(DAG, scheduled, "pull_museum")
    scene.api.wait_for_group(DAG, scheduled, "pull_museum", 120)
    assert scene.sanitised("nightly", "museum")


def test_a_problem_of_the_configuration_fails_loudly_and_alone(scene: Scene, scheduled: str) -> None:
    task = scene.api.wait_for_task(DAG, scheduled, "config_problems", ["failed"], 120)
    assert task.state == "failed"
    log = scene.api.log(DAG, scheduled, "config_problems")
    assert "nightly.yaml:" in log
    assert "25" in log
    by_hand = scene.trigger("nightly", only=["pull_shop"])
    scene.finish("nightly", by_hand)


def test_others_are_told_before_and_after_data_is_replaced(scene: Scene, scheduled: str) -> None:
    told = scene.replay.told
    (begun,) = [each.json for each in told if each.json["run"] == f"{DAG}/{scheduled}"]
    assert begun["event"] == "replacing_begins"
    assert {"shop", "library", "archive"} <= set(begun["databases"])
    before = len(told)
    by_hand = scene.trigger("nightly", only=["pull_shop"])
    scene.finish("nightly", by_hand)
    assert [(each.path, each.json) for each in told[before:]] == [
        (
            path,
            {
                "event": event,
                "environment": "nightly",
                "run": f"{DAG}/{by_hand}",
                "databases": ["shop"],
            },
        )
        for path, event in (("/pause", "replacing_begins"), ("/go-on", "replacing_ends"))
    ]


def test_a_rerun_by_the_board_tells_others_again_and_needs_a_dag_that_is_switched_on(
    scene: Scene, scheduled: str
) -> None:
    scene.api.wait_for_group(DAG, scheduled, "pull_shop_again", 300)
    rerun = f"{API}/environments/nightly/rerun"
    asked = {"run": scheduled, "groups": ["pull_shop_again"]}
    admin = Caller(scene, "admin")
    scene.api.pause_dag(DAG)
    refused = admin("POST", rerun, asked)
    scene.api.unpause_dag(DAG)
    assert (refused.status_code, "switched off" in refused.text) == (400, True)
    before = len(scene.replay.told)
    assert admin("POST", rerun, asked).status_code == 200
    states = scene.api.wait_for_group(DAG, scheduled, "pull_shop_again", 300)
    assert set(states.values()) == {"success"}
    # This run's end is told once its last sync has had its turn.
    (begun,) = [each.json for each in scene.replay.told[before:]]
    assert (begun["event"], begun["run"]) == ("replacing_begins", f"{DAG}/{scheduled}")
