"""Alerts of a real Airflow: a monitor is told of each report, once; and the metrics are scraped."""

from __future__ import annotations

import datetime as dt
import json
import os
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sandbox.monitor import Monitor
from tests.acceptance.scene import Scene, running_transformation, task_at_work

pytestmark = pytest.mark.timeout(600)

DAG = "env_sync_integration"
SERVICE = "databases!GOV.UK environment sync "


def told(monitor: Monitor, run: str) -> dict[str, list[dict[str, Any]]]:
    """What a monitor was told of a run, by sync."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in monitor.told:
        if f"run {DAG}/{run}," in each.json["plugin_output"]:
            found.setdefault(each.json["service"].removeprefix(SERVICE), []).append(each.json)
    return found


def test_success_and_failure_are_told_once_and_the_others_not_at_all(scene: Scene) -> None:
    run = scene.trigger("integration", only=["pull_shop", "pull_library_badly"])
    scene.finish("integration", run, "failed")
    alerts = told(scene.monitor, run)
    assert sorted(alerts) == ["pull_library_badly", "pull_shop"]
    (good,), (bad,) = alerts["pull_shop"], alerts["pull_library_badly"]
    assert (good["exit_status"], bad["exit_status"]) == (0, 2)
    assert good["plugin_output"].startswith("OK: pulled and promoted")
    assert "fails.sql" in bad["plugin_output"]
    assert "@personal.test" not in json.dumps([good, bad])
    assert good["ttl"] == 28 * 3600
    assert scene.report("integration", run, "pull_shop")["unsent"] == []


def test_a_pause_is_told_once_as_ok_with_its_reason(scene: Scene) -> None:
    key = "env_sync_pause_integration_pull_shop"
    until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    pause = {"by": "on-call", "why": "a release is being tested", "until": until.isoformat()}
    scene.api.set_variable(key, json.dumps(pause))
    run = scene.trigger("integration", only=["pull_shop"])
    scene.finish("integration", run)
    scene.api.delete_variable(key)
    (alert,) = told(scene.monitor, run)["pull_shop"]
    assert alert["exit_status"] == 0
    assert "paused by on-call until" in alert["plugin_output"]
    assert "a release is being tested" in alert["plugin_output"]


def test_a_sanitise_that_is_killed_is_told_once(scene: Scene) -> None:
    run = scene.trigger("integration", only=["pull_museum_slowly"])
    scene.api.wait_for(lambda: running_transformation(scene), "the transformation to run", 120)
    task_at_work(scene).kill()
    scene.finish("integration", run, "failed")
    (alert,) = told(scene.monitor, run)["pull_museum_slowly"]
    assert alert["exit_status"] == 2
    assert alert["plugin_output"].startswith("CRITICAL: sanitise failed")


def test_a_group_that_is_cleared_is_told_again(scene: Scene) -> None:
    run = scene.trigger("integration", only=["pull_shop"])
    scene.finish("integration", run)
    scene.api.clear_group(DAG, run, "pull_shop")
    scene.finish("integration", run)
    first, second = told(scene.monitor, run)["pull_shop"]
    assert first["plugin_output"] != second["plugin_output"]


def _waits_for(monitor: Monitor) -> psutil.Process | None:
    """The process that waits for this monitor's answer."""
    for connection in psutil.net_connections("tcp4"):
        there = connection.raddr and connection.raddr.port == monitor.port
        if there and connection.pid not in (None, os.getpid()):
            return psutil.Process(connection.pid)
    return None


def test_a_report_that_is_killed_goes_on_where_it_was(scene: Scene) -> None:
    """It is killed when one monitor has taken it and the other has not; half a minute later it goes on."""
    scene.other_monitor.held.set()
    run = scene.trigger("integration", only=["pull_shop"])
    report = (DAG, run, "pull_shop.report")
    scene.api.wait_for(lambda: told(scene.monitor, run), "the first monitor to be told", 180)
    scene.api.wait_for(lambda: "took the alert" in scene.api.log(*report), "the report to know that", 60)
    scene.api.wait_for(lambda: _waits_for(scene.other_monitor), "the report to wait", 30).kill()
    scene.other_monitor.held.clear()
    scene.finish("integration", run)
    assert scene.api.task(*report).try_number == 2
    (first,) = told(scene.monitor, run)["pull_shop"]
    (second,) = told(scene.other_monitor, run)["pull_shop"]
    assert first == second
    assert scene.report("integration", run, "pull_shop")["result"] == "OK"


def test_a_monitor_that_is_down_changes_nothing_and_is_shown(scene: Scene) -> None:
    scene.monitor.statuses[:] = [503] * 3
    scene.other_monitor.statuses[:] = [503] * 3
    run = scene.trigger("integration", only=["pull_shop"])
    scene.finish("integration", run)
    assert told(scene.monitor, run) == {}
    report = scene.report("integration", run, "pull_shop")
    assert report["result"] == "OK"
    assert len(report["unsent"]) == 2
    assert "did not take this report: ServerUnreachable" in report["unsent"][0]
    assert "did not take this report" in scene.api.log(DAG, run, "pull_shop.report")
    assert "did not take this report" in scene.api.xcom(DAG, run, "night")


def test_the_metrics_are_scraped_with_a_token_and_with_nothing_less(scene: Scene) -> None:
    with httpx.Client(base_url=scene.airflow.url, timeout=60, trust_env=False) as http:
        assert http.get("/env-sync/metrics").status_code == 401
        login = {"username": "viewer", "password": scene.airflow.passwords["viewer"]}
        token = http.post("/auth/token", json=login).json()["access_token"]
        answer = http.get("/env-sync/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    fresh = {
        (sample.labels["environment"], sample.labels["sync"]): sample.value
        for family in text_string_to_metric_families(answer.text)
        if family.name == "env_sync_fresh"
        for sample in family.samples
    }
    assert fresh["integration", "pull_shop"] == 1
    assert fresh["integration", "pull_library_badly"] == 0
    assert fresh["production", "push_shop"] == 1
