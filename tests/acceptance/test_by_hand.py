"""Runs by hand in a real Airflow: choosing, failing, pausing, clearing, cancelling."""

from __future__ import annotations

import datetime as dt

import pytest

from sandbox.airflow_api import ApiRefused
from tests.acceptance.scene import BUCKET, DATABASES, Scene
from tests.acceptance.shared_runs import (
    PAUSE,
    REASON,
    STAGING,
    TRAINING,
    cleared,
    failed,
    killed,
    pause,
    paused,
)

STAGED = ("theatre", "library", "cinema")
"""Staging's databases, which the runs of one lane alone replace."""

by_hand = pytest.mark.lane("by hand")
killing = pytest.mark.lane("killing")


@by_hand
def test_production_was_pushed_with_manifests_and_pointers(scene: Scene) -> None:
    keys = scene.s3.keys(BUCKET)
    for database in DATABASES:
        assert f"databases/latest-{database}.txt" in keys
        assert [key for key in keys if key.endswith(f"-{database}.gz")]
        assert [key for key in keys if key.endswith(f"-{database}.json") and not key.startswith("databases/")]


@by_hand
def test_one_sync_runs_alone_and_leaves_live_sanitised(scene: Scene) -> None:
    run = scene.run("staging", only=["pull_theatre"])
    assert scene.sanitised("staging", "theatre")
    states = scene.api.states(STAGING, run)
    assert states["pull_theatre.promote"] == "success"
    assert states["pull_library_badly.start_gate"] == "skipped"
    assert states["pull_library_badly.report"] == "skipped"
    report = scene.report("staging", run, "pull_theatre")
    assert report["result"] == "OK", report
    assert report["bytes"] > 0
    assert report["unavailable"] < 60
    assert report["source_environment"] == "production"
    table = scene.api.xcom(STAGING, run, "night")
    assert "pull_theatre" in table
    assert "not asked for" in table
    assert scene.leftovers("staging", *STAGED) == set()


@by_hand
def test_a_failing_sync_fails_the_run_alone_and_shows_no_row(scene: Scene) -> None:
    run = failed(scene)
    assert scene.report("staging", run, "pull_theatre")["result"] == "OK"
    report = scene.report("staging", run, "pull_library_badly")
    assert report["result"] == "CRITICAL"
    assert "fails.sql" in " ".join(report["why"])
    assert scene.untouched("staging", "library")
    assert scene.leftovers("staging", *STAGED) == set()
    for file in scene.airflow.logs.rglob("*.log"):
        assert "@personal.test" not in file.read_text(errors="replace"), file


@by_hand
def test_nothing_selected_does_nothing_and_says_so(scene: Scene) -> None:
    run = scene.run("staging")
    assert "nothing was selected" in scene.api.xcom(STAGING, run, "request")
    assert "Nothing ran" in scene.api.xcom(STAGING, run, "night")


@by_hand
def test_an_unknown_sync_is_refused_by_rest(scene: Scene) -> None:
    with pytest.raises(ApiRefused) as refused:
        scene.trigger("staging", only=["pull_theater"])
    assert refused.value.status == 400


@by_hand
def test_an_unknown_key_fails_the_run_before_any_sync_starts(scene: Scene) -> None:
    run = scene.run("staging", "failed", onyl=["pull_theatre"])
    states = scene.api.states(STAGING, run)
    assert states["request"] == "failed"
    assert states["pull_theatre.start_gate"] == "skipped"
    assert "did you mean" in scene.api.log(STAGING, run, "request")


@by_hand
def test_a_viewer_may_not_start_a_run(scene: Scene) -> None:
    with pytest.raises(ApiRefused) as refused:
        scene.viewer.trigger(STAGING, conf={"only": ["pull_theatre"]})
    assert refused.value.status == 403


@by_hand
def test_a_pause_skips_visibly_and_ends_by_itself(scene: Scene) -> None:
    skipped = paused(scene)
    assert scene.api.states(STAGING, skipped)["pull_theatre.start_gate"] == "skipped"
    for told in (
        " ".join(scene.report("staging", skipped, "pull_theatre")["why"]),
        scene.api.log(STAGING, skipped, "pull_theatre.start_gate"),
        scene.api.xcom(STAGING, skipped, "night"),
    ):
        assert "paused by on-call until" in told
        assert REASON in told
    pause(scene, dt.timedelta(hours=1))
    ignoring = scene.run("staging", only=["pull_theatre"], ignore_pauses=True)
    assert scene.api.states(STAGING, ignoring)["pull_theatre.promote"] == "success"
    pause(scene, dt.timedelta(seconds=-1))
    resumed = scene.run("staging", only=["pull_theatre"])
    assert scene.api.states(STAGING, resumed)["pull_theatre.promote"] == "success"
    scene.api.delete_variable(PAUSE)


@by_hand
def test_a_disabled_sync_runs_when_it_is_named(scene: Scene) -> None:
    assert scene.report("staging", cleared(scene), "pull_cinema")["result"] == "OK"
    assert scene.sanitised("staging", "cinema")


@by_hand
def test_clearing_one_group_runs_just_that_group_again(scene: Scene) -> None:
    run = cleared(scene)
    assert scene.sanitised("staging", "theatre")
    assert scene.api.task(STAGING, run, "pull_cinema.promote").try_number == 1
    assert scene.api.task(STAGING, run, "pull_theatre.promote").try_number == 2


@killing
@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_sanitise_stopped_by_hand_never_promotes_and_leaves_nothing(scene: Scene, state: str) -> None:
    with scene.held("training", "stadium"):
        run = scene.trigger("training", only=["pull_stadium_slowly"])
        scene.wait_for_transformation("training", "stadium")
        scene.api.mark_task(TRAINING, run, "pull_stadium_slowly.sanitise", state)
        scene.finish("training", run, "failed")
        assert scene.report("training", run, "pull_stadium_slowly")["result"] == "CRITICAL"
        assert scene.untouched("training", "stadium")
        assert scene.leftovers("training", "stadium") == set()
        scene.wait_for_no_session("training", "stadium")


@killing
def test_a_killed_task_is_reported_once_and_leaves_nothing(scene: Scene) -> None:
    run = killed(scene)
    report = scene.report("training", run, "pull_stadium_slowly")
    assert report["result"] == "CRITICAL"
    assert "sanitise" in report["what"]
    assert scene.untouched("training", "stadium")
    assert scene.leftovers("training", "stadium") == set()
