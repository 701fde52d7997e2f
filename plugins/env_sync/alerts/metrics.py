"""Metrics for Prometheus: of the status of environments, to be scraped, and of one report, to be pushed.

Names and units are those of https://prometheus.io/docs/practices/naming/: seconds, bytes, and moments as
seconds since 1970, so that ages are counted by whoever asks.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import frozen
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from env_sync.domain.leftovers import Swept
from env_sync.domain.report import GRAVITY, Report, Result
from env_sync.domain.sync import Action
from env_sync.status.values import EnvironmentStatus, SyncStatus

PREFIX = "env_sync_"
OF_A_SYNC = ("environment", "sync", "action", "database")
"""The labels of what is told of a sync."""
OF_AN_ENVIRONMENT = ("environment",)

HELP: Mapping[str, str] = {
    "last_success_timestamp_seconds": "When the sync last succeeded.",
    "last_attempt_timestamp_seconds": "When the sync was last reported, however it went.",
    "last_result": "How it went then: 0 OK, 1 WARNING, 2 CRITICAL.",
    "last_duration_seconds": "How long that took.",
    "last_size_bytes": "The size of its dump, or of what was mirrored.",
    "last_unavailability_seconds": "How long live was unavailable.",
    "last_swept_folders": "How many work folders of ended attempts it removed from workers.",
    "last_swept_bytes": "The size of what lay in them.",
    "last_unswept_folders": "How many of them it could not remove.",
    "data_timestamp_seconds": "When the data that live or the dump holds was read where it was born.",
    "result": "The worse of the last report and the freshness: 0 OK, 1 WARNING, 2 CRITICAL.",
    "fresh": "Whether the last success is recent enough: 1 or 0.",
    "fresh_within_seconds": "The longest allowed time since the last success.",
    "enabled": "Whether the sync runs every night: 1 or 0.",
    "paused_until_timestamp_seconds": "When the pause of the sync ends; +Inf where it must be ended by hand.",
    "replacing": "Whether data of the environment is being replaced: 1 or 0.",
    "replacing_since_timestamp_seconds": "Since when that is so.",
    "window_open": "Whether the window is open: 1 or 0.",
    "window_closes_timestamp_seconds": "When the window closes, or closes next.",
    "switched_off": "Whether the DAG of the environment is switched off: 1 or 0.",
    "config_problems": "How many problems the configuration of the environment has.",
    "unusable_syncs": "How many syncs do not run because of such a problem.",
}
"""Each metric, after its prefix."""


@frozen
class _Sample:
    metric: str
    value: float


@frozen(eq=False)
class _Collected(Collector):
    """Families that were made before."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


def status_metrics(statuses: Iterable[EnvironmentStatus]) -> bytes:
    """The metrics of environments in Prometheus' text format, UTF-8."""
    families: dict[str, Metric] = {}
    for status in statuses:
        _add(families, OF_AN_ENVIRONMENT, (status.environment,), _of_environment(status))
        for sync in status.syncs:
            labels = (sync.environment, sync.sync, sync.action, sync.database)
            _add(families, OF_A_SYNC, labels, _of_sync(sync))
    return generate_latest(_registry(families))


def report_metrics(report: Report, fresh_within: dt.timedelta | None) -> CollectorRegistry:
    """The metrics of one report; environment and sync are for the group that they are pushed to.

    `fresh_within` is None where no night runs the sync.
    """
    samples = [*_of_report(report), _Sample("enabled", fresh_within is not None)]
    if fresh_within is not None:
        samples.append(_Sample("fresh_within_seconds", fresh_within.total_seconds()))
    if report.result is not Result.CRITICAL and not report.skipped and not report.undo:
        samples.append(_Sample("last_success_timestamp_seconds", report.reported.timestamp()))
    if report.data_time is not None:
        samples.append(_Sample("data_timestamp_seconds", report.data_time.timestamp()))
    families: dict[str, Metric] = {}
    _add(families, ("action", "database"), (report.action, report.database), samples)
    return _registry(families)


def _of_environment(status: EnvironmentStatus) -> Iterator[_Sample]:
    replacing = status.replacing
    yield _Sample("replacing", replacing.replacing)
    if replacing.since is not None:
        yield _Sample("replacing_since_timestamp_seconds", replacing.since.timestamp())
    yield _Sample("window_open", replacing.open)
    yield _Sample("window_closes_timestamp_seconds", replacing.closes.timestamp())
    if status.switched_off is not None:
        yield _Sample("switched_off", status.switched_off)
    yield _Sample("config_problems", len(status.problems))
    yield _Sample("unusable_syncs", len(status.unusable))


def _of_sync(sync: SyncStatus) -> Iterator[_Sample]:
    freshness = sync.freshness
    yield _Sample("result", GRAVITY[sync.result])
    yield _Sample("enabled", sync.enabled)
    yield _Sample("fresh", freshness.result is Result.OK)
    yield _Sample("fresh_within_seconds", freshness.limit.total_seconds())
    if freshness.last_success is not None:
        yield _Sample("last_success_timestamp_seconds", freshness.last_success.timestamp())
    if sync.pause is not None:
        until = sync.pause.until
        yield _Sample("paused_until_timestamp_seconds", math.inf if until is None else until.timestamp())
    if sync.last is not None:
        yield from _of_report(sync.last)
    if (data_time := _data_time(sync)) is not None:
        yield _Sample("data_timestamp_seconds", data_time.timestamp())


def _of_report(report: Report) -> Iterator[_Sample]:
    yield _Sample("last_attempt_timestamp_seconds", report.reported.timestamp())
    yield _Sample("last_result", GRAVITY[report.result])
    if report.seconds is not None:
        yield _Sample("last_duration_seconds", report.seconds)
    if report.bytes is not None:
        yield _Sample("last_size_bytes", report.bytes)
    if report.unavailable is not None:
        yield _Sample("last_unavailability_seconds", report.unavailable)
    swept = report.swept or Swept()
    yield _Sample("last_swept_folders", len(swept.removed))
    yield _Sample("last_swept_bytes", swept.size)
    yield _Sample("last_unswept_folders", len(swept.left))


def _data_time(sync: SyncStatus) -> dt.datetime | None:
    """Of what live holds; of a push, of what it dumped last."""
    if sync.action == Action.PUSH:
        return sync.last.data_time if sync.last is not None else None
    return sync.holding.data_time if sync.holding is not None else None


def _add(
    families: dict[str, Metric], names: Sequence[str], values: Sequence[str], samples: Iterable[_Sample]
) -> None:
    for sample in samples:
        family = families.get(sample.metric)
        if family is None:
            family = families[sample.metric] = GaugeMetricFamily(
                f"{PREFIX}{sample.metric}", HELP[sample.metric], labels=names
            )
        family.add_sample(family.name, dict(zip(names, values, strict=True)), sample.value)


def _registry(families: Mapping[str, Metric]) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(tuple(families.values())))
    return registry
