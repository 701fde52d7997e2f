"""Pause records in Airflow Variables: read by tasks through the Task SDK, and by the command line."""

from __future__ import annotations

from airflow.sdk import Variable

from env_sync.pause import Pause, pause_key, read_pause


def stored_pause(environment: str, sync: str) -> Pause | None:
    """The pause record of a sync as it is now; None where there is none."""
    return read_pause(Variable.get(pause_key(environment, sync), default=None))
