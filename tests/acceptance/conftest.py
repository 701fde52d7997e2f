"""The scene, started when a test first asks for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from sandbox import process
from sandbox.airflow import Airflow
from sandbox.monitor import Monitor
from sandbox.postgresql import PostgreSQLServer
from sandbox.s3 import MotoS3
from tests.acceptance.scene import (
    BUCKET,
    DATABASES,
    INTEGRATION,
    MONITOR_CONNECTION,
    MONITOR_USER,
    PASSWORD,
    PRODUCTION,
    TRANSFORMATIONS,
    Scene,
    monitored,
    prepare,
)


@pytest.fixture(scope="session")
def monitors() -> Iterator[tuple[Monitor, Monitor]]:
    """Two HTTP servers in the place of the monitoring."""
    login = f"{MONITOR_USER}:{PASSWORD}"
    with Monitor(login=login) as one, Monitor(login=login) as other:
        yield one, other


@pytest.fixture(scope="session")
def replay() -> Iterator[Monitor]:
    """An HTTP server in the place of a tool that replays traffic."""
    with Monitor() as server:
        yield server


@pytest.fixture(scope="session")
def scene(
    postgresql15: PostgreSQLServer,
    postgresql16: PostgreSQLServer,
    postgresql18: PostgreSQLServer,
    moto: MotoS3,
    monitors: tuple[Monitor, Monitor],
    replay: Monitor,
) -> Iterator[Scene]:
    """The servers, those over HTTP that are told things, and an Airflow that knows all of them."""
    targets = {"production": postgresql15, "integration": postgresql16, "nightly": postgresql18}
    for server in targets.values():
        server.clear()
    moto.create_buckets([BUCKET])
    prepare(targets["production"], DATABASES, "real-")
    prepare(targets["integration"], DATABASES, "old-")
    prepare(targets["nightly"], DATABASES, "old-")
    folder = process.temporary_folder()
    hieradata, transformations = folder / "hieradata", folder / "transformation_sql"
    hieradata.mkdir()
    transformations.mkdir()
    for name, text in TRANSFORMATIONS.items():
        (transformations / name).write_text(text)
    (hieradata / "production.yaml").write_text(PRODUCTION)
    (hieradata / "integration.yaml").write_text(
        f"{monitored(*(each.url for each in monitors))}\n{INTEGRATION}"
    )
    connections: dict[str, dict[str, object]] = {
        MONITOR_CONNECTION: {"conn_type": "http", "login": MONITOR_USER, "password": PASSWORD}
    }
    for environment, server in targets.items():
        host = "nightly" if environment == "nightly" else "databases"
        connections[f"env_sync_{environment}_{host}"] = server.airflow_connection(
            password=PASSWORD, environment=environment
        )
        connections[f"env_sync_{environment}_s3"] = moto.airflow_connection(environment=environment)
    airflow = Airflow(
        folder / "airflow",
        postgresql15,
        connections=connections,
        env={
            "ENV_SYNC_HIERADATA": str(hieradata),
            "ENV_SYNC_WORK_FOLDER": str(folder / "work"),
        },
        parallelism=6,
    )
    try:
        with airflow:
            api, viewer = airflow.api(), airflow.api("viewer")
            for environment in ("production", "integration"):
                api.wait_for_dag(f"env_sync_{environment}")
                api.unpause_dag(f"env_sync_{environment}")
            scene = Scene(airflow, api, viewer, targets, moto, hieradata, *monitors, replay)
            run = scene.trigger("production", only=["all"])
            scene.finish("production", run)
            yield scene
    finally:
        shutil.rmtree(folder, ignore_errors=True)
