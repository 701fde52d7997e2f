"""The sandbox's own Airflow, and how it is used over REST."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from sandbox.airflow_api import AirflowApi, ApiRefused
from sandbox.process import SandboxError, listens
from tests.acceptance.sandbox_dags import BUNDLE
from tests.acceptance.scene import Scene

sandbox = pytest.mark.lane("sandbox")


def api_with(scene: Scene, dag_id: str) -> AirflowApi:
    """Access to an Airflow that knows this DAG, switched on."""

    def switch_on() -> None:
        scene.api.wait_for_dag(dag_id)
        scene.api.unpause_dag(dag_id)

    scene.once(dag_id, switch_on)
    return scene.api


@sandbox
def test_run_with_connections_variables_and_deferral(scene: Scene) -> None:
    api = api_with(scene, "trivial")
    api.set_variable("colour", "green")
    api.set_variable("colour", "blue")
    assert api.variables()["colour"] == "blue"
    run = api.trigger("trivial", {"word": "hello"})
    assert api.wait_for_run("trivial", run.id).state == "success"
    assert api.states("trivial", run.id) == {"group.wait": "success", "group.say": "success"}
    assert api.xcom("trivial", run.id, "group.say") == {
        "word": "hello",
        "host": "the-host",
        "variable": "blue",
        "given": "yes",
        "aws": [],
    }
    assert "the word is hello" in api.log("trivial", run.id, "group.say")
    assert api.xcoms("trivial", run.id, "group.say").keys() == {"return_value"}
    api.delete_variable("colour")
    cleared = api.clear_group("trivial", run.id, "group")
    assert cleared == ["group.say", "group.wait"]
    assert api.wait_for_run("trivial", run.id).state == "success"
    assert api.task("trivial", run.id, "group.say").try_number == 2
    assert api.xcom("trivial", run.id, "group.say")["variable"] == "none"


@sandbox
def test_marking_a_task_ends_its_run(scene: Scene) -> None:
    api = api_with(scene, "sleeping")
    run = api.trigger("sleeping")
    api.wait_for_task("sleeping", run.id, "sleep", ["running"])
    api.mark_task("sleeping", run.id, "sleep", "failed")
    assert api.wait_for_run("sleeping", run.id).state == "failed"


@sandbox
def test_waiting_in_vain_says_for_what(scene: Scene) -> None:
    api = api_with(scene, "sleeping")
    run = api.trigger("sleeping")
    with pytest.raises(SandboxError, match=r"(?s)to be success or failed.*tasks: .*sleep"):
        api.wait_for_run("sleeping", run.id, seconds=0.5)
    api.mark_run("sleeping", run.id, "failed")


@sandbox
def test_viewer_may_look_but_not_touch(scene: Scene) -> None:
    api_with(scene, "trivial")
    assert scene.viewer.dag("trivial")
    assert scene.viewer.dag("no_such_dag") is None
    with pytest.raises(ApiRefused) as refused:
        scene.viewer.trigger("trivial")
    assert refused.value.status == 403


@sandbox
def test_wrong_password_is_refused(scene: Scene) -> None:
    with (
        contextlib.closing(AirflowApi(scene.airflow.url, "admin", "wrong")) as stranger,
        pytest.raises(ApiRefused),
    ):
        stranger.dags()


# Whoever waits for another DAG would be told of it as well.
@pytest.mark.usefixtures("alone")
def test_import_error_is_told_at_once(scene: Scene) -> None:
    broken = scene.airflow.folder.parent / BUNDLE / "broken.py"
    broken.write_text("# an airflow dag\nraise ValueError('broken on purpose')\n")
    try:
        with pytest.raises(SandboxError, match="broken on purpose"):
            scene.api.wait_for_dag("broken")
    finally:
        broken.unlink()


@pytest.mark.usefixtures("alone")
def test_stopping_leaves_no_process_and_starting_again_keeps_everything(scene: Scene) -> None:
    airflow, api = scene.airflow, api_with(scene, "sleeping")
    run = api.trigger("sleeping")
    api.wait_for_task("sleeping", run.id, "sleep", ["running"])
    api.wait_for(lambda: " pid " in api.log("sleeping", run.id, "sleep"), "the child's pid")
    line = next(line for line in api.log("sleeping", run.id, "sleep").splitlines() if " pid " in line)
    child = int(line.split(" pid ")[1].split()[0])
    assert Path(f"/proc/{child}").exists()
    port, passwords = airflow.port, airflow.passwords
    airflow.stop()
    # Killed, which takes a moment to show.
    api.wait_for(lambda: not Path(f"/proc/{child}").exists(), "the child to be gone")
    assert not listens(airflow.port)
    airflow.start()
    assert (airflow.port, airflow.passwords) == (port, passwords)
    assert api.run("sleeping", run.id).id == run.id
    api.mark_run("sleeping", run.id, "failed")
