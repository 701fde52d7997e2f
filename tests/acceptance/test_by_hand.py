"""Runs by hand in a real Airflow: choosing, failing, pausing, clearing, cancelling."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from sandbox.airflow_api import ApiRefused
from tests.acceptance.scene import BUCKET, DATABASES, Scene, running_transformation, task_at_work

pytestmark = pytest.mark.timeout(600)

DAG = "env_sync_integration"


def test_production_was_pushed_with_manifests_and_pointers(scene: Scene) -> None:
    keys = scene.s3.keys(BUCKET)
    for database in DATABASES:
        assert f"databases/latest-{database}.txt" in keys
        assert [key for key in keys if key.endswith(f"-{database}.gz")]
        assert [key for key in keys if key.endswith(f"-{database}.json") and not key.startswith("databases/")]


def test_one_sync_runs_alone_and_leaves_live_sanitised(scene: Scene) -> None:
    run = scene.trigger("integration", only=["pull_shop"])
    scene.finish("integration", run)
    assert scene.sanitised("integration", "shop")
    states = scene.api.states(DAG, run)
    assert states["pull_shop.promote"] == "success"
    assert states["pull_library_badly.start_gate"] == "skipped"
    assert states["pull_library_badly.report"] == "skipped"
    report = scene.report("integration", run, "pull_shop")
    assert report["result"] == "OK", report
    assert report["bytes"] > 0
    assert report["unavailable"] < 60
    assert report["source_environment"] == "production"
    table = scene.api.xcom(DAG, run, "night")
    assert "pull_shop" in table
    assert "not asked for" in table
    assert scene.leftovers("integration") == set()


def test_a_failing_sync_fails_the_run_alone_and_shows_no_row(scene: Scene) -> None:
    before = scene.emails("integration", "library")
    run = scene.trigger("integration", only=["pull_shop", "pull_library_badly"])
    scene.finish("integration", run, "failed")
    assert scene.report("integration", run, "pull_shop")["result"] == "OK"
    report = scene.report("integration", run, "pull_library_badly")
    assert report["result"] == "CRITICAL"
    assert "fails.sql" in " ".join(report["why"])
    assert scene.emails("integration", "library") == before
    assert scene.leftovers("integration") == set()
    for file in (scene.airflow.logs).rglob("*.log"):
        assert "@personal.test" not in file.read_text(errors="replace"), file


def test_nothing_selected_does_nothing_and_says_so(scene: Scene) -> None:
    run = scene.trigger("integration")
    scene.finish("integration", run)
    assert "nothing was selected" in scene.api.xcom(DAG, run, "request")
    assert "Nothing ran" in scene.api.xcom(DAG, run, "night")


def test_an_unknown_sync_is_refused_by_rest(scene: Scene) -> None:
    with pytest.raises(ApiRefused) as refused:
        scene.trigger("integration", only=["pull_shoppe"])
    assert refused.value.status == 400


def test_an_unknown_key_fails_the_run_before_any_sync_starts(scene: Scene) -> None:
    run = scene.trigger("integration", onyl=["pull_shop"])
    scene.finish("integration", run, "failed")
    states = scene.api.states(DAG, run)
    assert states["request"] == "failed"
    assert states["pull_shop.start_gate"] == "skipped"
    assert "did you mean" in scene.api.log(DAG, run, "request")


def test_a_viewer_may_not_start_a_run(scene: Scene) -> None:
    with pytest.raises(ApiRefused) as refused:
        scene.viewer.trigger(DAG, conf={"only": ["pull_shop"]})
    assert refused.value.status == 403


def test_a_pause_skips_visibly_and_ends_by_itself(scene: Scene) -> None:
    key = "env_sync_pause_integration_pull_shop"
    until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    record = {"by": "on-call", "why": "a release is being tested", "until": until.isoformat()}
    scene.api.set_variable(key, json.dumps(record))
    paused = scene.trigger("integration", only=["pull_shop"])
    scene.finish("integration", paused)
    assert scene.api.states(DAG, paused)["pull_shop.start_gate"] == "skipped"
    for told in (
        " ".join(scene.report("integration", paused, "pull_shop")["why"]),
        scene.api.log(DAG, paused, "pull_shop.start_gate"),
        scene.api.xcom(DAG, paused, "night"),
    ):
        assert "paused by on-call until" in told
        assert "a release is being tested" in told
    ignoring = scene.trigger("integration", only=["pull_shop"], ignore_pauses=True)
    scene.finish("integration", ignoring)
    assert scene.api.states(DAG, ignoring)["pull_shop.promote"] == "success"
    record["until"] = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)).isoformat()
    scene.api.set_variable(key, json.dumps(record))
    resumed = scene.trigger("integration", only=["pull_shop"])
    scene.finish("integration", resumed)
    assert scene.api.states(DAG, resumed)["pull_shop.promote"] == "success"
    scene.api.delete_variable(key)


def test_a_disabled_sync_runs_when_it_is_named(scene: Scene) -> None:
    run = scene.trigger("integration", only=["pull_archive"])
    scene.finish("integration", run)
    assert scene.sanitised("integration", "archive")


def test_clearing_one_group_runs_just_that_group_again(scene: Scene) -> None:
    run = scene.trigger("integration", only=["pull_shop", "pull_archive"])
    scene.finish("integration", run)
    before = scene.api.task(DAG, run, "pull_archive.promote")
    scene.targets["integration"].execute("UPDATE people SET email = 'changed by hand'", database="shop")
    scene.api.clear_group(DAG, run, "pull_shop")
    scene.finish("integration", run)
    assert scene.sanitised("integration", "shop")
    assert scene.api.task(DAG, run, "pull_archive.promote").raw["try_number"] == before.raw["try_number"]
    assert scene.api.task(DAG, run, "pull_shop.promote").raw["try_number"] == 2


def _ended(scene: Scene) -> bool:
    rows = scene.targets["integration"].execute(
        "SELECT 1 FROM pg_stat_activity WHERE datname LIKE 'museum%%' AND application_name LIKE 'env_sync%%'"
    )
    return not rows


@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_sanitise_stopped_by_hand_never_promotes_and_leaves_nothing(scene: Scene, state: str) -> None:
    before = scene.emails("integration", "museum")
    run = scene.trigger("integration", only=["pull_museum_slowly"])
    scene.api.wait_for(lambda: running_transformation(scene), "the transformation to run", 120)
    scene.api.mark_task(DAG, run, "pull_museum_slowly.sanitise", state)
    scene.finish("integration", run, "failed")
    assert scene.report("integration", run, "pull_museum_slowly")["result"] == "CRITICAL"
    assert scene.emails("integration", "museum") == before
    assert scene.leftovers("integration") == set()
    scene.api.wait_for(lambda: _ended(scene), "the sessions of the cancelled step to end", 30)


def test_a_killed_task_is_reported_once_and_leaves_nothing(scene: Scene) -> None:
    before = scene.emails("integration", "museum")
    run = scene.trigger("integration", only=["pull_museum_slowly"])
    scene.api.wait_for(lambda: running_transformation(scene), "the transformation to run", 120)
    task_at_work(scene).kill()
    scene.finish("integration", run, "failed")
    report = scene.report("integration", run, "pull_museum_slowly")
    assert report["result"] == "CRITICAL"
    assert "sanitise" in report["what"]
    assert scene.emails("integration", "museum") == before
    assert scene.leftovers("integration") == set()
    scene.api.wait_for(lambda: _ended(scene), "the sessions of the killed step to end", 30)
