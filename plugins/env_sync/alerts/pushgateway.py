"""Prometheus' Pushgateway is told the metrics of one report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import pushadd_to_gateway

from env_sync.alerts.alert import Alert
from env_sync.alerts.http import send_request
from env_sync.alerts.metrics import report_metrics
from env_sync.core.errors import AlertRefused
from env_sync.core.secret import Login
from env_sync.domain.monitors import Pushgateway


def send(monitor: Pushgateway, alert: Alert, login: Login | None) -> None:
    """Push the metrics. Raises AlertRefused, AccessRefused, ServerUnreachable.

    They are added to those that are there: the last success stays what it was when a sync fails.
    """

    def request(
        *, url: str, method: str, timeout: float | None, headers: Sequence[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        def push() -> None:
            status = send_request(method, url, data, headers=dict(headers), login=login, ca=monitor.ca)
            if not 200 <= status < 300:
                raise AlertRefused(f"{monitor} answered {status}: is `url` the address of a Pushgateway?")

        return push

    handler: Any = request
    pushadd_to_gateway(
        monitor.url,
        job=monitor.job,
        registry=report_metrics(alert.report, alert.next_within),
        grouping_key={"environment": alert.environment, "sync": alert.sync},
        handler=handler,
    )
