"""Pause records in Airflow's metadata database, for the command line: list, write, remove."""

from __future__ import annotations

from airflow.models.variable import Variable
from airflow.utils.session import create_session

from env_sync.pause import Pause, pause_key, read_pause, write_pause


def set_pause(environment: str, sync: str, pause: Pause) -> None:
    """Write the pause record of a sync; one that is there is replaced."""
    with create_session() as session:
        Variable.set(
            pause_key(environment, sync),
            write_pause(pause),
            description="Paused sync of Env Sync",
            session=session,
        )


def remove_pause(environment: str, sync: str) -> bool:
    """Remove the pause record of a sync. Returns whether there was one."""
    with create_session() as session:
        return bool(Variable.delete(pause_key(environment, sync), session=session))


def get_pause(environment: str, sync: str) -> Pause | None:
    """The pause record of a sync; None where there is none."""
    with create_session() as session:
        variable = session.query(Variable).filter_by(key=pause_key(environment, sync)).one_or_none()
        return read_pause(variable.val) if variable is not None else None
