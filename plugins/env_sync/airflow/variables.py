"""Pause records in Airflow Variables: read by tasks through the Task SDK, and by the command line."""

from __future__ import annotations

from env_sync.airflow.lookup import find_variable
from env_sync.domain.pause import Pause, pause_key, read_pause


def stored_pause(environment: str, sync: str) -> Pause | None:
    """The pause record of a sync as it is now; None where there is none.

    Raises AirflowUnreachable: what may be paused does not go on.
    """
    return read_pause(find_variable(pause_key(environment, sync)))
