"""A whole Airflow: api-server, scheduler, dag-processor and triggerer, on a PostgreSQL of the sandbox.

Its executor is Airflow's LocalExecutor, whose workers here import what tasks need before they fork them.
"""

from __future__ import annotations

import base64
import datetime as dt
import importlib.metadata
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from sandbox import process
from sandbox.airflow_api import AirflowApi
from sandbox.airflow_states import AirflowStates
from sandbox.airflow_tables import make_tables
from sandbox.postgresql import PostgreSQLServer
from sandbox.process import PATIENCE, Process, SandboxError

REPOSITORY = Path(__file__).resolve().parents[1]
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    # The api-server reads task logs from the same disk: no server for them, which would listen to everyone.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
}
USERS = {"admin": "admin", "viewer": "viewer"}  # names and roles

# What is awaited comes soon, and what is not takes little of two cores.
SETTINGS: Mapping[str, str] = {
    "CORE__EXECUTOR": "sandbox.airflow_executor.PreloadingExecutor",
    "CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
    "CORE__LOAD_EXAMPLES": "False",
    "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
    "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "1",
    "API__HOST": "127.0.0.1",
    "API__WORKERS": "1",
    # An error of the database says which.
    "API__EXPOSE_STACKTRACE": "True",
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
    # A machine that has much to do may take this long to answer. A scheduler that finds its own heartbeat too
    # old starts running tasks again.
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "120",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "120",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "120",
    "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "300",
    "CORE__DAGBAG_IMPORT_TIMEOUT": "300",
    "WORKERS__EXECUTION_API_TIMEOUT": "60",
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "10",
    # New files are found soon; those that are known are read once.
    "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "DAG_PROCESSOR__PARSING_PROCESSES": "1",
    "LOGGING__COLORED_CONSOLE_LOG": "False",
}


