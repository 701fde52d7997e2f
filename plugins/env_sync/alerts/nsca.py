"""NSCA is told by its program, `send_nsca`: one line on its standard input."""

from __future__ import annotations

import logging
import tempfile

from env_sync.alerts.alert import Alert
from env_sync.core.cancellation import Cancellation
from env_sync.core.command import run
from env_sync.core.errors import ToolMissing
from env_sync.domain.monitors import Nsca, fill

PROGRAM = "send_nsca"
PATIENCE = 10
"""Seconds for the daemon to answer."""


def send(monitor: Nsca, alert: Alert, *, cancellation: Cancellation, log: logging.Logger) -> None:
    """Tell the daemon. Raises ToolMissing, ToolFailed, Cancelled."""
    argv = [PROGRAM, "-H", monitor.server, "-p", str(monitor.port), "-to", str(PATIENCE)]
    if monitor.config is not None:
        argv += ["-c", str(monitor.config)]
    with tempfile.TemporaryFile() as line:
        line.write(f"{_line(monitor, alert)}\n".encode())
        line.seek(0)
        try:
            run(argv, cancellation=cancellation, log=log, stdin=line)
        except ToolMissing:
            raise ToolMissing(
                f"There is no program {PROGRAM} on this worker: install it (Debian's package nsca-client), "
                "or remove this monitor from `govuk_env_sync::monitors`."
            ) from None


def _line(monitor: Nsca, alert: Alert) -> str:
    """Host, service, exit status and output, with a tab between them; see send_nsca(1)."""
    figures = " ".join(map(str, alert.figures))
    output = _plain(alert.summary) + (f" | {figures}" if figures else "")
    host, service = (_plain(fill(each, alert.names)) for each in (monitor.host, monitor.service))
    return "\t".join((host, service, str(alert.exit_status), output))


def _plain(text: str) -> str:
    """Without what has a meaning there: tabs, ends of lines, and the bar before the performance data."""
    return " ".join(text.replace("|", "/").split())
