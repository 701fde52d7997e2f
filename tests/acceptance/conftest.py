"""The scene, started when a test first asks for it, and what begins with it: the lanes, the demo."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import shutil
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from sandbox import process
from sandbox.airflow import Airflow
from sandbox.monitor import Monitor
from sandbox.postgresql import PostgreSQLServer
from sandbox.s3 import MotoS3
from tests.acceptance.demo import Demo
from tests.acceptance.lanes import Lanes, lane_of, lane_tests
from tests.acceptance.sandbox_dags import BUNDLE, CONNECTIONS, ENVIRONMENT, bundles
from tests.acceptance.scene import (
    APPLICATION,
    BUCKET,
    BY_HAND,
    DATABASES,
    MONITOR_CONNECTION,
    MONITOR_USER,
    NIGHTLY,
    PASSWORD,
    TRANSFORMATIONS,
    Scene,
    environment,
    monitored,
    prepare,
    production,
)
from tests.acceptance.task_logs import failed_tasks
from tests.conftest import Startable, run_server

PATIENCE = 2400
"""Seconds that a test may take, with all that it waits for: others run beside it."""
LANES = pytest.StashKey[Lanes]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder their time, and have those last that wait for all lanes.

    Before those, what became of the lanes' tests is told: they run while the others do.
    """
    places = [place for place, item in enumerate(items) if item.path.is_relative_to(Path(__file__).parent)]
    in_turn = sorted((items[place] for place in places), key=_turn)
    for place, item in zip(places, in_turn, strict=True):
        item.add_marker(pytest.mark.timeout(PATIENCE))
        items[place] = item


def _turn(item: pytest.Item) -> int:
    if "alone" in getattr(item, "fixturenames", ()):
        return 2
    return 0 if lane_of(item) is None else 1


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Tell what became of a test that ran, or still runs, in its lane."""
    if lane_of(pyfuncitem) is None:
        return None
    pyfuncitem.session.stash[LANES].result(pyfuncitem.nodeid)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell with a failure what tasks of the scene wrote."""
    report = yield
    scene = getattr(item, "funcargs", {}).get("scene")
    if report.failed and isinstance(scene, Scene) and (told := failed_tasks(scene.airflow.logs)):
        report.sections.append(("tasks that told an error", told))
    return report


@pytest.fixture(autouse=True)
def everything_begun(request: pytest.FixtureRequest) -> None:
    """Begin what takes long before the first test, where a chosen test needs it."""
    chosen = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    if "demo" in chosen:
        request.getfixturevalue("demo")
    if "scene" in chosen:
        request.getfixturevalue("lanes")


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """A demo that serves its UI in the end, in a folder that is empty at first."""
    folder = process.temporary_folder()
    demo = Demo(folder / "demo", "--serve")
    yield demo
    demo.stop()
    demo.end()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def lanes(request: pytest.FixtureRequest, scene: Scene) -> Iterator[Lanes]:
    """The lanes, begun."""
    lanes = Lanes(lane_tests(request.session.items, {"scene": scene}))
    request.session.stash[LANES] = lanes
    lanes.start()
    yield lanes
    lanes.stop()


@pytest.fixture
def alone(lanes: Lanes) -> None:
    """Nothing runs in the scene's Airflow but what this test starts."""
    lanes.wait()


@frozen
class Servers:
    """The servers of production, of who pulls by hand and at night, and of the bucket."""

    production: PostgreSQLServer
    by_hand: PostgreSQLServer
    nightly: PostgreSQLServer
    s3: MotoS3


@pytest.fixture(scope="session")
def servers(server_folder: Path) -> Iterator[Servers]:
    """The servers, started side by side."""

    def begin(server: Callable[[], Startable]) -> Any:
        return pool.submit(stack.enter_context, contextlib.contextmanager(run_server)(server))

    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:
        begun = [
            *(
                begin(functools.partial(PostgreSQLServer, server_folder / version, version))
                for version in ("debian15", "pypi16", "pypi18")
            ),
            begin(functools.partial(MotoS3, server_folder / "moto")),
        ]
        yield Servers(*(each.result() for each in begun))


@pytest.fixture(scope="session")
def scene(server_folder: Path, servers: Servers) -> Iterator[Scene]:
    """The servers, those over HTTP that are told things, and an Airflow that knows all of them."""
    now = dt.datetime.now(dt.UTC)
    login = f"{MONITOR_USER}:{PASSWORD}"
    with contextlib.ExitStack() as stack:
        monitors, failing = ([stack.enter_context(Monitor(login=login)) for _ in range(2)] for _ in range(2))
        replay = stack.enter_context(Monitor())
        prepare(servers.production, DATABASES, "real-")
        prepare(servers.by_hand, DATABASES, "old-")
        prepare(servers.nightly, NIGHTLY, "old-")
        servers.s3.create_buckets([BUCKET])
        folder = server_folder / "scene"
        hieradata, transformations = folder / "hieradata", folder / "transformation_sql"
        for made in (hieradata, transformations):
            made.mkdir(parents=True)
        for name, text in TRANSFORMATIONS.items():
            (transformations / name).write_text(text)
        told = {"staging": monitors, "training": monitors, "rehearsal": failing}
        (hieradata / "production.yaml").write_text(production(now))
        for name, syncs in BY_HAND.items():
            settings = [monitored(told[name])] if name in told else []
            (hieradata / f"{name}.yaml").write_text(environment(syncs, *settings, now=now))
        on = {
            "production": servers.production,
            **dict.fromkeys(BY_HAND, servers.by_hand),
            "nightly": servers.nightly,
        }
        connections: dict[str, dict[str, object]] = {
            MONITOR_CONNECTION: {"conn_type": "http", "login": MONITOR_USER, "password": PASSWORD}
        }
        for name, server in on.items():
            host = "nightly" if name == "nightly" else "databases"
            connections[f"env_sync_{name}_{host}"] = server.airflow_connection(
                password=PASSWORD, environment=name, owner=APPLICATION
            )
            connections[f"env_sync_{name}_s3"] = servers.s3.airflow_connection(environment=name)
        airflow = stack.enter_context(
            Airflow(
                folder / "airflow",
                servers.production,
                connections={**connections, **CONNECTIONS},
                env={
                    "ENV_SYNC_HIERADATA": str(hieradata),
                    "ENV_SYNC_WORK_FOLDER": str(folder / "work"),
                    **ENVIRONMENT,
                },
                settings={
                    "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": bundles(folder / BUNDLE),
                    # Other tests may take nearly all of the machine.
                    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "600",
                    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "600",
                },
                parallelism=12,
            )
        )
        api = stack.enter_context(contextlib.closing(airflow.api()))
        viewer = stack.enter_context(contextlib.closing(airflow.api("viewer")))
        scene = Scene(
            airflow=airflow,
            api=api,
            viewer=viewer,
            servers=on,
            s3=servers.s3,
            hieradata=hieradata,
            monitors=monitors,
            failing_monitors=failing,
            replay=replay,
        )
        pushed = scene.switch_on("production", only=["all"])
        for name in BY_HAND:
            scene.switch_on(name)
        scene.finish("production", pushed)
        yield scene
