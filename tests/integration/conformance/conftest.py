"""Subjects of the conformance suite, and its table: scenario by engine."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from env_sync.pipeline import clean_up as finish_module
from sandbox import mysql
from sandbox.documentdb import DocumentDBProxy
from sandbox.elasticsearch import ElasticsearchServer
from sandbox.elasticsearch_gate import ElasticsearchGate
from sandbox.mongodb import MongoDBServer
from sandbox.postgresql import PostgreSQLServer
from sandbox.s3 import VersityGW
from tests.conftest import Server, run_server
from tests.integration.clusters import Clusters, clusters_in
from tests.integration.conformance.elasticsearch.subject import (
    CopyingSubject,
    ElasticsearchSubject,
    make_gate,
)
from tests.integration.conformance.files.subject import FilesSubject, Roots, can_be_others
from tests.integration.conformance.mongo.subject import DocumentDBSubject, MongoDBSubject
from tests.integration.conformance.mysql.subject import MySQLSubject
from tests.integration.conformance.postgresql.subject import PostgreSQLSubject
from tests.integration.conformance.scenarios import ALL, NOT_RECORDED, is_recorded
from tests.integration.conformance.stage import Stage
from tests.integration.conformance.subject import SOURCE, TARGET, Subject
from tests.lacking import lacks
from tests.parameters import parameters_of
from tests.result_table import CONFORMANCE, put_into
from tests.sweep import draw


class Servers:
    """Servers, each started when it is first asked for, under a name of its own."""

    def __init__(self, folder: Path, clusters: Clusters) -> None:
        self.clusters = clusters
        self._folder = folder
        self._running: dict[str, Iterator[Any]] = {}
        self._started: dict[str, Any] = {}

    def get(self, name: str, make: Callable[[Path], Server]) -> Server:
        """The server of this name; `make` is given its folder."""
        if name not in self._started:
            self._running[name] = run_server(lambda: make(self._folder / f"conformance-{name}"))
            self._started[name] = next(self._running[name])
        server: Server = self._started[name]
        return server

    def stop(self) -> None:
        """Stop them all."""
        for one in self._running.values():
            next(one, None)


def _postgresql(source: str, target: str) -> Callable[[str, Servers], Subject]:
    def server(servers: Servers, installation: str, environment: str) -> PostgreSQLServer:
        name = f"{installation}-{environment}"
        return servers.get(name, lambda folder: PostgreSQLServer(folder, installation))

    return lambda name, servers: PostgreSQLSubject(
        name, server(servers, source, SOURCE), server(servers, target, TARGET)
    )


def _files(name: str, servers: Servers) -> Subject:
    if not can_be_others():
        lacks("only root can be an application and the sync's user at the same time")
    return FilesSubject(name, servers.get("files", Roots))


def _mongodb(name: str, servers: Servers) -> Subject:
    return MongoDBSubject(
        name,
        servers.get(f"mongodb-{SOURCE}", lambda folder: MongoDBServer(folder)),
        servers.get(f"mongodb-{TARGET}", lambda folder: MongoDBServer(folder)),
    )


def _mysql(name: str, servers: Servers) -> Subject:
    source, target = (
        servers.get(f"mysql-{environment}", mysql.server_class()) for environment in (SOURCE, TARGET)
    )
    return MySQLSubject(name, source, target)


def _documentdb(name: str, servers: Servers) -> Subject:
    behind = {
        environment: servers.get(f"mongodb-{environment}", lambda folder: MongoDBServer(folder))
        for environment in (SOURCE, TARGET)
    }

    def proxy(environment: str) -> DocumentDBProxy:
        port = behind[environment].port
        return servers.get(f"documentdb-{environment}", lambda folder: DocumentDBProxy(port, folder))

    proxies = {environment: proxy(environment) for environment in behind}
    return DocumentDBSubject(name, behind[SOURCE], behind[TARGET], proxies)


def _elasticsearch(
    source: str, target: str, kind: type[ElasticsearchSubject] = ElasticsearchSubject
) -> Callable[[str, Servers], Subject]:
    def make(name: str, servers: Servers) -> Subject:
        above, below = servers.clusters.get(source, target)

        def gate(letter: str, server: ElasticsearchServer) -> ElasticsearchGate:
            return servers.get(f"gate-{letter}", lambda _: make_gate(server))

        return kind(name, above, below, {SOURCE: gate(source, above), TARGET: gate(target, below)})

    return make


SUBJECTS: Mapping[str, Callable[[str, Servers], Subject]] = {
    "PostgreSQL 12": _postgresql("maven12", "maven12"),
    "PostgreSQL 13": _postgresql("maven13", "maven13"),
    "PostgreSQL 14": _postgresql("maven14", "maven14"),
    "PostgreSQL 15": _postgresql("debian15", "debian15"),
    "PostgreSQL 16": _postgresql("pypi16", "pypi16"),
    "PostgreSQL 17": _postgresql("maven17", "maven17"),
    "PostgreSQL 18": _postgresql("pypi18", "pypi18"),
    "PostgreSQL 15 to 18": _postgresql("debian15", "pypi18"),
    mysql.server_class().family: _mysql,
    "MongoDB": _mongodb,
    "DocumentDB": _documentdb,
    "Elasticsearch 7.17": _elasticsearch("7a", "7b"),
    "Elasticsearch 7.17 (copy)": _elasticsearch("7a", "7b", CopyingSubject),
    "Elasticsearch 8.19 (copy)": _elasticsearch("8a", "8b", CopyingSubject),
    "Elasticsearch 7.17 to 8.19": _elasticsearch("7a", "8a"),
    "Files": _files,
}


TWICE = "test_everything_comes_down_twice"
NOTHING_PERSONAL = "test_nothing_personal_comes_down_and_nothing_changes_above"
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "PostgreSQL 12": (
        TWICE,
        NOTHING_PERSONAL,
        "test_promote_that_is_cancelled",
    ),
    "PostgreSQL 13": (TWICE,),
    "PostgreSQL 14": (TWICE,),
    "PostgreSQL 15": (
        TWICE,
        NOTHING_PERSONAL,
        "test_a_first_pull_makes_live",
        "test_promote",
    ),
    "PostgreSQL 16": (TWICE,),
    "PostgreSQL 17": (TWICE, NOTHING_PERSONAL),
    "PostgreSQL 15 to 18": (
        TWICE,
        NOTHING_PERSONAL,
        "test_a_first_pull_makes_live",
    ),
    "DocumentDB": ("test_round_trip", "test_promote", "test_recordings"),
    "Elasticsearch 7.17 (copy)": (
        "test_promote",
        NOTHING_PERSONAL,
        "test_recordings",
    ),
    "Elasticsearch 8.19 (copy)": (TWICE,),
    "Elasticsearch 7.17 to 8.19": (TWICE,),
}
"""Subjects that differ from another by their server alone, and what this can change: modules and tests."""

SOME_VARIANTS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "versions of PostgreSQL": (tuple(name for name in VARIANTS if name.startswith("PostgreSQL")), 2),
    "versions of Elasticsearch": (("Elasticsearch 8.19 (copy)", "Elasticsearch 7.17 to 8.19"), 1),
    "another way to the same engine": (("DocumentDB", "Elasticsearch 7.17 (copy)"), 1),
}
"""Sweeps over such servers: which, and how many an ordinary run starts."""


ONCE: Mapping[str, str] = {"test_the_command_line_has_to_wait_as_well": "PostgreSQL 18"}
"""Scenarios in which no engine differs from another, each with the subject that stands for all."""


@pytest.fixture(autouse=True)
def clients(kept_clients: None) -> None:
    """Each step of each scenario asks for a client."""


@functools.cache
def servers_in(folder: Path) -> Servers:
    """The servers of all subjects, for whichever suite asks."""
    return Servers(folder, clusters_in(folder))


@pytest.fixture(scope="session")
def servers(server_folder: Path, clusters: Clusters) -> Iterator[Servers]:
    """The servers of all subjects; whoever uses them last stops them. Clusters are the session's."""
    yield servers_in(server_folder)
    servers_in(server_folder).stop()


