"""An alert is sent to every monitor at once, a few times where that may help, for a bounded time."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from env_sync.alerts import icinga, nsca, pushgateway
from env_sync.alerts.alert import Alert
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import EnvSyncError
from env_sync.core.failure import described
from env_sync.core.secret import Login
from env_sync.domain.monitors import Icinga, Monitor, Nsca, Pushgateway

ATTEMPTS = 3
BETWEEN_ATTEMPTS = wait_exponential(multiplier=2, max=10)
"""Seconds: 2, then 4."""
PATIENCE = 60.0
"""Seconds that all of it may take, whatever the monitors do."""
LOOK = 1.0
"""Seconds between two looks at whether the task was cancelled."""


@frozen(kw_only=True)
class Recipient:
    """A monitor, with the login that it asks for."""

    monitor: Monitor
    login: Login | None = None


@frozen(kw_only=True)
class Sent:
    """What became of an alert at one monitor. `failure` is None where the monitor took it."""

    monitor: Monitor
    failure: str | None


Send = Callable[[Any, Alert, Login | None, Cancellation, logging.Logger], None]

SENDERS: Mapping[type[Monitor], Send] = {
    Icinga: lambda monitor, alert, login, _cancellation, _log: icinga.send(monitor, alert, login),
    Nsca: lambda monitor, alert, _login, cancellation, log: nsca.send(
        monitor, alert, cancellation=cancellation, log=log
    ),
    Pushgateway: lambda monitor, alert, login, _cancellation, _log: pushgateway.send(monitor, alert, login),
}
"""How each kind of monitor is told."""


def send_alert(
    alert: Alert, recipients: Sequence[Recipient], *, cancellation: Cancellation, log: logging.Logger
) -> Iterator[Sent]:
    """Send an alert; what became of it at each monitor, as soon as it is known. Raises nothing for a monitor.

    Each is told by a thread of its own, which is left alone where its time is over: no monitor can hold up
    another one, or the report.
    """
    answers: queue.SimpleQueue[Sent] = queue.SimpleQueue()
    ended = Cancellation()
    for recipient in recipients:
        threading.Thread(
            target=lambda recipient: answers.put(_send(alert, recipient, ended, log)),
            args=(recipient,),
            name=f"alert to {recipient.monitor}",
            daemon=True,
        ).start()
    waited_for = [recipient.monitor for recipient in recipients]
    deadline = time.monotonic() + PATIENCE
    try:
        while waited_for and not cancellation.cancelled and (left := deadline - time.monotonic()) > 0:
            try:
                sent = answers.get(timeout=min(left, LOOK))
            except queue.Empty:
                continue
            waited_for.remove(sent.monitor)
            yield sent
    finally:
        ended.cancel()
    why = "the task was cancelled" if cancellation.cancelled else f"it took longer than {PATIENCE:.0f} s"
    for monitor in waited_for:
        yield Sent(monitor=monitor, failure=why)


def _send(alert: Alert, recipient: Recipient, ended: Cancellation, log: logging.Logger) -> Sent:
    send = SENDERS[type(recipient.monitor)]
    attempts = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=BETWEEN_ATTEMPTS,
        retry=retry_if_exception(lambda problem: isinstance(problem, EnvSyncError) and problem.passing),
        reraise=True,
    )
    try:
        attempts(send, recipient.monitor, alert, recipient.login, ended, log)
    except Exception as problem:  # noqa: BLE001 - told in the report; an alert never fails a sync
        return Sent(monitor=recipient.monitor, failure=described(problem))
    return Sent(monitor=recipient.monitor, failure=None)
