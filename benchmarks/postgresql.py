"""Push and pull of a PostgreSQL database: Env Sync beside the shell script that it replaces.

    python benchmarks/postgresql.py [--size MB] [--repeat N]

Starts a PostgreSQL 18 server for each of two environments and an S3 server, all on 127.0.0.1, makes a
database of about `--size` MB (1000) in production, and copies it to integration and sanitises it there both
ways, by turns, `--repeat` times (3); medians count.

- The script: `pg_dump -Fc` to a file and `aws s3 cp`; then `aws s3 cp`, live dropped and made anew, and
  `pg_restore -f - | sed | psql -1` with the transformation at its end. Where there is no `aws`, boto3 moves
  the file with the same settings.
- Env Sync: the syncs of a hieradata file, run as `env-sync run` runs them, each in a process of its own. What
  a process takes to start and to import Airflow is left out, as a worker of Airflow has that behind it.

A client reads a table of live all the time; how long it could not is how long live was unavailable. Memory is
the most that the process of a sync and all that it started had at one time, without the servers; it is
measured with a tenth of the database as well. Exits 1 where a goal is missed; GOALS holds them. Times depend
on the machine and on what else it does: quote the ratios.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psycopg
from attrs import evolve
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
# Not the folder of this program, in which names of libraries stand.
sys.path[0] = str(ROOT)

from benchmarks.measuring import (  # noqa: E402
    BUCKET,
    MEGABYTE,
    SCRIPT_KEY,
    Goal,
    Run,
    Syncs,
    arguments,
    folder_of_servers,
    judge,
    machine,
    measure,
    median,
    reading,
    s3_server,
    table_of_parts,
    transfer,
)
from sandbox.postgresql import SYNC_ROLE, PostgreSQLServer  # noqa: E402
from sandbox.s3 import S3Server  # noqa: E402

DATABASE = "app_production"
SECRET = "benchmark"  # of a role on servers of this program alone
OWNER = "benchmark_owner"
PUSH, PULL = "push_app", "pull_app"
ENVIRONMENT = {PUSH: "production", PULL: "integration"}
TRANSFORMATION = "UPDATE public.subscribers SET address = 'subscriber-' || id || '@example.com';\n"
NOT_SANITISED = "SELECT count(*) FROM subscribers WHERE address NOT LIKE 'subscriber-%@example.com'"
# As a server has them by itself, durable, but for memory and the distance of checkpoints.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
}
GOALS = {
    "push": Goal("push, as fast as the script's", " x", least=2.5),
    "pull": Goal("pull, as fast as the script's", " x", least=1.4),
    "unavailable": Goal("live unavailable in a pull", " s", most=0.5),
    "push memory": Goal("memory of a push, 10 times the data", " x", most=1.2),
    "pull memory": Goal("memory of a pull, 10 times the data", " x", most=1.2),
}


class Scene:
    """The servers, and the two ways to push and to pull between them."""

    def __init__(
        self, folder: Path, production: PostgreSQLServer, integration: PostgreSQLServer, s3: S3Server
    ):
        self._folder = folder
        self._servers = {"production": production, "integration": integration}
        self._s3 = s3
        self._programs = production.installation.bin
        self._syncs = Syncs(
            folder=folder,
            connections={
                f"env_sync_{environment}_{name}": connection
                for environment, server in self._servers.items()
                for name, connection in (
                    (
                        "app_postgres",
                        server.airflow_connection(password=SECRET, environment=environment, owner=OWNER),
                    ),
                    ("s3", s3.airflow_connection(environment=environment)),
                )
            },
            variables={"ENV_SYNC_POSTGRESQL_TOOLS": str(self._programs)},
        )

    def set_up(self, megabytes: int) -> None:
        """Make the database in production, an empty live one in integration, and the configuration."""
        statements = (ROOT / "benchmarks" / "postgresql_database.sql").read_text()
        for server in self._servers.values():
            server.clear()
            server.create_role(OWNER)
            server.create_sync_role(SECRET, member_of=[OWNER])
            server.create_database(DATABASE, OWNER)
        production = self._servers["production"]
        with contextlib.closing(production.connect(DATABASE, SYNC_ROLE, SECRET)) as connection:
            connection.execute(statements.replace("{scale}", f"{megabytes / 1000}").encode())
            connection.execute("VACUUM ANALYZE")
        live = self._servers["integration"].connect(DATABASE, SYNC_ROLE, SECRET)
        with contextlib.closing(live) as connection:
            connection.execute("CREATE TABLE subscribers (address text)")
            connection.execute("INSERT INTO subscribers VALUES ('subscriber-0@example.com')")
        self._s3.create_buckets([BUCKET])
        self._s3.empty(BUCKET)
        for sync, environment in ENVIRONMENT.items():
            self._syncs.configure(environment, _hieradata(sync), {"sanitise.sql": TRANSFORMATION})

    def database_size(self) -> int:
        """Bytes of the database in production."""
        return int(self._servers["production"].execute(f"SELECT pg_database_size('{DATABASE}')")[0][0])

    def script_push(self) -> Run:
        """As the script does it."""
        self._calm()
        file = self._folder / "script.dump"
        began = time.monotonic()
        self._program("production", "pg_dump", "-Fc", "-f", str(file), DATABASE)
        dumped = time.monotonic()
        transfer(self._s3, file, f"s3://{BUCKET}/{SCRIPT_KEY}")
        ended = time.monotonic()
        file.unlink()
        return Run(seconds=ended - began, parts={"dump": dumped - began, "upload": ended - dumped})

    def script_pull(self) -> Run:
        """As the script does it; live is gone from the drop to the commit."""
        self._calm()
        file, server = self._folder / "script.dump", self._servers["integration"]
        with self._reading() as longest:
            began = time.monotonic()
            transfer(self._s3, f"s3://{BUCKET}/{SCRIPT_KEY}", file)
            fetched = time.monotonic()
            with contextlib.closing(server.connect("postgres", SYNC_ROLE, SECRET)) as connection:
                connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)".encode())
                connection.execute(f"CREATE DATABASE {DATABASE}".encode())
            self._restore_as_script(file)
            ended = time.monotonic()
        file.unlink()
        self._check_sanitised()
        return Run(
            seconds=ended - began,
            unavailable=longest(),
            parts={"download": fetched - began, "restore and transformation": ended - fetched},
        )

    def push(self) -> Run:
        """As Env Sync does it."""
        self._calm()
        return self._syncs.run("production", PUSH)

    def pull(self) -> Run:
        """As Env Sync does it."""
        self._calm()
        with self._reading() as longest:
            run = self._syncs.run("integration", PULL)
        self._check_sanitised()
        return evolve(run, unavailable=longest())

    def _restore_as_script(self, file: Path) -> None:
        transformation = self._folder / "transformation_sql" / "sanitise.sql"
        restore = f"{self._programs}/pg_restore -f - {file} | sed '/^COMMENT ON EXTENSION/d'"
        line = (
            f"({restore}; cat {transformation}) "
            f"| {self._programs}/psql -q -1 -v ON_ERROR_STOP=1 -d {DATABASE} -o /dev/null"
        )
        subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], env=self._postgresql("integration"), check=True
        )

    def _program(self, environment: str, name: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / name), *arguments], env=self._postgresql(environment), check=True
        )

    def _postgresql(self, environment: str) -> dict[str, str]:
        server = self._servers[environment]
        place = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": SYNC_ROLE, "PGPASSWORD": SECRET}
        return {**os.environ, **place}

    def _check_sanitised(self) -> None:
        if self._servers["integration"].execute(NOT_SANITISED, None, DATABASE) != [(0,)]:
            raise SystemExit("integration holds rows that are not sanitised")

    def _calm(self) -> None:
        """Every run starts with nothing left to write of the one before."""
        for server in self._servers.values():
            server.execute("CHECKPOINT")

    def _reading(self) -> contextlib.AbstractContextManager[Callable[[], float]]:
        server = self._servers["integration"]

        def connect() -> Callable[[], object]:
            connection = server.connect(DATABASE, SYNC_ROLE, SECRET)
            return lambda: connection.execute("SELECT address FROM subscribers LIMIT 1")

        return reading(connect, (psycopg.Error,))


def _hieradata(sync: str) -> str:
    transformation = "    transformation_sql_filename: sanitise.sql\n" if sync == PULL else ""
    return (
        "govuk_env_sync::tasks:\n"
        f"  {sync}:\n"
        "    hour: 1\n    minute: 0\n"
        f"    action: {sync.partition('_')[0]}\n"
        "    dbms: postgresql\n    storagebackend: s3\n"
        f"    database: {DATABASE}\n    database_hostname: app-postgres\n"
        f"    url: {BUCKET}\n    path: app-postgres\n"
        f"{transformation}"
    )


def table_of_ways(runs: Mapping[str, Sequence[Run]]) -> Table:
    """Seconds, and how many times as fast."""
    table = Table("", "script", "Env Sync", "ratio", title="The script beside Env Sync (medians)")
    seconds = {name: median(each) for name, each in runs.items()}
    gone = {name: median(each, lambda run: run.unavailable) for name, each in runs.items()}
    for name in ("push", "pull"):
        script, ours = seconds[f"script {name}"], seconds[name]
        table.add_row(name, f"{script:.1f} s", f"{ours:.1f} s", f"{script / ours:.2f} x")
    script = seconds["script push"] + seconds["script pull"]
    ours = seconds["push"] + seconds["pull"]
    what = "from the dump's start to a readable, sanitised copy"
    table.add_row(what, f"{script:.1f} s", f"{ours:.1f} s", f"{script / ours:.2f} x")
    table.add_row("live unavailable", f"{gone['script pull']:.1f} s", f"{gone['pull']:.3f} s", "")
    return table


def main() -> int:
    """Measure and print; 1 where a goal is missed."""
    asked = arguments(__doc__ or "", 1000, "megabytes of the database")
    console = Console(width=110)
    console.print(machine())
    with (
        folder_of_servers() as folder,
        PostgreSQLServer(folder / "production", "pypi18", settings=SETTINGS) as production,
        PostgreSQLServer(folder / "integration", "pypi18", settings=SETTINGS) as integration,
        s3_server(folder) as s3,
    ):
        scene = Scene(folder, production, integration, s3)
        console.print(f"PostgreSQL {production.version}, {s3.name}")
        scene.set_up(max(asked.size // 10, 1))
        small = {"push": scene.push().memory, "pull": scene.pull().memory}
        scene.set_up(asked.size)
        console.print(f"The database has {scene.database_size() / MEGABYTE:.0f} MB")
        runs = measure(
            [
                {"script push": scene.script_push, "push": scene.push},
                {"script pull": scene.script_pull, "pull": scene.pull},
            ],
            asked.repeat,
            console.print,
        )
    figures = {name: median(runs[f"script {name}"]) / median(runs[name]) for name in ("push", "pull")}
    figures["unavailable"] = max(run.unavailable for run in runs["pull"])
    console.print(table_of_ways(runs))
    for name, with_a_tenth in small.items():
        console.print(table_of_parts(f"Where the time of a {name} goes", runs[name]))
        memory = max(run.memory for run in runs[name])
        figures[f"{name} memory"] = memory / with_a_tenth
        console.print(
            f"memory of a {name}: {with_a_tenth / MEGABYTE:.0f} MB with a tenth, {memory / MEGABYTE:.0f} MB "
            "with all"
        )
    return judge(console, GOALS, figures)


if __name__ == "__main__":
    raise SystemExit(main())
