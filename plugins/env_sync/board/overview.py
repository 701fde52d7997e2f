"""The status of environments, read now: their plans from files, the rest from Airflow's metadata database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy.orm import Session

from env_sync.board.nights import read_rows, read_work
from env_sync.board.plans import current_plan
from env_sync.status.environments import make_status, replacing_at
from env_sync.status.values import EnvironmentStatus, Replacing


def read_statuses(
    session: Session, environments: Sequence[str], now: dt.datetime
) -> tuple[EnvironmentStatus, ...]:
    """The status of each environment at `now` (UTC). Raises UnknownEnvironment, NoHieradata."""
    plans = [current_plan(environment) for environment in environments]
    rows = read_rows(session, plans, now)
    return tuple(make_status(plan, rows[plan.environment], now) for plan in plans)


def read_replacing(session: Session, environment: str, now: dt.datetime) -> Replacing:
    """Whether data of an environment is being replaced at `now` (UTC). Raises the same."""
    plan = current_plan(environment)
    return replacing_at(plan, read_work(session, plan, now), now)
