"""Airflow's metadata tables in a real PostgreSQL, with a history of nights."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.models import import_all_models
from airflow.models.base import Base
from attrs import frozen
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from env_sync.config.reader import read_environment
from env_sync.engines.registry import offered
from env_sync.planning.installation import HIERADATA, TRANSFORMATIONS
from env_sync.planning.plan import make_plan
from sandbox.board_history import hieradata, write_history
from sandbox.postgresql import PostgreSQLServer

ENVIRONMENTS = {"production": None, "staging": "production", "integration": "staging"}
DATABASES = 31
NIGHTS = 30
NOW = dt.datetime(2026, 11, 25, 1, 30, tzinfo=dt.UTC)
"""In the middle of a night."""


@frozen
class History:
    """The tables, and the syncs that they tell of."""

    engine: Engine
    folder: Path
    syncs: int


@pytest.fixture(scope="session")
def history(postgresql15: PostgreSQLServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """155 syncs in three environments, and 30 nights, of which the last is running."""
    folder = tmp_path_factory.mktemp("hieradata")
    for environment, above in ENVIRONMENTS.items():
        (folder / f"{environment}.yaml").write_text(hieradata(environment, above, DATABASES))
    with postgresql15.temporary_database() as database:
        uri = postgresql15.uri(database).replace("postgresql://", "postgresql+psycopg2://", 1)
        engine = create_engine(uri)
        import_all_models()  # type: ignore[no-untyped-call]  # Airflow's function has no types
        Base.metadata.create_all(engine)
        opened = NOW.replace(hour=22, minute=0) - dt.timedelta(days=1)
        openings = [opened - dt.timedelta(days=day) for day in range(NIGHTS)]
        syncs = 0
        with Session(engine) as session:
            for environment in ENVIRONMENTS:
                plan = make_plan(read_environment(folder, environment, folder), offered())
                write_history(session, plan, openings, NOW, whole=1)
                syncs += len(plan.names())
        try:
            yield History(engine, folder, syncs)
        finally:
            engine.dispose()


@pytest.fixture
def session(history: History, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session on those tables; the configuration is that of the history."""
    monkeypatch.setenv(HIERADATA, str(history.folder))
    monkeypatch.setenv(TRANSFORMATIONS, str(history.folder))
    with Session(history.engine) as session:
        yield session
