"""Icinga 2 takes results by its API, `process-check-result`.

https://icinga.com/docs/icinga-2/latest/doc/12-icinga2-api/#process-check-result
"""

from __future__ import annotations

import json

from env_sync.alerts.alert import Alert
from env_sync.alerts.http import send_request
from env_sync.core.addresses import host_of
from env_sync.core.errors import AlertRefused
from env_sync.core.secret import Login
from env_sync.domain.monitors import Icinga, fill

ACTION = "/v1/actions/process-check-result"


def send(monitor: Icinga, alert: Alert, login: Login | None) -> None:
    """Tell Icinga. Raises AlertRefused, AccessRefused, ServerUnreachable."""
    service = f"{fill(monitor.host, alert.names)}!{fill(monitor.service, alert.names)}"
    body: dict[str, object] = {
        "type": "Service",
        "service": service,
        "exit_status": alert.exit_status,
        "plugin_output": "\n".join(alert.details),
        "performance_data": [str(figure) for figure in alert.figures],
        # No execution_start: Icinga drops, without a word, a result that began before its last one, which its
        # own check of freshness may be.
        "check_source": f"env_sync {alert.environment}",
    }
    if alert.next_within is not None:
        # Icinga then runs the check of the service itself, which says CRITICAL.
        body["ttl"] = alert.next_within.total_seconds()
    status = send_request(
        "POST",
        f"{monitor.url}{ACTION}",
        json.dumps(body).encode(),
        headers={"Accept": "application/json", "Content-Type": "application/json"},
        login=login,
        ca=monitor.ca,
    )
    host = host_of(monitor.url)
    if status == 404:
        raise AlertRefused(
            f'{host} has no service "{service}", or hides it from this user: create it as docs/alerts.md '
            "shows, or correct `host` and `service` of this monitor."
        )
    if not 200 <= status < 300:
        raise AlertRefused(f"{host} answered {status}: is `url` the address of Icinga's API?")
