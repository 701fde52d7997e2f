"""Servers for the tests, each started when a test first asks for it.

A server that this machine cannot run skips the test, with the reason and what to install; in CI, where
everything must be there, it fails it.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, Self, TypeVar

import pytest

from sandbox import mysql, process
from sandbox.mariadb import MariaDBServer
from sandbox.mongodb import MongoDBServer
from sandbox.postgresql import PostgreSQLServer
from sandbox.s3 import MotoS3, VersityGW
from tests import sweep
from tests.changed import changed_files, select
from tests.lacking import lacks
from tests.servers_needed import servers_needed


class Startable(Protocol):
    """What a server of the sandbox can do, whatever it serves."""

    def start(self) -> Self: ...

    def stop(self) -> None: ...


Server = TypeVar("Server", bound=Startable)


def pytest_configure(config: pytest.Config) -> None:
    # Not imported above: what stands in a table of results affects no test.
    config.pluginmanager.import_plugin("tests.result_tables")
    config.pluginmanager.import_plugin("tests.swept_tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("env-sync")
    group.addoption("--changed-since", metavar="REV", help="only tests that a change since REV can affect")
    group.addoption(
        "--servers-needed", metavar="FILE", type=Path, help="write there which servers the tests need"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `--changed-since` leaves out."""
    if since := config.getoption("--changed-since"):
        kept = list(select(items, changed_files(since)))
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell `bin/test` which servers are needed."""
    # What was imported until now stays: to look through all of it again and again is a tenth of the CPU time.
    gc.collect()
    gc.freeze()
    if (file := session.config.getoption("--servers-needed")) is not None:
        file.write_text("".join(f"{part}\n" for part in servers_needed(session.items)))


def pytest_report_header() -> str:
    """Tell which sample of the sweeps this run tries."""
    return sweep.header()


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder for servers, which users other than this one can enter."""
    folder = process.temporary_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session", autouse=True)
def mysql_on_path() -> Iterator[None]:
    """The programs of MySQL before all others, where an installation of it is named."""
    with pytest.MonkeyPatch.context() as patched:
        if root := mysql.installation():
            patched.setenv("PATH", str(root / "bin"), prepend=os.pathsep)
        yield


def run_server(make: Callable[[], Server]) -> Iterator[Server]:
    """Start a server, give it, and stop it; without it the test is skipped, or failed in CI."""
    try:
        server = make().start()
    except process.ServerMissing as missing:
        lacks(str(missing))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgresql15(server_folder: Path) -> Iterator[PostgreSQLServer]:
    """PostgreSQL 15 from Debian."""
    yield from run_server(lambda: PostgreSQLServer(server_folder / "postgresql15", "debian15"))


@pytest.fixture(scope="session")
def postgresql16(server_folder: Path) -> Iterator[PostgreSQLServer]:
    """PostgreSQL 16 from PyPI."""
    yield from run_server(lambda: PostgreSQLServer(server_folder / "postgresql16", "pypi16"))


@pytest.fixture(scope="session")
def postgresql18(server_folder: Path) -> Iterator[PostgreSQLServer]:
    """PostgreSQL 18 from PyPI."""
    yield from run_server(lambda: PostgreSQLServer(server_folder / "postgresql18", "pypi18"))


@pytest.fixture(scope="session")
def mariadb(server_folder: Path) -> Iterator[MariaDBServer]:
    """MariaDB from Debian, or MySQL where an installation of it is named."""
    yield from run_server(lambda: mysql.server_class()(server_folder / "mariadb"))


@pytest.fixture(scope="session")
def mongodb(server_folder: Path) -> Iterator[MongoDBServer]:
    """SecantusDB, which speaks MongoDB's protocol."""
    yield from run_server(lambda: MongoDBServer(server_folder / "mongodb"))


@pytest.fixture(scope="session")
def s3(server_folder: Path) -> Iterator[VersityGW]:
    """An S3 server that checks signatures and accounts."""
    yield from run_server(lambda: VersityGW(server_folder / "versitygw"))


@pytest.fixture(scope="session")
def moto(server_folder: Path) -> Iterator[MotoS3]:
    """An S3 server that answers with an object's encryption and ACL."""
    yield from run_server(lambda: MotoS3(server_folder / "moto"))
