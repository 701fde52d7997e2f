"""Undo in a real Airflow: what was live before the last pull is live again, and back."""

from __future__ import annotations

import json
import sys

import pytest

from sandbox import process
from sandbox.airflow import REPOSITORY
from sandbox.airflow_api import ApiRefused
from tests.acceptance.scene import PEOPLE, Scene

pytestmark = pytest.mark.timeout(600)

DAG = "env_sync_integration"


def changed_by_hand(scene: Scene) -> bool:
    return scene.emails("integration", "gallery") == {"changed by hand"}


def test_a_pull_is_undone_and_done_again(scene: Scene) -> None:
    server = scene.targets["integration"]
    server.execute("UPDATE people SET email = 'changed by hand'", database="gallery")
    run = scene.trigger("integration", only=["pull_gallery"])
    scene.finish("integration", run)
    assert scene.sanitised("integration", "gallery")
    dump = scene.report("integration", run, "pull_gallery")["dump_key"]
    # A pause is no reason not to undo; more likely it was set first.
    key = "env_sync_pause_integration_pull_gallery"
    scene.api.set_variable(key, json.dumps({"by": "on-call", "why": "the last pull was bad"}))

    undo = scene.trigger("integration", restore_previous="gallery")
    scene.finish("integration", undo)
    assert changed_by_hand(scene)
    assert server.execute("SELECT count(*) FROM people", database="gallery") == [(PEOPLE,)]
    report = scene.report("integration", undo, "pull_gallery")
    assert (report["result"], report["what"]) == ("WARNING", "previous is live again"), report
    assert "before the first pull" in report["why"][1]
    assert 0 < report["unavailable"] < 60
    assert report["dump_key"] is None
    assert "env-sync pause integration gallery --pull-only" in report["why"][0]
    assert "previous of gallery" in scene.api.xcom(DAG, undo, "request")
    states = scene.api.states(DAG, undo)
    assert states["pull_shop.start_gate"] == "skipped"
    assert "previous is live again" in scene.api.xcom(DAG, undo, "night")

    # Cleared, the same run does not change them back.
    scene.api.clear_group(DAG, undo, "pull_gallery")
    scene.finish("integration", undo)
    assert changed_by_hand(scene)
    redo = scene.trigger("integration", restore_previous="gallery")
    scene.finish("integration", redo)
    assert scene.sanitised("integration", "gallery")
    assert scene.report("integration", redo, "pull_gallery")["dump_key"] == dump
    scene.api.delete_variable(key)


def test_it_is_undone_from_a_shell(scene: Scene) -> None:
    run = scene.trigger("integration", only=["pull_gallery"])
    scene.finish("integration", run)
    scene.targets["integration"].execute("UPDATE people SET email = 'changed by hand'", database="gallery")
    again = scene.trigger("integration", only=["pull_gallery"])
    scene.finish("integration", again)
    said = process.run(
        [str(REPOSITORY / "bin" / "env-sync"), "restore-previous", "integration", "gallery"],
        env={**scene.airflow.environment(), "ENV_SYNC_PYTHON": sys.executable},
        cwd=scene.airflow.folder,
        seconds=120,
    )
    assert "OK: integration pull_gallery: previous is live again" in said
    assert changed_by_hand(scene)


def test_an_unknown_database_is_refused_by_rest(scene: Scene) -> None:
    with pytest.raises(ApiRefused) as refused:
        scene.trigger("integration", restore_previous="galery")
    assert refused.value.status == 400


def test_mixed_with_a_choice_of_syncs_nothing_is_started(scene: Scene) -> None:
    run = scene.trigger("integration", restore_previous="gallery", only=["pull_gallery"])
    scene.finish("integration", run, "failed")
    assert scene.api.states(DAG, run)["pull_gallery.start_gate"] == "skipped"
    assert "neither" in scene.api.log(DAG, run, "request")


def test_a_previous_that_somebody_else_made_is_refused(scene: Scene) -> None:
    server = scene.targets["integration"]
    run = scene.trigger("integration", only=["pull_archive"])
    scene.finish("integration", run)
    server.execute("DROP DATABASE archive__previous")
    server.execute("CREATE DATABASE archive__previous")
    undo = scene.trigger("integration", restore_previous="archive")
    scene.finish("integration", undo, "failed")
    report = scene.report("integration", undo, "pull_archive")
    assert (report["result"], report["what"]) == ("CRITICAL", "promote failed, live was not replaced")
    assert "PreviousRefused" in report["why"][0]
    assert scene.sanitised("integration", "archive")
