"""The stage: servers of each kind per environment, buckets, and an Airflow that knows them."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import field, frozen

from env_sync.planning.installation import (
    HIERADATA,
    TRANSFORMATIONS,
    hieradata_folder,
    transformations_folder,
)
from sandbox import process
from sandbox.airflow import Airflow
from sandbox.demo import assets, attachments, databases, invented, search_pages, seed, whitehall
from sandbox.demo.databases import DATABASES
from sandbox.demo.invented import Kind
from sandbox.elasticsearch import ElasticsearchServer, can_start
from sandbox.elasticsearch_gate import ElasticsearchGate
from sandbox.mariadb import SYNC_ACCOUNT, MariaDBServer
from sandbox.mongodb import SYNC_USER, MongoDBServer
from sandbox.postgresql import SYNC_ROLE, PostgreSQLServer
from sandbox.process import SandboxError, ServerMissing
from sandbox.s3 import MotoS3
from sandbox.server import Server

ENVIRONMENTS = ("production", "staging", "integration")
INSTALLATION = "pypi16"
FOLDER = "ENV_SYNC_DEMO"
FIRST_PULL = ("integration", "signon_production")
"""The one database that is not there yet, to be made by its first pull."""
OWN = Path(__file__).with_name("include")
"""Hieradata and transformations of the databases that are only in the demo."""
SHELL = "demo.env"
METADATA = "airflow"
NOTE = "seeded"
"""The file that says what the servers were filled with."""
LEASES = "env_sync"
"""The database of each server that holds its leases."""


def bucket(environment: str) -> str:
    """The bucket of dumps of an environment."""
    return f"govuk-{environment}-database-backups"


def assets_bucket(environment: str) -> str:
    """The bucket of published assets of an environment."""
    return f"govuk-{environment}-assets"


@frozen(kw_only=True)
class Contents:
    """What an environment holds, by kind of server, and the marks of all that is invented in it."""

    rows: Mapping[str, seed.Rows] = field(factory=dict)
    documents: assets.Documents | None = None
    editions: seed.Rows | None = None
    pages: search_pages.Documents | None = None
    marks: Mapping[bytes, Kind] = field(factory=dict)


class Scene:
    """All servers of the demo, in one folder; kept and used again until the seed changes or `fresh`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers = {name: PostgreSQLServer(folder / name, INSTALLATION) for name in ENVIRONMENTS}
        self.metadata = PostgreSQLServer(folder / "metadata", INSTALLATION)
        self.s3 = MotoS3(folder / "s3")
        self.mongodb = {name: MongoDBServer(folder / f"{name}-mongodb") for name in ENVIRONMENTS}
        self.mariadb: Mapping[str, MariaDBServer] = {}
        self.left_out: dict[str, str] = {}
        """Why what this machine cannot run is left out, by the node class of its syncs."""
        try:
            self.mariadb = {name: MariaDBServer(folder / f"{name}-mariadb") for name in ENVIRONMENTS}
        except ServerMissing as missing:
            self.left_out["whitehall_db_admin"] = str(missing)
        self.clusters: Mapping[str, ElasticsearchServer] = {}
        if can_start():
            self.clusters = {
                name: ElasticsearchServer(
                    folder / f"{name}-elasticsearch",
                    search_pages.VERSION,
                    repositories=folder / "elasticsearch-repositories",
                )
                for name in search_pages.HOSTS
            }
        else:
            self.left_out[search_pages.NODE_CLASS] = (
                "Elasticsearch needs a JDK, and is put together once, by bin/setup-servers, in about a minute"
            )
        self._gates: dict[str, ElasticsearchGate] = {}
        """Before each cluster, which itself asks nobody for a login: nothing is sanitised on such a one."""
        self.marks: Mapping[bytes, Kind] = {}
        self.airflow: Airflow | None = None
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.__exit__(kind, error, trace)

    @property
    def tools(self) -> Path:
        """The folder of pg_dump and pg_restore of the servers' version."""
        return self.metadata.installation.bin

    @property
    def seeded(self) -> bool:
        """Whether an earlier demo filled the servers with what this one would."""
        note = self.folder / NOTE
        return note.exists() and note.read_text() == _version(self.left_out)

    def start_servers(self) -> None:
        """Starts all servers and makes the buckets; each has a folder, so they can start at once."""
        everything: list[Server] = [
            *self.servers.values(),
            self.metadata,
            self.s3,
            *self.mongodb.values(),
            *self.mariadb.values(),
            *self.clusters.values(),
        ]
        with ThreadPoolExecutor(len(everything)) as pool:
            started = [pool.submit(server.start) for server in everything]
            for server in everything:
                self._undo.callback(server.stop)
            # Inventing takes a core, and the servers mostly wait.
            invented = self._invented
        self.marks = invented.marks
        for each in started:
            each.result()
        for environment, cluster in self.clusters.items():
            gate = ElasticsearchGate(cluster.port, {SYNC_ROLE: self._passwords()[SYNC_ROLE]})
            self._undo.callback(gate.stop)
            self._gates[environment] = gate.start()
        self.s3.create_buckets(name(each) for each in ENVIRONMENTS for name in (bucket, assets_bucket))

    def seed_and_start_airflow(self) -> Airflow:
        """Fills the servers, unless they were before, and starts Airflow meanwhile."""
        note = self.folder / NOTE
        if self.seeded and not self._broken_off():
            return self.start_airflow()
        note.unlink(missing_ok=True)
        # Runs that an earlier demo left would go on.
        self.metadata.clear()
        pool = ThreadPoolExecutor()
        try:
            filled = [pool.submit(fill) for fill in self._fillings()]
            airflow = self.start_airflow()
            for each in filled:
                each.result()
        finally:
            # Where this is broken off the servers end next, and with them what still fills them.
            pool.shutdown(wait=False, cancel_futures=True)
        note.write_text(_version(self.left_out))
        return airflow

    def _fillings(self) -> Iterator[Callable[[], None]]:
        """What fills the servers, each a part of them; whatever is in there before is thrown away."""
        passwords = self._passwords()
        accounts = (passwords[SYNC_ROLE], passwords["client"])
        for environment in ENVIRONMENTS:
            holds = self._invented if environment == "production" else Contents()
            yield partial(self._fill_postgresql, environment, holds.rows)
            yield partial(assets.make, self.mongodb[environment], accounts, holds.documents)
            if self.mariadb:
                yield partial(whitehall.make, self.mariadb[environment], accounts, holds.editions)
            if environment in self.clusters:
                yield partial(search_pages.make, self.clusters[environment], holds.pages)
            yield partial(
                attachments.make_directory, self.files(environment), filled=environment == "production"
            )
        yield partial(attachments.fill_bucket, self.s3, assets_bucket("production"))

    def _fill_postgresql(self, environment: str, rows: Mapping[str, seed.Rows]) -> None:
        server = self.servers[environment]
        server.clear()
        databases.make_roles(server, self._passwords())
        for database in DATABASES:
            if (environment, database.name) != FIRST_PULL:
                databases.make_database(server, database, rows.get(database.name))

    @functools.cached_property
    def _invented(self) -> Contents:
        """What production is filled with."""
        rows, made = seed.rows_of_production()
        return Contents(
            rows=rows,
            documents=assets.documents(made),
            editions=whitehall.rows(made) if self.mariadb else None,
            pages=search_pages.documents(made) if self.clusters else None,
            marks=made.marks,
        )

    def files(self, environment: str) -> Path:
        """The root of the directories of files of an environment."""
        return self.folder / f"{environment}-files"

    def configure(self) -> None:
        """Have this process, and what it starts, read a copy of what is configured.

        With the demo's own files, and without what is left out.
        """
        made = self.folder / "include"
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(hieradata_folder(), made / "hieradata")
        shutil.copytree(transformations_folder(), made / "transformation_sql")
        shutil.copytree(OWN, made, dirs_exist_ok=True)
        for node_class in self.left_out:
            for file in made.glob(f"hieradata/*/{node_class}.yaml"):
                file.unlink()
        os.environ[HIERADATA] = str(made / "hieradata")
        os.environ[TRANSFORMATIONS] = str(made / "transformation_sql")

    def start_airflow(self) -> Airflow:
        """Starts Airflow with connections to all of it."""
        work = self.folder / "work"
        work.mkdir(exist_ok=True, mode=0o700)
        self.airflow = Airflow(
            self.folder / "airflow",
            self.metadata,
            database=METADATA,
            connections=self._connections(),
            env={
                "ENV_SYNC_WORK_FOLDER": str(work),
                HIERADATA: os.environ[HIERADATA],
                TRANSFORMATIONS: os.environ[TRANSFORMATIONS],
            },
            settings={
                "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
                # The demo starts its nights itself, whatever the time is.
                "SCHEDULER__USE_JOB_SCHEDULE": "False",
                "API__INSTANCE_NAME": "Env Sync demo",
                "CORE__DEFAULT_TIMEZONE": "utc",
            },
        )
        self._undo.callback(self.airflow.stop)
        self.airflow.start()
        self._write_shell(self.airflow)
        return self.airflow

    def logs(self) -> list[Path]:
        """Where logs are: all of Airflow's folder, and the logs of the servers below production."""
        return [
            self.folder / "airflow",
            *(
                server.log
                for servers in (self.servers, self.mongodb, self.mariadb, self.clusters)
                for name, server in servers.items()
                if name != "production"
            ),
            self.metadata.log,
            self.s3.log,
        ]

    def left_in_work_folder(self) -> list[Path]:
        """Files that syncs left on the disk; there should be none."""
        return [path for path in (self.folder / "work").rglob("*") if path.is_file()]

    def _broken_off(self) -> bool:
        """Whether an earlier demo ended with syncs at work: their runs would go on, and their leases last."""
        if METADATA in self.metadata.databases():
            unfinished = "SELECT 1 FROM dag_run WHERE state NOT IN ('success', 'failed') LIMIT 1"
            if self.metadata.execute(unfinished, database=METADATA):
                return True
        return any(
            server.execute("SELECT 1 FROM lease LIMIT 1", database=LEASES)
            for server in self.servers.values()
            if LEASES in server.databases()
        )

    def _connections(self) -> dict[str, Mapping[str, Any]]:
        password = self._passwords()[SYNC_ROLE]
        connections: dict[str, Mapping[str, Any]] = {}
        for environment, server in self.servers.items():
            for database in DATABASES:
                name = _connection(environment, database.server)
                connections[name] = server.airflow_connection(
                    SYNC_ROLE, password, environment=environment, owner=database.owner
                )
            told: dict[str, Any] = {"environment": environment}
            connections[_connection(environment, assets.HOST)] = self.mongodb[environment].airflow_connection(
                SYNC_USER, password, direct_connection=True, **told
            )
            if self.mariadb:
                connections[_connection(environment, whitehall.HOST)] = self.mariadb[
                    environment
                ].airflow_connection(SYNC_ACCOUNT, password, **told)
            connections[_connection(environment, attachments.HOST)] = {
                "conn_type": "generic",
                "extra": {"root": str(self.files(environment)), **told},
            }
            connections[f"env_sync_{environment}_s3"] = self.s3.airflow_connection(environment=environment)
        for environment, cluster in self.clusters.items():
            # The id has the environment of the sync, the extra that of the cluster.
            connections[_connection("integration", search_pages.HOSTS[environment])] = {
                # The cluster cannot tell who reads it, as it has no security: the gate in front of it has.
                **cluster.airflow_connection(environment=environment, accept_unseen_readers=True),
                "port": self._gates[environment].port,
                "login": SYNC_ROLE,
                "password": password,
            }
        return connections

    def _passwords(self) -> dict[str, str]:
        path = self.folder / "roles.json"
        if not path.exists():
            made = {role: secrets.token_urlsafe(18) for role in (SYNC_ROLE, "client")}
            process.write_private(path, json.dumps(made))
        passwords: dict[str, str] = json.loads(path.read_text())
        return passwords

    def _write_shell(self, airflow: Airflow) -> None:
        """What a shell needs for `bin/env-sync` to use this Airflow's connections and Variables."""
        environment = airflow.environment()
        names = sorted(
            name
            for name, value in environment.items()
            if name.startswith(("AIRFLOW", "ENV_SYNC_")) or os.environ.get(name) != value
        )
        lines = [f"export {name}={shlex.quote(environment[name])}" for name in names if name != "PYTHONPATH"]
        lines.append(f"export ENV_SYNC_PYTHON={shlex.quote(sys.executable)}")
        process.write_private(self.folder / SHELL, "\n".join(lines) + "\n")


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds the folder for this process; SandboxError where another demo has it."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SandboxError(
                f"a demo runs already with {folder}: end that one, or set {FOLDER} to another folder"
            ) from None
        yield


def home() -> Path:
    """The folder of the demo: ENV_SYNC_DEMO, else one that stays from start to start."""
    asked = os.environ.get(FOLDER)
    if not asked:
        return process.state_folder("demo")
    folder = Path(asked).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _connection(environment: str, host: str) -> str:
    """The id of the connection to a server, by its name in hieradata."""
    return f"env_sync_{environment}_{host}".replace("-", "_")


def _version(left_out: Collection[str]) -> str:
    """Changes when what is seeded does, or what is left out of it."""
    modules = (databases, invented, seed, assets, whitehall, attachments, search_pages)
    parts: list[Path] = [Path(module.__file__ or "") for module in modules]
    parts += sorted(databases.SCHEMAS.glob("*.sql"))
    texts = [*(part.read_bytes() for part in parts), *(each.encode() for each in sorted(left_out))]
    return hashlib.sha256(b"".join(texts)).hexdigest()
