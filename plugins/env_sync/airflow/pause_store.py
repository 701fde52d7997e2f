"""Pause records in Airflow's metadata database, for the command line and the board: list, write, remove."""

from __future__ import annotations

from airflow.models.variable import Variable
from airflow.utils.session import NEW_SESSION, provide_session
from sqlalchemy import select
from sqlalchemy.orm import Session

from env_sync.domain.pause import PREFIX, Pause, pause_key, read_pause, write_pause


@provide_session
def set_pause(environment: str, sync: str, pause: Pause, session: Session = NEW_SESSION) -> None:
    """Write the pause record of a sync; one that is there is replaced."""
    key = pause_key(environment, sync)
    Variable.set(key, write_pause(pause), description="Paused sync of Env Sync", session=session)


@provide_session
def remove_pause(environment: str, sync: str, session: Session = NEW_SESSION) -> bool:
    """Remove the pause record of a sync. Returns whether there was one."""
    return bool(Variable.delete(pause_key(environment, sync), session=session))


@provide_session
def get_pause(environment: str, sync: str, session: Session = NEW_SESSION) -> Pause | None:
    """The pause record of a sync; None where there is none."""
    variable = session.scalar(select(Variable).where(Variable.key == pause_key(environment, sync)))
    return read_pause(variable.val) if variable is not None else None


@provide_session
def all_pauses(session: Session = NEW_SESSION) -> dict[str, Pause]:
    """Every pause record, by its key (`pause_key`)."""
    found = session.scalars(select(Variable).where(Variable.key.startswith(PREFIX, autoescape=True)))
    pauses = {variable.key: read_pause(variable.val) for variable in found}
    return {key: pause for key, pause in pauses.items() if pause is not None}