class Airflow:
    """One Airflow with its state in one folder; its database is made by the first start, kept by later ones.

    Users are `admin` and `viewer`; passwords, signing keys and, where it is free, the port stay the same from
    start to start. The api-server listens on 127.0.0.1 alone.
    """

    def __init__(
        self,
        folder: Path,
        server: PostgreSQLServer,
        *,
        dags: Path = REPOSITORY / "dags",
        plugins: Path = REPOSITORY / "plugins",
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        env: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        parallelism: int = 8,
        database: str = "airflow",
        port: int | None = None,
    ) -> None:
        """`server` must run before this starts.

        `connections` are Airflow's, by id, as dictionaries. `env` is added to the environment of all
        components and so of all tasks; `settings` are Airflow's, as `SECTION__OPTION`, over SETTINGS.
        """
        self.folder = folder.resolve()
        self.server = server
        self.dags = dags.resolve()
        self.plugins = plugins.resolve()
        self.connections = {name: dict(values) for name, values in (connections or {}).items()}
        self.env = dict(env or {})
        self.settings = {**SETTINGS, **(settings or {}), "CORE__PARALLELISM": str(parallelism)}
        self.database = database
        self.port = port or 0
        self.passwords: dict[str, str] = {}
        self.components: dict[str, Process] = {}
        self._secrets: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where the UI and the API are."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def logs(self) -> Path:
        """The folder of the tasks' logs."""
        return self.folder / "logs"

    def log(self, component: str) -> Path:
        """The log of one of COMPONENTS."""
        return self.folder / f"{component}.log"

    def start(self, seconds: float = PATIENCE) -> Self:
        """Makes or upgrades the database, starts all components, waits until all say that they are well."""
        self.prepare()
        began = dt.datetime.now(dt.UTC)
        for component in COMPONENTS:
            self.start_component(component)
        api = self.api()
        try:
            process.wait_for(
                lambda: self._well(api, began), f"Airflow at {self.url} to be well", seconds, every=0.3
            )
        except BaseException:
            self.stop()
            raise
        finally:
            api.close()
        return self

    def prepare(self) -> None:
        """Makes its folder, secrets and database without starting it; `run` needs no more than this."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._secrets = _kept(self.folder / "secrets.json", _new_secrets)
        self.passwords = _kept(self.folder / "passwords.json", _new_passwords)
        self.port = process.choose_port(self.folder, self.port)
        if not self.server.running:
            raise SandboxError(f"Airflow needs its PostgreSQL server {self.server.name}: start that first")
        if self.database not in self.server.databases():
            if self.database not in self.server.roles():
                self.server.create_role(self.database, self._secrets["database"])
            self.server.create_database(self.database, self.database)
        # The version that last made the tables: looking by means of Airflow takes seconds.
        version, marker = importlib.metadata.version("apache-airflow-core"), "sandbox_airflow_version"
        found = self.server.execute(
            "SELECT obj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [self.database]
        )
        if found != [(f"{marker} {version}",)]:
            make_tables(self.server, self.database, lambda: self.run("db", "migrate"))
            self.server.execute(f"COMMENT ON DATABASE \"{self.database}\" IS '{marker} {version}'")

    def start_component(self, component: str) -> None:
        """Starts one of COMPONENTS, without waiting."""
        started = Process(
            f"Airflow's {component}",
            [sys.executable, "-m", "airflow", *COMPONENTS[component]],
            log=self.log(component),
            env=self.environment(),
            cwd=self.folder,
            grace=8,  # the scheduler would wait for its running tasks to finish
        )
        started.start()
        self.components[component] = started

    def stop(self) -> None:
        """Ends all components and whatever tasks they run: within some ten seconds, tasks or not."""
        for component in self.components.values():
            component.ask_to_stop()
        for component in self.components.values():
            component.stop()

    def kill(self) -> None:
        """Kills all components, and their tasks, as a crash of the machine would."""
        for component in self.components.values():
            component.kill()

    def api(self, user: str = "admin") -> AirflowApi:
        """A user's access by REST; the caller may close it."""
        states = AirflowStates(self.server, self.database)
        return AirflowApi(self.url, user, self.passwords[user], log=self.log("scheduler"), states=states)

    def run(self, *arguments: str, seconds: float = PATIENCE) -> str:
        """Runs the `airflow` command with this Airflow's environment; gives its output."""
        command = [sys.executable, "-m", "airflow", *arguments]
        return process.run(command, env=self.environment(), cwd=self.folder, seconds=seconds)

    def environment(self) -> dict[str, str]:
        """The whole environment of a component, with secrets: never to be logged."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW", "AWS_", "PG"))
        }
        metadata = self.server.uri(self.database, self.database, self._secrets["database"])
        settings = {
            **self.settings,
            "CORE__DAGS_FOLDER": str(self.dags),
            "CORE__PLUGINS_FOLDER": str(self.plugins),
            "CORE__FERNET_KEY": self._secrets["fernet_key"],
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.folder / "passwords.json"),
            "DATABASE__SQL_ALCHEMY_CONN": metadata.replace("postgresql://", "postgresql+psycopg2://", 1),
            "API__PORT": str(self.port),
            "API__BASE_URL": self.url,
            "API__SECRET_KEY": self._secrets["secret_key"],
            "API_AUTH__JWT_SECRET": self._secrets["jwt_secret"],
            "LOGGING__BASE_LOG_FOLDER": str(self.logs),
            "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(self.folder / "dag-processor-logs"),
        }
        return {
            **kept,
            # For the executor. The folder of plugins comes on the path by Airflow's own doing.
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, [kept.get("PYTHONPATH")])]),
            "AIRFLOW_HOME": str(self.folder),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            **{f"AIRFLOW__{name}": value for name, value in settings.items()},
            **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in self.connections.items()},
            **self.env,
        }

    def _well(self, api: AirflowApi, began: dt.datetime) -> bool:
        """Whether all components have said since then that they are well; SandboxError if one has ended."""
        for name, component in self.components.items():
            if not component.running:
                end = process.tail(component.log)
                raise SandboxError(f"Airflow's {name} ended with exit code {component.exit_code}{end}")
        health = api.health()
        return bool(health) and all(
            health[part]["status"] == "healthy"
            # Right after a restart, the heartbeat of the component before it still counts as healthy.
            and dt.datetime.fromisoformat(health[part][f"latest_{part}_heartbeat"]) >= began
            for part in ("scheduler", "triggerer", "dag_processor")
        )


def _new_secrets() -> dict[str, str]:
    return {
        "database": secrets.token_urlsafe(24),
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "secret_key": secrets.token_urlsafe(48),
        "jwt_secret": secrets.token_urlsafe(64),
    }


def _new_passwords() -> dict[str, str]:
    return {user: secrets.token_urlsafe(9) for user in USERS}


def _kept(path: Path, make: Any) -> dict[str, str]:
    """What the file says; made, private, on first use."""
    if not path.exists():
        process.write_private(path, json.dumps(make()))
    found: dict[str, str] = json.loads(path.read_text())
    return found
