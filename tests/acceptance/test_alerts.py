"""Alerts of a real Airflow: a monitor is told of each report, once; and the metrics are scraped."""

from __future__ import annotations

import json
import os
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sandbox.monitor import Monitor
from tests.acceptance.scene import Scene
from tests.acceptance.shared_runs import REASON, STAGING, TRAINING, cleared, failed, killed, paused

REHEARSAL = "env_sync_rehearsal"
SERVICE = "databases!GOV.UK environment sync "
disturbed = pytest.mark.lane("disturbed monitors")


def told(monitor: Monitor, dag_id: str, run: str) -> dict[str, list[dict[str, Any]]]:
    """What a monitor was told of a run, by sync."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in monitor.told:
        if f"run {dag_id}/{run}," in each.json["plugin_output"]:
            found.setdefault(each.json["service"].removeprefix(SERVICE), []).append(each.json)
    return found


@pytest.mark.lane("by hand")
def test_success_and_failure_are_told_once_and_the_others_not_at_all(scene: Scene) -> None:
    run = failed(scene)
    alerts = told(scene.monitors[0], STAGING, run)
    assert sorted(alerts) == ["pull_library_badly", "pull_theatre"]
    (good,), (bad,) = alerts["pull_theatre"], alerts["pull_library_badly"]
    assert (good["exit_status"], bad["exit_status"]) == (0, 2)
    assert good["plugin_output"].startswith("OK: pulled and promoted")
    assert "fails.sql" in bad["plugin_output"]
    assert "@personal.test" not in json.dumps([good, bad])
    assert good["ttl"] == 28 * 3600
    assert scene.report("staging", run, "pull_theatre")["unsent"] == []


@pytest.mark.lane("by hand")
def test_a_pause_is_told_once_as_ok_with_its_reason(scene: Scene) -> None:
    (alert,) = told(scene.monitors[0], STAGING, paused(scene))["pull_theatre"]
    assert alert["exit_status"] == 0
    assert "paused by on-call until" in alert["plugin_output"]
    assert REASON in alert["plugin_output"]


@pytest.mark.lane("killing")
def test_a_sanitise_that_is_killed_is_told_once(scene: Scene) -> None:
    (alert,) = told(scene.monitors[0], TRAINING, killed(scene))["pull_stadium_slowly"]
    assert alert["exit_status"] == 2
    assert alert["plugin_output"].startswith("CRITICAL: sanitise failed")


@pytest.mark.lane("by hand")
def test_a_group_that_is_cleared_is_told_again(scene: Scene) -> None:
    first, second = told(scene.monitors[0], STAGING, cleared(scene))["pull_theatre"]
    assert first["plugin_output"] != second["plugin_output"]


def _waits_for(monitor: Monitor) -> psutil.Process | None:
    """The process that waits for this monitor's answer."""
    for connection in psutil.net_connections("tcp4"):
        there = connection.raddr and connection.raddr.port == monitor.port
        if there and connection.pid not in (None, os.getpid()):
            return psutil.Process(connection.pid)
    return None


@disturbed
def test_a_report_that_is_killed_goes_on_where_it_was(scene: Scene) -> None:
    """It is killed when one monitor has taken it and the other has not; half a minute later it goes on."""
    monitor, other = scene.failing_monitors
    other.held.set()
    run = scene.trigger("rehearsal", only=["pull_workshop"])
    report = (REHEARSAL, run, "pull_workshop.report")
    scene.api.wait_for(lambda: told(monitor, REHEARSAL, run), "the first monitor to be told")
    scene.api.wait_for(lambda: "took the alert" in scene.api.log(*report), "the report to know that")
    scene.api.wait_for(lambda: _waits_for(other), "the report to wait").kill()
    other.held.clear()
    scene.finish("rehearsal", run)
    assert scene.api.task(*report).try_number == 2
    (first,) = told(monitor, REHEARSAL, run)["pull_workshop"]
    (second,) = told(other, REHEARSAL, run)["pull_workshop"]
    assert first == second
    assert scene.report("rehearsal", run, "pull_workshop")["result"] == "OK"


@disturbed
def test_a_monitor_that_is_down_changes_nothing_and_is_shown(scene: Scene) -> None:
    for monitor in scene.failing_monitors:
        monitor.statuses[:] = [503] * 3
    run = scene.run("rehearsal", only=["pull_workshop"])
    assert told(scene.failing_monitors[0], REHEARSAL, run) == {}
    report = scene.report("rehearsal", run, "pull_workshop")
    assert report["result"] == "OK"
    assert len(report["unsent"]) == 2
    assert "did not accept this report: ServerUnreachable" in report["unsent"][0]
    assert "did not accept this report" in scene.api.log(REHEARSAL, run, "pull_workshop.report")
    assert "did not accept this report" in scene.api.xcom(REHEARSAL, run, "night")


@pytest.mark.lane("by hand")
def test_the_metrics_are_scraped_with_a_token_and_with_nothing_less(scene: Scene) -> None:
    failed(scene)
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
    assert fresh["staging", "pull_theatre"] == 1
    assert fresh["staging", "pull_library_badly"] == 0
    assert fresh["production", "push_shop"] == 1
