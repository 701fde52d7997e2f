"""Push and pull of a MySQL database: Env Sync beside the shell script that it replaces.

    python benchmarks/mysql.py [--size MB] [--repeat N]

Starts a MariaDB server for each of two environments and an S3 server, all on 127.0.0.1, makes a database of
about `--size` MB of SQL (400) in production, and copies it to integration and sanitises it there both ways,
by turns, `--repeat` times (3); medians count.

- The script: `mysqldump | gzip` to a file and `aws s3 cp`; then `aws s3 cp`, live dropped and made anew,
  `gunzip | mysql`, and `mysql` with the transformation. Where there is no `aws`, boto3 moves the file.
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
from collections.abc import Callable, Iterator
from pathlib import Path

import pymysql
from attrs import evolve
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
# Not the folder of this program, which has the name of a library.
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
from sandbox.mariadb import SYNC_ACCOUNT, MariaDBServer, find_program  # noqa: E402
from sandbox.s3 import S3Server  # noqa: E402

DATABASE, READER = "app_production", "app"
SECRET = "benchmark"  # of accounts on servers of this program alone
PUSH, PULL = "push_app", "pull_app"
ENVIRONMENT = {PUSH: "production", PULL: "integration"}
TRANSFORMATION = "UPDATE subscribers SET address = CONCAT('subscriber-', id, '@example.com');\n"
NOT_SANITISED = "SELECT COUNT(*) FROM subscribers WHERE address NOT LIKE 'subscriber-%%@example.com'"
# As a server has them by itself, durable, but for memory and the distance of checkpoints.
SETTINGS = {
    "innodb-buffer-pool-size": "512M",
    "innodb-log-file-size": "512M",
    "innodb-flush-log-at-trx-commit": "1",
    "innodb-flush-method": "O_DIRECT",
    "innodb-doublewrite": "1",
    "sync-frm": "1",
    "debug-no-sync": "0",
}
GOALS = {
    "push": Goal("push, as fast as the script's", " x", least=2.0),
    "pull": Goal("pull, as fast as the script's", " x", least=1.7),
    "unavailable": Goal("live unavailable in a pull", " s", most=0.5),
    "push memory": Goal("memory of a push, 10 times the data", " x", most=1.2),
    "pull memory": Goal("memory of a pull, 10 times the data", " x", most=1.2),
}


class Scene:
    """The servers, and the two ways to push and to pull between them."""

    def __init__(self, folder: Path, production: MariaDBServer, integration: MariaDBServer, s3: S3Server):
        self._folder = folder
        self._servers = {"production": production, "integration": integration}
        self._s3 = s3
        for server in self._servers.values():
            server.create_sync_account(SECRET)
            server.create_account(READER, SECRET, r"SELECT ON `app\_production`.*")
        self._syncs = Syncs(
            folder=folder,
            connections={
                f"env_sync_{environment}_{name}": connection
                for environment, server in self._servers.items()
                for name, connection in (
                    ("app_mysql", server.airflow_connection(password=SECRET, environment=environment)),
                    ("s3", s3.airflow_connection(environment=environment)),
                )
            },
        )

    def set_up(self, megabytes: int) -> None:
        """Make the database in production, a small live one in integration, and the configuration."""
        text = (ROOT / "benchmarks" / "mysql_database.sql").read_text()
        lines = [line for line in text.splitlines() if not line.startswith("--")]
        statements = "\n".join(lines).replace("{scale}", f"{megabytes / 1000}").split(";\n")
        live = [
            "CREATE TABLE subscribers (address varchar(99))",
            "INSERT INTO subscribers VALUES ('subscriber-0@example.com')",
        ]
        for environment, making in (("production", statements), ("integration", live)):
            server = self._servers[environment]
            server.run([f"DROP DATABASE IF EXISTS `{name}`" for name in server.databases()])
            server.execute(f"CREATE DATABASE {DATABASE}")
            server.run([statement for statement in making if statement.strip()], database=DATABASE)
        self._s3.create_buckets([BUCKET])
        self._s3.empty(BUCKET)
        for sync, environment in ENVIRONMENT.items():
            self._syncs.configure(environment, _hieradata(sync), {"sanitise.sql": TRANSFORMATION})

    def script_push(self) -> Run:
        """As the script does it."""
        self._calm()
        file = self._folder / "script.dump"
        began = time.monotonic()
        dump = f"{self._program('production', 'mysqldump')} --single-transaction {DATABASE}"
        self._shell(f"{dump} | gzip > {file}")
        dumped = time.monotonic()
        transfer(self._s3, file, f"s3://{BUCKET}/{SCRIPT_KEY}")
        ended = time.monotonic()
        file.unlink()
        return Run(seconds=ended - began, parts={"dump": dumped - began, "upload": ended - dumped})

    def script_pull(self) -> Run:
        """As the script does it; live is gone from the drop to the last table."""
        self._calm()
        file, sanitise = self._folder / "script.dump", self._folder / "transformation_sql" / "sanitise.sql"
        mysql = self._program("integration", "mariadb")
        with self._reading() as longest:
            began = time.monotonic()
            transfer(self._s3, f"s3://{BUCKET}/{SCRIPT_KEY}", file)
            fetched = time.monotonic()
            self._shell(f"{mysql} -e 'DROP DATABASE {DATABASE}; CREATE DATABASE {DATABASE}'")
            self._shell(f"gunzip < {file} | {mysql} {DATABASE}")
            restored = time.monotonic()
            self._shell(f"{mysql} {DATABASE} < {sanitise}")
            ended = time.monotonic()
        file.unlink()
        self._check_sanitised()
        return Run(
            seconds=ended - began,
            unavailable=longest(),
            parts={
                "download": fetched - began,
                "restore": restored - fetched,
                "transformation": ended - restored,
            },
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

    def _program(self, environment: str, name: str) -> str:
        server = self._servers[environment]
        place = f"--host={server.host} --port={server.port} --user={SYNC_ACCOUNT}"
        return f"{find_program(name)} --no-defaults {place} --max-allowed-packet=1G"

    def _shell(self, line: str) -> None:
        subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], env={**os.environ, "MYSQL_PWD": SECRET}, check=True
        )

    def _check_sanitised(self) -> None:
        if self._servers["integration"].execute(NOT_SANITISED, [], DATABASE) != [(0,)]:
            raise SystemExit("integration holds rows that are not sanitised")

    def _calm(self) -> None:
        """Every run starts with little left to write of the one before."""
        for server in self._servers.values():
            server.execute("SET GLOBAL innodb_max_dirty_pages_pct = 0")
            while int(server.execute("SHOW STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")[0][1]) > 100:
                time.sleep(0.1)
            server.execute("SET GLOBAL innodb_max_dirty_pages_pct = 90")

    def _reading(self) -> contextlib.AbstractContextManager[Callable[[], float]]:
        server = self._servers["integration"]

        def connect() -> Callable[[], object]:
            connection = server.connect(DATABASE, READER, SECRET)
            return lambda: connection.query("SELECT address FROM subscribers LIMIT 1")

        return reading(connect, (pymysql.err.MySQLError,))


def _hieradata(sync: str) -> str:
    transformation = "    transformation_sql_filename: sanitise.sql\n" if sync == PULL else ""
    return (
        "govuk_env_sync::tasks:\n"
        f"  {sync}:\n"
        "    hour: 1\n    minute: 0\n"
        f"    action: {sync.partition('_')[0]}\n"
        "    dbms: mysql\n    storagebackend: s3\n"
        f"    database: {DATABASE}\n    database_hostname: app-mysql\n"
        f"    url: {BUCKET}\n    path: app-mysql\n"
        f"{transformation}"
    )


@contextlib.contextmanager
def scene() -> Iterator[Scene]:
    """Both servers and the bucket, for the length of the block."""
    with (
        folder_of_servers() as folder,
        MariaDBServer(folder / "production", settings=SETTINGS) as production,
        MariaDBServer(folder / "integration", settings=SETTINGS) as integration,
        s3_server(folder) as s3,
    ):
        yield Scene(folder, production, integration, s3)


def main() -> int:
    """Measure and print; 1 where a goal is missed."""
    asked = arguments(__doc__ or "", 400, "megabytes of SQL")
    console = Console(width=110)
    console.print(machine())
    with scene() as stage:
        stage.set_up(max(asked.size // 10, 1))
        small = {"push": stage.push().memory, "pull": stage.pull().memory}
        stage.set_up(asked.size)
        runs = measure(
            [
                {"script push": stage.script_push, "push": stage.push},
                {"script pull": stage.script_pull, "pull": stage.pull},
            ],
            asked.repeat,
            console.print,
        )
    table = Table("", "script", "Env Sync", "ratio", title="The script beside Env Sync (medians)")
    figures = {}
    for name in ("push", "pull"):
        script, ours = median(runs[f"script {name}"]), median(runs[name])
        figures[name] = script / ours
        table.add_row(name, f"{script:.1f} s", f"{ours:.1f} s", f"{script / ours:.2f} x")
    gone = {name: median(runs[name], lambda run: run.unavailable) for name in ("script pull", "pull")}
    table.add_row("live unavailable", f"{gone['script pull']:.1f} s", f"{gone['pull']:.3f} s", "")
    console.print(table)
    figures["unavailable"] = max(run.unavailable for run in runs["pull"])
    for name, with_a_tenth in small.items():
        console.print(table_of_parts(f"Where the time of a {name} goes", runs[name]))
        memory = max(run.memory for run in runs[name])
        figures[f"{name} memory"] = memory / with_a_tenth
        console.print(
            f"memory of a {name}: {with_a_tenth / MEGABYTE:.0f} MB with a tenth, {memory / MEGABYTE:.0f} MB "
            "with all"
        )
    console.print(table_of_parts("Where the time of the script's pull goes", runs["script pull"]))
    return judge(console, GOALS, figures)


if __name__ == "__main__":
    raise SystemExit(main())
