"""Undo in a real Airflow: what was live before the last pull is live again, and back."""

from __future__ import annotations

import json
import sys

import pytest

from sandbox import process
from sandbox.airflow import REPOSITORY
from sandbox.airflow_api import ApiRefused
from tests.acceptance.scene import PEOPLE, Scene

DAG = "env_sync_training"
undo = pytest.mark.lane("undo")


def change(scene: Scene) -> None:
    """Change live by hand."""
    scene.servers["training"].execute("UPDATE people SET email = 'changed by hand'", database="harbour")


def changed_by_hand(scene: Scene) -> bool:
    return scene.emails("training", "harbour") == {"changed by hand"}


@undo
def test_a_pull_is_undone_and_done_again(scene: Scene) -> None:
    server = scene.servers["training"]
    change(scene)
    run = scene.run("training", only=["pull_harbour"])
    assert scene.sanitised("training", "harbour")
    dump = scene.report("training", run, "pull_harbour")["dump_key"]
    # A pause is no reason not to undo; more likely it was set first.
    key = "env_sync_pause_training_pull_harbour"
    scene.api.set_variable(key, json.dumps({"by": "on-call", "why": "the last pull was bad"}))

    undone = scene.run("training", restore_previous="harbour")
    assert changed_by_hand(scene)
    assert server.execute("SELECT count(*) FROM people", database="harbour") == [(PEOPLE,)]
    report = scene.report("training", undone, "pull_harbour")
    assert (report["result"], report["what"]) == ("WARNING", "previous is live again"), report
    assert "before the first pull" in report["why"][1]
    assert 0 < report["unavailable"] < 60
    assert report["dump_key"] is None
    assert "env-sync pause training harbour --pull-only" in report["why"][0]
    assert "previous of harbour" in scene.api.xcom(DAG, undone, "request")
    states = scene.api.states(DAG, undone)
    assert states["pull_cellar.start_gate"] == "skipped"
    assert "previous is live again" in scene.api.xcom(DAG, undone, "night")

    # Cleared, the same run does not change them back.
    scene.api.clear_group(DAG, undone, "pull_harbour")
    scene.finish("training", undone)
    assert changed_by_hand(scene)
    redo = scene.run("training", restore_previous="harbour")
    assert scene.sanitised("training", "harbour")
    assert scene.report("training", redo, "pull_harbour")["dump_key"] == dump
    scene.api.delete_variable(key)


@undo
def test_it_is_undone_from_a_shell(scene: Scene) -> None:
    scene.run("training", only=["pull_harbour"])
    change(scene)
    scene.run("training", only=["pull_harbour"])
    said = process.run(
        [str(REPOSITORY / "bin" / "env-sync"), "restore-previous", "training", "harbour"],
        env={**scene.airflow.environment(), "ENV_SYNC_PYTHON": sys.executable},
        cwd=scene.airflow.folder,
        seconds=600,
    )
    assert "OK: training pull_harbour: previous is live again" in said
    assert changed_by_hand(scene)


@undo
def test_an_unknown_database_is_refused_by_rest(scene: Scene) -> None:
    with pytest.raises(ApiRefused) as refused:
        scene.trigger("training", restore_previous="harbor")
    assert refused.value.status == 400


@undo
def test_mixed_with_a_choice_of_syncs_nothing_is_started(scene: Scene) -> None:
    run = scene.run("training", "failed", restore_previous="harbour", only=["pull_harbour"])
    assert scene.api.states(DAG, run)["pull_harbour.start_gate"] == "skipped"
    assert "cannot be combined with `only`" in scene.api.log(DAG, run, "request")


@pytest.mark.lane("refused undo")
def test_a_previous_that_somebody_else_made_is_refused(scene: Scene) -> None:
    server = scene.servers["training"]
    scene.run("training", only=["pull_orchard"])
    server.execute("DROP DATABASE orchard__previous")
    server.execute("CREATE DATABASE orchard__previous")
    undone = scene.run("training", "failed", restore_previous="orchard")
    report = scene.report("training", undone, "pull_orchard")
    assert (report["result"], report["what"]) == ("CRITICAL", "promote failed, live was not replaced")
    assert "PreviousRefused" in report["why"][0]
    assert scene.sanitised("training", "orchard")
