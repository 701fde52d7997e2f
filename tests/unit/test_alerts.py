"""Alerts, and metrics, of reports and statuses."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from env_sync.alerts.alert import LONGEST_SUMMARY, Alert, make_alert
from env_sync.alerts.metrics import HELP, PREFIX, report_metrics, status_metrics
from env_sync.alerts.nsca import _line
from env_sync.domain.leftovers import Leftover, Swept
from env_sync.domain.monitors import Nsca
from env_sync.domain.pause import Pause
from env_sync.domain.report import Report, Result
from env_sync.domain.sync import Ensure
from tests.unit.test_status import PLAN, RUNNING, TONIGHT, a_report, a_summary, status
from tests.unit.values import a_plan, a_sync, moment

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "env_sync.rules.yaml"
REPORTED = moment("2026-11-25 03:10")
FAILED: dict[str, Any] = {
    "result": Result.CRITICAL,
    "what": "sanitise failed, live was not replaced",
    "why": ("TransformationFailed: sanitise.sql | line 3\nsecond line", "another reason"),
    "unavailable": None,
}


def report(**values: Any) -> Report:
    return a_report(a_summary(reported=REPORTED), **values)


def alert(**values: Any) -> Alert:
    made = make_alert(report(**values), next_within=dt.timedelta(hours=28))
    assert made is not None
    return made


def samples(text: bytes) -> dict[str, dict[str, float]]:
    """Each metric's values, by the sync or, without one, by the environment."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        assert family.documentation
        for sample in family.samples:
            who = sample.labels.get("sync") or sample.labels.get("environment") or ""
            found.setdefault(sample.name.removeprefix(PREFIX), {})[who] = sample.value
    return found


class TestAlert:
    def test_a_success(self) -> None:
        made = alert()
        assert (made.exit_status, made.summary) == (0, "OK: pulled and promoted")
        assert [str(figure) for figure in made.figures] == [
            "seconds=600s",
            "size=2500000B",
            "unavailable=0.2s",
            "data_age=105000s",
        ]
        assert made.details[-1] == (
            "run env_sync_integration/scheduled__23, group pull_signon, reported 2026-11-25 03:10:00 UTC"
        )

    def test_a_failure_says_why_in_its_first_line(self) -> None:
        made = alert(**FAILED)
        assert made.exit_status == 2
        assert made.summary == (
            "CRITICAL: sanitise failed, live was not replaced: TransformationFailed: sanitise.sql | line 3"
        )
        assert made.details[:3] == (made.summary, "second line", "another reason")

    def test_a_long_reason_is_cut_in_the_summary_alone(self) -> None:
        made = alert(result=Result.WARNING, why=("x" * 1000,))
        assert made.exit_status == 1
        assert len(made.summary) == LONGEST_SUMMARY
        assert "x" * 1000 in made.details[0]

    def test_nobody_is_told_of_what_was_not_asked_for(self) -> None:
        assert make_alert(report(quiet=True, skipped=True), next_within=None) is None
        assert make_alert(report(skipped=True), next_within=None) is not None
        assert make_alert(report(quiet=True, result=Result.CRITICAL), next_within=None) is not None

    def test_nscas_line_is_one_line_with_three_tabs_and_one_bar(self) -> None:
        line = _line(Nsca(server="s", host="db-{environment}"), alert(**FAILED, sync="a\tb"))
        host, service, code, output = line.split("\t")
        assert (host, service, code) == ("db-integration", "GOV.UK environment sync a b", "2")
        assert output == (
            "CRITICAL: sanitise failed, live was not replaced: TransformationFailed: sanitise.sql / line 3"
            " | seconds=600s size=2500000B data_age=105000s"
        )


