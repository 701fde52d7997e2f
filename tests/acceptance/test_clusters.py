"""A snapshot that takes longer than a worker stays for it, in a real Airflow."""

from __future__ import annotations

import contextlib
import json
import random

import psutil
import pytest
from elasticsearch import helpers

from sandbox.airflow_api import TASK_OVER
from sandbox.elasticsearch import OLDER, ElasticsearchServer
from tests.acceptance.scene import REPOSITORY, Scene
from tests.conftest import run_server

pytestmark = [pytest.mark.slow, pytest.mark.lane("clusters")]

DAG = "env_sync_clusters"
TASK = "push_search.snapshot"
PAGES = 400
SLOWLY = "4kb"
"""What the repository takes a second at first; a snapshot of the pages would take a quarter of an hour."""
AT_ONCE = "1gb"


def fill(cluster: ElasticsearchServer) -> None:
    """Give a cluster something to keep, and a repository that takes it slowly."""
    cluster.register_repository(REPOSITORY, max_snapshot_bytes_per_sec=SLOWLY)
    chance = random.Random(1)
    with cluster.client() as client:
        client.indices.create(index="pages", settings={"number_of_shards": 1, "number_of_replicas": 0})
        pages = ({"_index": "pages", "text": chance.randbytes(2500).hex()} for _ in range(PAGES))
        helpers.bulk(client, pages, refresh=True)


def release(cluster: ElasticsearchServer) -> None:
    """Have the repository take the rest of a snapshot at once."""
    # To verify it, the cluster would write there, behind the snapshot.
    cluster.register_repository(REPOSITORY, verify=False, max_snapshot_bytes_per_sec=AT_ONCE)


def connect(scene: Scene, cluster: ElasticsearchServer) -> None:
    """Tell Airflow of the cluster, which it did not know when it started."""
    values = cluster.airflow_connection(environment="clusters")
    extra = json.dumps(values.pop("extra"))
    connection = {**values, "connection_id": "env_sync_clusters_search", "extra": extra}
    scene.api.request("POST", "connections", json=connection)


def test_a_step_that_waits_for_a_cluster_holds_no_worker(scene: Scene) -> None:
    folder = scene.airflow.folder.parent / "search"
    with contextlib.contextmanager(run_server)(lambda: ElasticsearchServer(folder, OLDER)) as cluster:
        fill(cluster)
        connect(scene, cluster)
        run = scene.trigger("clusters", only=["push_search"])
        worker = scene.api.wait_for_task(DAG, run, TASK, ["running"]).pid
        assert worker in descendants(scene)
        scene.api.wait_for_task(DAG, run, TASK, ["deferred", *TASK_OVER])
        with cluster.client() as client:
            (taken,) = client.snapshot.get(repository=REPOSITORY, snapshot="*")["snapshots"]
        assert taken["state"] == "IN_PROGRESS"
        states = list(scene.api.states(DAG, run).values())
        assert (states.count("running"), states.count("queued"), states.count("deferred")) == (0, 0, 1)
        scene.api.wait_for(lambda: worker not in descendants(scene), "the worker to leave")
        assert scene.api.task(DAG, run, TASK).state == "deferred"
        release(cluster)
        scene.finish("clusters", run)
        report = scene.report("clusters", run, "push_search")
        assert (report["result"], report["dump_key"]) == ("OK", taken["snapshot"])
        with cluster.client() as client:
            (again,) = client.snapshot.get(repository=REPOSITORY, snapshot="*")["snapshots"]
        assert again["state"] == "SUCCESS"


def descendants(scene: Scene) -> set[int]:
    """The ids of all processes below the scheduler, which the workers and their tasks are."""
    scheduler = psutil.Process(scene.airflow.components["scheduler"].pid)
    return {process.pid for process in scheduler.children(recursive=True)}
