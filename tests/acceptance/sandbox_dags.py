"""DAGs of the tests of the sandbox itself, in a bundle of their own, and what they ask Airflow for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

BUNDLE = "sandbox"
CONNECTIONS: Mapping[str, dict[str, object]] = {"somewhere": {"conn_type": "postgres", "host": "the-host"}}
ENVIRONMENT = {"GIVEN": "yes"}
DAGS = """
import datetime as dt
import os
import subprocess

from airflow.sdk import DAG, BaseHook, TaskGroup, Variable, task
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator


class Deferred(BaseOperator):
    def execute(self, context):
        # One that ends before the scheduler has seen the worker leave would mark the task as failed.
        self.defer(trigger=TimeDeltaTrigger(dt.timedelta(seconds=15)), method_name="after")

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


def bundles(folder: Path) -> str:
    """The setting that has Airflow read this folder beside its own; the DAGs are put there."""
    folder.mkdir()
    (folder / "trivial.py").write_text(DAGS)
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return json.dumps(
        [
            {"name": "dags-folder", "classpath": local, "kwargs": {}},
            {"name": BUNDLE, "classpath": local, "kwargs": {"path": str(folder)}},
        ]
    )
