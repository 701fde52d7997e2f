"""Whole groups, as the command line runs them, with connections from Airflow."""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

import pytest

from env_sync.airflow.connections import CONNECTIONS
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import ConnectionMissing, WrongEnvironment
from env_sync.core.progress import LogProgress
from env_sync.domain.report import Report, Result
from env_sync.domain.sync import Action, Sync
from env_sync.engines.base.contract import Holder
from env_sync.pipeline.preflight import preflight, real_access
from env_sync.pipeline.run import run_group
from env_sync.pipeline.session import Session, open_session
from env_sync.planning.request import Request
from tests.integration.elasticsearch.stage import HOST, Stage, count, index_documents, indices, request
from tests.unit.values import a_plan, a_sync, moment

LOG = logging.getLogger("env_sync.test")


@pytest.fixture
def connected(stage8: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    for environment, server in (("staging", stage8.source), ("integration", stage8.target)):
        connection = server.airflow_connection(environment=environment)
        name = f"AIRFLOW_CONN_ENV_SYNC_{environment}_{HOST}".upper().replace("-", "_")
        monkeypatch.setenv(name, json.dumps(connection))
    above = stage8.source.airflow_connection(environment="staging")
    monkeypatch.setenv("AIRFLOW_CONN_ENV_SYNC_INTEGRATION_ABOVE", json.dumps(above))
    return stage8


def a_cluster_sync(stage: Stage, action: Action, **fields: Any) -> Sync:
    return a_sync(
        f"{action}_search",
        **{
            "environment": "staging" if action is Action.PUSH else "integration",
            "action": action,
            "dbms": "elasticsearch",
            "storagebackend": "elasticsearch",
            "database": HOST,
            "database_hostname": None,
            "url": stage.repository,
            "path": "",
            "source_hostname": "above" if action is Action.COPY else None,
            "temppath": stage.folder,
            **fields,
        },
    )


def open_for(sync: Sync, request: Request | None = None) -> Session:
    plan = a_plan(sync, environment=sync.environment)
    return open_session(
        group=plan.groups[0],
        settings=plan.settings,
        request=request or Request(nightly=False, only=(sync.name,)),
        holder=Holder(run="run", group=sync.name, attempt=uuid.uuid4().hex),
        connections=CONNECTIONS,
        pause=lambda: None,
        cancellation=Cancellation(),
        progress=LogProgress(LOG),
        log=LOG,
    )


def run(sync: Sync) -> tuple[Report, list[str]]:
    said: list[str] = []
    return run_group(open_for(sync), said.append), said


def test_a_push_a_pull_and_a_copy(connected: Stage) -> None:
    index_documents(connected.source, "pages", 3)
    pushed, said = run(a_cluster_sync(connected, Action.PUSH))
    assert (pushed.result, pushed.what, said) == (
        Result.OK,
        "pushed",
        ["start_gate", "snapshot", "report"],
    ), pushed.line()
    pulled, said = run(a_cluster_sync(connected, Action.PULL))
    assert (pulled.result, pulled.what) == (Result.OK, "pulled and promoted"), pulled.line()
    assert (pulled.dump_key, pulled.source_environment) == (pushed.dump_key, "staging")
    assert said == ["start_gate", "restore", "sanitise", "promote", "report"]
    index_documents(connected.source, "pages", 4)
    copied, said = run(a_cluster_sync(connected, Action.COPY))
    assert (copied.result, copied.what) == (Result.OK, "copied and promoted"), copied.line()
    assert said == ["start_gate", "copy", "sanitise", "promote", "report"]
    assert count(connected.target, "pages") == 4


@pytest.mark.probe("a connection of another environment")
def test_the_source_must_have_a_connection_that_says_whose_it_is(
    connected: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = a_cluster_sync(connected, Action.COPY)
    monkeypatch.setenv(
        "AIRFLOW_CONN_ENV_SYNC_INTEGRATION_ABOVE", json.dumps(connected.source.airflow_connection())
    )
    with pytest.raises(WrongEnvironment, match="to which environment the cluster belongs"):
        open_for(sync)
    monkeypatch.delenv("AIRFLOW_CONN_ENV_SYNC_INTEGRATION_ABOVE")
    with pytest.raises(ConnectionMissing, match="env_sync_integration_above"):
        open_for(sync)


def test_a_look_before_the_night_finds_what_would_stop_it(connected: Stage) -> None:
    index_documents(connected.source, "pages", 3)
    plan = a_plan(
        a_cluster_sync(connected, Action.COPY), a_cluster_sync(connected, Action.PULL, url="nowhere")
    )
    found = preflight([plan], real_access(CONNECTIONS), now=moment("2026-11-23 12:00"))
    said = {checked.subject: [finding.what for finding in checked.findings] for checked in found}
    assert "1 indices will be copied through the snapshot repository" in said["sync copy_search"][0]
    assert "is not registered" in said["sync pull_search"][0]
    assert not [subject for subject in said if subject.startswith("bucket")]
    assert indices(connected.target) == set()
    assert "error" in request(connected.target, "GET", "/.env-sync")
