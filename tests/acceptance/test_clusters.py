"""A snapshot that takes longer than a worker stays for it, in a real Airflow."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import helpers

from sandbox.airflow import Airflow
from sandbox.airflow_api import AirflowApi
from sandbox.elasticsearch import OLDER, ElasticsearchServer
from sandbox.postgresql import PostgreSQLServer
from tests.conftest import run_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

REPOSITORY = "search-snapshots"
DAG = "env_sync_production"
TASK = "push_search.snapshot"
HIERADATA = f"""
govuk_env_sync::tasks:
  push_search:
    # Whatever the hour of the test is, the schedule does not start it as well.
    ensure: disabled
    hour: 1
    minute: 0
    action: push
    dbms: elasticsearch
    storagebackend: elasticsearch
    database: search-production
    url: {REPOSITORY}
"""
PAGES = 400
SLOWLY = "20kb"
"""What the repository takes a second: a snapshot of that many pages takes about 100 s."""


@pytest.fixture(scope="module")
def cluster(server_folder: Path) -> Iterator[ElasticsearchServer]:
    yield from run_server(lambda: ElasticsearchServer(server_folder / "search", OLDER))


@pytest.fixture(scope="module")
def api(
    server_folder: Path,
    cluster: ElasticsearchServer,
    postgresql16: PostgreSQLServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AirflowApi]:
    cluster.register_repository(REPOSITORY, max_snapshot_bytes_per_sec=SLOWLY)
    chance = random.Random(1)
    with cluster.client() as client:
        client.indices.create(index="pages", settings={"number_of_shards": 1, "number_of_replicas": 0})
        pages = ({"_index": "pages", "text": chance.randbytes(2500).hex()} for _ in range(PAGES))
        helpers.bulk(client, pages, refresh=True)
    hieradata = tmp_path_factory.mktemp("hieradata")
    (hieradata / "production.yaml").write_text(HIERADATA)
    with (
        Airflow(
            server_folder / "airflow_of_clusters",
            postgresql16,
            connections={
                "env_sync_production_search_production": cluster.airflow_connection(environment="production")
            },
            env={"ENV_SYNC_HIERADATA": str(hieradata)},
            database="airflow_of_clusters",
        ) as airflow,
        contextlib.closing(airflow.api()) as api,
    ):
        api.wait_for_dag(DAG)
        api.unpause_dag(DAG)
        yield api


def test_a_step_that_waits_for_a_cluster_holds_no_worker(
    api: AirflowApi, cluster: ElasticsearchServer
) -> None:
    run = api.trigger(DAG, conf={"only": ["push_search"]})
    api.wait_for_task(DAG, run.id, TASK, ["deferred"], 150)
    with cluster.client() as client:
        (taken,) = client.snapshot.get(repository=REPOSITORY, snapshot="*")["snapshots"]
    assert taken["state"] == "IN_PROGRESS"
    (pool,) = api.request("GET", "pools")["pools"]
    assert (pool["running_slots"], pool["deferred_slots"]) == (0, 1)
    assert api.wait_for_run(DAG, run.id, seconds=200).state == "success"
    report = api.xcom(DAG, run.id, "push_search.report")
    assert (report["result"], report["dump_key"]) == ("OK", taken["snapshot"])
    with cluster.client() as client:
        (again,) = client.snapshot.get(repository=REPOSITORY, snapshot="*")["snapshots"]
    assert again["state"] == "SUCCESS"
