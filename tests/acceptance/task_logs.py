"""What tasks wrote before a test failed: their logs are gone with the test's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

MOST = 6
"""Logs that are told, the newest."""
LINES = 25
"""Lines of each, the last."""


def failed_tasks(folder: Path) -> str:
    """The ends of the newest logs below the folder in which a task tells an error; empty without any."""
    by_age = sorted(folder.glob("dag_id=*/**/*.log"), key=lambda log: log.stat().st_mtime, reverse=True)
    told: list[str] = []
    for log in by_age:
        lines = list(_lines(log))
        if any(level in ("error", "critical") for level, _ in lines):
            told.append("\n".join([f"{log.relative_to(folder)}:", *(text for _, text in lines[-LINES:])]))
        if len(told) == MOST:
            break
    return "\n\n".join(told)


def _lines(log: Path) -> Iterator[tuple[str, str]]:
    """The lines of a task's log, each with its level: Airflow 3 writes one JSON object in each."""
    for line in log.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            yield "", line
            continue
        detail = entry.get("error_detail")
        text = f"{entry.get('timestamp', '')} {entry.get('level', '')} {entry.get('event', '')}"
        yield entry.get("level", ""), f"{text} {json.dumps(detail)[-1500:]}" if detail else text
