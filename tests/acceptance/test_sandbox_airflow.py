from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.airflow import Airflow
from sandbox.airflow_api import AirflowApi, ApiRefused
from sandbox.postgresql import PostgreSQLServer
from sandbox.process import SandboxError, listens, wait_for

DAG = """
import datetime as dt
import os
import subprocess

from airflow.sdk import DAG, BaseHook, TaskGroup, Variable, task
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator


class Deferred(BaseOperator):
    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(dt.timedelta(seconds=1)), method_name="after")

    def after(self, context, event=None):
        print("resumed")


with DAG("trivial", schedule=None, params={"word": "none"}):

    @task
    def say(**context):
        print("the word is", context["params"]["word"])
        return {
            "word": context["params"]["word"],
            "host": BaseHook.get_connection("somewhere").host,
            "variable": Variable.get("colour", default="none"),
            "given": os.environ["GIVEN"],
            "aws": [name for name in os.environ if name.startswith("AWS_")],
        }

    @task
    def sleep():
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        print("pid", child.pid)
        child.wait()

    with TaskGroup("group"):
        Deferred(task_id="wait") >> say()

with DAG("sleeping", schedule=None):
    sleep()
"""


@pytest.fixture(scope="module")
def airflow(
    server_folder: Path, postgresql16: PostgreSQLServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    folder = tmp_path_factory.mktemp("dags")
    (folder / "trivial.py").write_text(DAG)
    plugins = tmp_path_factory.mktemp("plugins")
    connections = {"somewhere": {"conn_type": "postgres", "host": "the-host"}}
    with Airflow(
        server_folder / "airflow",
        postgresql16,
        dags=folder,
        plugins=plugins,
        connections=connections,
        env={"GIVEN": "yes"},
        database="airflow_sandbox_test",
    ) as running:
        yield running


@pytest.fixture(scope="module")
def api(airflow: Airflow) -> Iterator[AirflowApi]:
    api = airflow.api()
    for dag_id in ("trivial", "sleeping"):
        api.wait_for_dag(dag_id)
        api.unpause_dag(dag_id)
    with contextlib.closing(api):
        yield api


def test_run_with_connections_variables_and_deferral(api: AirflowApi) -> None:
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


def test_marking_a_task_ends_its_run(api: AirflowApi) -> None:
    run = api.trigger("sleeping")
    api.wait_for_task("sleeping", run.id, "sleep", ["running"])
    api.mark_task("sleeping", run.id, "sleep", "failed")
    assert api.wait_for_run("sleeping", run.id).state == "failed"


def test_waiting_in_vain_says_for_what(api: AirflowApi) -> None:
    run = api.trigger("sleeping")
    with pytest.raises(SandboxError, match=r"(?s)to be success or failed.*tasks: .*sleep"):
        api.wait_for_run("sleeping", run.id, seconds=0.5)
    api.mark_run("sleeping", run.id, "failed")


def test_viewer_may_look_but_not_touch(airflow: Airflow, api: AirflowApi) -> None:
    with contextlib.closing(airflow.api("viewer")) as viewer:
        assert viewer.dag("trivial")
        assert viewer.dag("no_such_dag") is None
        with pytest.raises(ApiRefused) as refused:
            viewer.trigger("trivial")
    assert refused.value.status == 403


def test_wrong_password_is_refused(airflow: Airflow) -> None:
    with contextlib.closing(AirflowApi(airflow.url, "admin", "wrong")) as stranger, pytest.raises(ApiRefused):
        stranger.dags()


def test_import_error_is_told_at_once(airflow: Airflow, api: AirflowApi) -> None:
    broken = airflow.dags / "broken.py"
    broken.write_text("# an airflow dag\nraise ValueError('broken on purpose')\n")
    try:
        with pytest.raises(SandboxError, match="broken on purpose"):
            api.wait_for_dag("broken", seconds=60)
    finally:
        broken.unlink()


def test_stopping_leaves_no_process_and_starting_again_keeps_everything(
    airflow: Airflow, api: AirflowApi
) -> None:
    run = api.trigger("sleeping")
    api.wait_for_task("sleeping", run.id, "sleep", ["running"])
    wait_for(lambda: "pid" in api.log("sleeping", run.id, "sleep"), "the child's pid", 20)
    line = next(line for line in api.log("sleeping", run.id, "sleep").splitlines() if " pid " in line)
    child = int(line.split(" pid ")[1].split()[0])
    assert Path(f"/proc/{child}").exists()
    port, passwords = airflow.port, airflow.passwords
    airflow.stop()
    # Killed, which takes a moment to show.
    wait_for(lambda: not Path(f"/proc/{child}").exists(), "the child to be gone", 10)
    assert not listens(airflow.port)
    airflow.start()
    assert (airflow.port, airflow.passwords) == (port, passwords)
    assert api.run("sleeping", run.id).id == run.id
    api.mark_run("sleeping", run.id, "failed")