class TestMetrics:
    def test_of_a_status(self) -> None:
        text = status_metrics([status(summaries=[a_summary(night=22), TONIGHT])])
        found = samples(text)
        assert found["last_result"]["pull_signon"] == {"OK": 0, "WARNING": 1, "CRITICAL": 2}[TONIGHT.result]
        assert found["last_attempt_timestamp_seconds"] == {"pull_signon": TONIGHT.reported.timestamp()}
        assert found["last_duration_seconds"] == {"pull_signon": 600}
        assert found["last_size_bytes"] == {"pull_signon": 2_500_000}
        assert found["last_unavailability_seconds"] == {"pull_signon": 0.2}
        assert found["data_timestamp_seconds"] == {"pull_signon": moment("2026-11-23 22:00").timestamp()}
        assert found["fresh"] == {"pull_signon": 1, "push_signon": 0, "pull_shop": 0}
        assert found["result"]["pull_shop"] == 2
        assert found["fresh_within_seconds"]["pull_shop"] == 28 * 3600
        assert found["replacing"] == {"integration": 0}
        assert found["window_open"] == {"integration": 1}
        assert found["switched_off"] == {"integration": 0}
        assert found["config_problems"] == {"integration": 0}
        assert found["unusable_syncs"] == {"integration": 0}

    def test_a_sync_that_never_ran_is_not_fresh_and_has_no_last(self) -> None:
        found = samples(status_metrics([status()]))
        assert found["fresh"]["pull_signon"] == 0
        assert "last_success_timestamp_seconds" not in found
        assert "last_result" not in found

    def test_a_pause_and_a_disabled_sync(self) -> None:
        plan = a_plan(a_sync("pull_signon"), a_sync("pull_shop", "05:00", ensure=Ensure.DISABLED))
        until = moment("2026-11-26 09:00")
        for pause, value in (
            (Pause(by="ada", why="w", until=until), until.timestamp()),
            (Pause(by="ada", why="w"), float("inf")),
        ):
            found = samples(status_metrics([status(plan=plan, pauses={"pull_signon": pause})]))
            assert found["paused_until_timestamp_seconds"] == {"pull_signon": value}
            assert found["enabled"] == {"pull_signon": 1, "pull_shop": 0}
            assert found["fresh"] == {"pull_signon": 0, "pull_shop": 1}

    def test_while_data_is_replaced(self) -> None:
        found = samples(status_metrics([status(tasks=[*RUNNING])]))
        assert found["replacing"] == {"integration": 1}
        assert found["replacing_since_timestamp_seconds"]["integration"] == (
            moment("2026-11-25 03:00").timestamp()
        )

    def test_what_was_swept_from_workers(self) -> None:
        swept = Swept(
            removed=(Leftover(environment="integration", group="pull_mapit", run="r", size=2_500_000),) * 2,
            left=("/work/1 could not be removed",),
        )
        found = samples(generate_latest(report_metrics(report(swept=swept), None)))
        assert found["last_swept_folders"][""] == 2
        assert found["last_swept_bytes"][""] == 5_000_000
        assert found["last_unswept_folders"][""] == 1
        # A Pushgateway keeps the last that it was given.
        found = samples(generate_latest(report_metrics(report(), None)))
        for name in ("last_swept_folders", "last_swept_bytes", "last_unswept_folders"):
            assert found[name][""] == 0

    def test_labels_are_escaped(self) -> None:
        plan = a_plan(a_sync("pull_signon", database='a"b\\c'))
        text = status_metrics([status(plan=plan)]).decode()
        (family,) = [each for each in text_string_to_metric_families(text) if each.name == "env_sync_fresh"]
        assert family.samples[0].labels["database"] == 'a"b\\c'

    def test_a_report_that_is_pushed_has_a_last_success_only_where_it_is_one(self) -> None:
        found = samples(generate_latest(report_metrics(report(), dt.timedelta(hours=28))))
        assert found["last_success_timestamp_seconds"][""] == REPORTED.timestamp()
        assert (found["fresh_within_seconds"][""], found["enabled"][""]) == (28 * 3600, 1)
        for values in (FAILED, {"skipped": True}, {"undo": True}):
            found = samples(generate_latest(report_metrics(report(**values), None)))
            assert "last_success_timestamp_seconds" not in found
            assert found["last_attempt_timestamp_seconds"][""] == REPORTED.timestamp()


class TestRules:
    def test_they_name_metrics_that_there_are(self) -> None:
        rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
        named = {name for rule in rules for name in re.findall(r"env_sync_\w+", rule["expr"])}
        assert named
        assert named <= {f"{PREFIX}{name}" for name in HELP}
        assert {rule["labels"]["severity"] for rule in rules} == {"critical", "warning"}
        assert all(rule["annotations"]["summary"] for rule in rules)


def test_every_metric_is_in_the_docs() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text()
    assert {name for name in HELP if f"`{PREFIX}{name}`" not in page} == set()


def test_what_the_docs_show_of_notifiers_imports_and_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "alerts.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    plan = evolve(PLAN, environment="integration")
    monkeypatch.setattr("env_sync.planning.installation.read_plan", lambda _: plan)
    monkeypatch.setattr("env_sync.planning.installation.chosen_environments", lambda: ("integration",))
    names: dict[str, Any] = {}
    exec(compile(code, "docs/alerts.md", "exec"), names)
    dag = names["env_sync_integration"]
    assert {type(each).__name__ for each in dag.on_failure_callback} == {"SmtpNotifier", "HttpNotifier"}
    assert dag.has_on_failure_callback
