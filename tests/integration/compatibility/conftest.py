"""Scenes of the compatibility tests: each engine, begun by the code of a base or by the present one."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from sandbox import mysql
from sandbox.s3 import VersityGW
from tests.integration.compatibility.bases import BASES, Sources, present, sources_of, stranger
from tests.integration.compatibility.scene import Prepared, Scene, a_stage
from tests.integration.compatibility.workers import Code
from tests.integration.conformance.conftest import SUBJECTS, Servers, servers_in
from tests.integration.conformance.subject import Subject
from tests.sweep import exhaustive
from tests.swept_tests import sweep_over

HERE = Path(__file__).parent

ENGINES = ("PostgreSQL 18", mysql.server_class().family, "MongoDB", "Elasticsearch 7.17", "Files")
"""One subject of the conformance suite for each engine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """An ordinary run has one of the codes begin; a sweep that is tried whole takes as long as it takes."""
    sweep_over([item for item in items if item.path.is_relative_to(HERE)], "prepared", at_most=1)
    if exhaustive():
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(pytest.mark.timeout(0))


SOURCES: Mapping[str, Callable[[], Sources]] = {
    "present": present,
    "a stranger": stranger,
    **{base.name: functools.partial(sources_of, base) for base in BASES},
}


class Codes:
    """Workers, each started when its code is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: dict[str, Code] = {}

    def get(self, name: str) -> Code:
        """The code of a commit, or what stands in the place of one."""
        if name not in self._started:
            self._started[name] = Code(SOURCES[name](), self._folder / f"{name}.log")
        return self._started[name]

    def stop(self) -> None:
        """Stop them all."""
        for code in self._started.values():
            code.stop()


@pytest.fixture(scope="session")
def codes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Codes]:
    """The codes of all scenes."""
    codes = Codes(tmp_path_factory.mktemp("workers"))
    yield codes
    codes.stop()


ORDERS: Mapping[str, tuple[str, str]] = {
    **{f"{base.name} begins": (base.name, "present") for base in BASES},
    **{f"{base.name} goes on": ("present", base.name) for base in BASES},
}
"""Which code begins, and which goes on."""
STRANGER: Mapping[str, tuple[str, str]] = {"a stranger begins": ("a stranger", "present")}


@pytest.fixture(scope="session")
def old_and_new(server_folder: Path) -> Iterator[Servers]:
    """The servers of the conformance suite."""
    servers = servers_in(server_folder)
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def moments() -> dict[str, dict[tuple[str, str], int]]:
    """How many moments there are, by engine: the same for each code, or nearly so."""
    return {}


@pytest.fixture(scope="session", params=ENGINES)
def subject(request: pytest.FixtureRequest, old_and_new: Servers) -> Subject:
    """Each engine in turn."""
    return SUBJECTS[request.param](request.param, old_and_new)


@pytest.fixture(scope="session", params=ORDERS)
def prepared(
    request: pytest.FixtureRequest,
    subject: Subject,
    codes: Codes,
    moments: dict[str, dict[tuple[str, str], int]],
    server_folder: Path,
) -> Iterator[Prepared]:
    """Each code in turn begins: new, raw data above, and nothing else yet."""
    first, second = (codes.get(each) for each in {**ORDERS, **STRANGER}[request.param])
    name = f"{subject.name}, {request.param}"
    prepared = Prepared(
        name=name,
        subject=subject,
        first=first,
        second=second,
        database="comp_" + hashlib.sha256(name.encode()).hexdigest()[:12],
        files=server_folder,
        moments=moments.setdefault(subject.name, {}),
    )
    prepared.fill_source()
    yield prepared
    prepared.drop()


@pytest.fixture
def scene(
    subject: Subject, prepared: Prepared, s3: VersityGW, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    """Old, sanitised data below, and a dump of what is above that the code that begins has pushed."""
    stage = a_stage(prepared, tmp_path, monkeypatch, s3)
    stage.set_up()
    stage.log.touch()
    stage.bring_target_back()
    scene = Scene(stage, prepared)
    if prepared.dump is None:
        prepared.dump = scene.push(prepared.first)
    yield scene
    scene.end()