@pytest.fixture(scope="session", params=SUBJECTS)
def subject(request: pytest.FixtureRequest, servers: Servers) -> Subject:
    """Each engine in turn."""
    return SUBJECTS[request.param](request.param, servers)


@contextlib.contextmanager
def set_stage(
    subject: Subject,
    s3: VersityGW,
    database: str,
    folder: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    """A stage around a database, whatever it holds, and a log of what happens there."""
    monkeypatch.setattr(finish_module, "BETWEEN_ATTEMPTS", 0.2)
    stage = Stage(
        subject=subject,
        s3=s3,
        database=database,
        folder=folder,
        monkeypatch=monkeypatch,
        log=folder / "everything.log",
        scenario=request.node.nodeid,
    )
    stage.set_up()
    handler = logging.FileHandler(stage.log)
    handler.setLevel(logging.DEBUG)
    ours, root = logging.getLogger("env_sync"), logging.getLogger()
    level = ours.level
    ours.setLevel(logging.DEBUG)
    root.addHandler(handler)
    try:
        yield stage
    finally:
        root.removeHandler(handler)
        ours.setLevel(level)
        handler.close()


def database_name(seed: str) -> str:
    """A name that no other seed has."""
    return "conf_" + hashlib.sha256(seed.encode()).hexdigest()[:12]


@pytest.fixture
def applicable(subject: Subject, request: pytest.FixtureRequest) -> None:
    """Skip what cannot be for this subject, before anything is made for it."""
    name = getattr(request.node, "originalname", "")
    step = parameters_of(request.node).get("step", "")
    if reason := subject.not_applicable.get(name) or subject.lacks_steps.get(step):
        pytest.skip(reason)


@pytest.fixture
def bare_stage(
    applicable: None,
    subject: Subject,
    s3: VersityGW,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    """Two environments with nothing in them yet."""
    database = database_name(request.node.nodeid)
    with set_stage(subject, s3, database, tmp_path, request, monkeypatch) as stage:
        yield stage
    drop(stage)


def drop(stage: Stage) -> None:
    """Drop what is there of a stage's database, on servers that may have been stopped."""
    for environment in (SOURCE, TARGET):
        stage.subject.start(environment)
        stage.subject.drop(environment, stage.database)
    stage.dumps.clear()


@pytest.fixture
def stage(bare_stage: Stage) -> Stage:
    """The same with new, raw data above, and old, sanitised data below."""
    bare_stage.fill()
    return bare_stage


@pytest.fixture(scope="session")
def shared() -> dict[str, str]:
    """For each subject the name of a database that is as `pushed` wants it, but for what live may hold."""
    return {}


@pytest.fixture
def pushed(
    applicable: None,
    subject: Subject,
    s3: VersityGW,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    shared: dict[str, str],
) -> Iterator[Stage]:
    """The same with a dump in the bucket of what is above.

    The next scenario gets it as well, unless one fails or does not end settled. So nobody changes what is
    above, nor its dump.
    """
    before = shared.pop(subject.name, None)
    database = before or database_name(request.node.nodeid)
    with set_stage(subject, s3, database, tmp_path, request, monkeypatch) as stage:
        if before:
            stage.bring_target_back()
        else:
            stage.fill()
            stage.push()
        yield stage
    if stage.is_settled and request.node.stash.get(PASSED, False):
        shared[subject.name] = stage.database
    else:
        drop(stage)


PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let fixtures know whether their test passed."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


# The table


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each report say for itself which scenario it is of: it may come from another process."""
    items[:] = [item for item in items if not _same_as_another(item)]
    for item in items:
        if isinstance(item, pytest.Function) and "subject" in parameters_of(item):
            parts = [str(value) for name, value in item.callspec.params.items() if name != "subject"]
            scenario = item.originalname.removeprefix("test_").replace("_", " ")
            put_into(CONFORMANCE, item, ": ".join([scenario, *parts]), str(item.callspec.params["subject"]))


def _same_as_another(item: pytest.Item) -> bool:
    subject = parameters_of(item).get("subject", "")
    name = getattr(item, "originalname", "")
    if ONCE.get(name, subject) != subject:
        return True
    if (recorded := parameters_of(item).get("recorded")) is not None:
        # Where nothing is recorded, one test is left to say so.
        return not is_recorded(subject, recorded) and (subject not in NOT_RECORDED or recorded != ALL[0])
    wanted = VARIANTS.get(subject)
    return wanted is not None and (not {item.path.stem, name} & {*wanted} or subject in _not_tried())


def _not_tried() -> frozenset[str]:
    """The subjects that this run leaves out."""
    return frozenset(
        subject
        for name, (subjects, at_most) in SOME_VARIANTS.items()
        for subject in {*subjects} - {*draw(name, subjects, at_most)}
    )
