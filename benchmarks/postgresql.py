"""Push and pull of a PostgreSQL database: Env Sync beside the shell script that it replaces.

    python benchmarks/postgresql.py [--size MB] [--repeat N]

Starts a PostgreSQL 18 server for each of two environments and an S3 server, all on 127.0.0.1, makes a
database of about `--size` MB (1000) in production, and copies it to integration and sanitises it there both
ways, by turns, `--repeat` times (3); medians count.

- The script: `pg_dump -Fc` to a file and `aws s3 cp`; then `aws s3 cp`, live dropped and made anew, and
  `pg_restore -f - | sed | psql -1` with the transformation at its end. Where there is no `aws`, boto3 moves
  the file with the same settings; the first lines say which.
- Env Sync: the syncs of a hieradata file, run as `env-sync run` runs them, each in a process of its own. What
  a process takes to start and to import Airflow is left out, as a worker of Airflow has that behind it.

A client reads a table of live all the time; how long it could not is how long live was unavailable. Memory is
the most that the process of a sync and all that it started had at one time, without the servers; it is
measured with a tenth of the database as well. Exits 1 where a goal is missed; GOALS holds them. Times depend
on the machine and on what else it does: quote the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import psycopg
from attrs import field, frozen
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

from sandbox import process  # noqa: E402
from sandbox.postgresql import SYNC_ROLE, PostgreSQLServer  # noqa: E402
from sandbox.s3 import MotoS3, S3Server, VersityGW, versitygw  # noqa: E402

DATABASE = "app_production"
BUCKET = "govuk-production-database-backups"
SCRIPT_KEY = "the-script/dump.gz"
SECRET = "benchmark"  # of a role on servers of this program alone
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
READY, REPORT = "ready to run", "report: "
READ_EVERY = 0.005
WEIGH_EVERY = 0.1
MEGABYTE = 1_000_000


@frozen
class Goal:
    """What a ratio or a figure must reach: `least` or `most` is None where that side is open."""

    what: str
    unit: str
    least: float | None = None
    most: float | None = None

    def met(self, figure: float) -> bool:
        """Whether a figure is good enough."""
        return (self.least is None or figure >= self.least) and (self.most is None or figure <= self.most)

    def __str__(self) -> str:
        return f"at least {self.least:g}{self.unit}" if self.least else f"at most {self.most:g}{self.unit}"


GOALS = {
    "push": Goal("push, as fast as the script's", " x", least=2.5),
    "pull": Goal("pull, as fast as the script's", " x", least=1.4),
    "unavailable": Goal("live unavailable in a pull", " s", most=0.5),
    "push memory": Goal("memory of a push, 10 times the data", " x", most=1.2),
    "pull memory": Goal("memory of a pull, 10 times the data", " x", most=1.2),
}


@frozen(kw_only=True)
class Run:
    """One push or pull, done one way. Times in seconds, memory in bytes."""

    seconds: float
    unavailable: float = 0.0
    memory: int = 0
    parts: Mapping[str, float] = field(factory=dict)


class Scene:
    """The servers, and the two ways to push and to pull between them."""

    def __init__(
        self, folder: Path, production: PostgreSQLServer, integration: PostgreSQLServer, s3: S3Server
    ):
        self._folder = folder
        self._servers = {"production": production, "integration": integration}
        self._s3 = s3
        self._programs = production.installation.bin
        self.aws = shutil.which("aws")

    def set_up(self, megabytes: int) -> None:
        """Make the database in production, an empty live one in integration, and the configuration."""
        statements = (ROOT / "benchmarks" / "postgresql_database.sql").read_text()
        for server in self._servers.values():
            server.clear()
            server.create_sync_role(SECRET)
            server.create_database(DATABASE, SYNC_ROLE)
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
        hieradata, transformations = self._folder / "hieradata", self._folder / "transformation_sql"
        for made in (hieradata, transformations):
            made.mkdir(exist_ok=True)
        (transformations / "sanitise.sql").write_text(TRANSFORMATION)
        for sync, environment in ENVIRONMENT.items():
            (hieradata / f"{environment}.yaml").write_text(_hieradata(sync))

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
        self._transfer(file, f"s3://{BUCKET}/{SCRIPT_KEY}")
        ended = time.monotonic()
        file.unlink()
        return Run(seconds=ended - began, parts={"dump": dumped - began, "upload": ended - dumped})

    def script_pull(self) -> Run:
        """As the script does it; live is gone from the drop to the commit."""
        self._calm()
        file, server = self._folder / "script.dump", self._servers["integration"]
        with self._reading() as longest:
            began = time.monotonic()
            self._transfer(f"s3://{BUCKET}/{SCRIPT_KEY}", file)
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
        return self._sync(PUSH)

    def pull(self) -> Run:
        """As Env Sync does it."""
        self._calm()
        with self._reading() as longest:
            run = self._sync(PULL)
        self._check_sanitised()
        return Run(seconds=run.seconds, unavailable=longest(), memory=run.memory, parts=run.parts)

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

    def _transfer(self, source: Path | str, to: Path | str) -> None:
        """Copy a file to or from the bucket as `aws s3 cp` does."""
        if self.aws is None:
            # The CLI's own defaults: 8 MB a part, ten at a time.
            if isinstance(source, Path):
                self._s3.client().upload_file(str(source), BUCKET, SCRIPT_KEY)
            else:
                self._s3.client().download_file(BUCKET, SCRIPT_KEY, str(to))
            return
        keys = {
            "AWS_ACCESS_KEY_ID": self._s3.root.access_key,
            "AWS_SECRET_ACCESS_KEY": self._s3.root.secret_key,
        }
        options = ["--endpoint-url", self._s3.endpoint, "--region", "eu-west-1", "--quiet"]
        subprocess.run(
            [self.aws, *options, "s3", "cp", "--only-show-errors", str(source), str(to)],
            env={**os.environ, **keys},
            check=True,
        )

    def _sync(self, sync: str) -> Run:
        """Run a sync in a process of its own, and weigh it."""
        environment = ENVIRONMENT[sync]
        server = self._servers[environment]
        connections = {
            f"env_sync_{environment}_app_postgres": server.airflow_connection(
                password=SECRET, environment=environment
            ),
            f"env_sync_{environment}_s3": self._s3.airflow_connection(environment=environment),
        }
        worker = subprocess.Popen(
            [sys.executable, __file__, "--worker", environment, sync],
            env={
                **os.environ,
                **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()},
                "AIRFLOW_HOME": str(self._folder / "airflow"),
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
                "ENV_SYNC_HIERADATA": str(self._folder / "hieradata"),
                "ENV_SYNC_TRANSFORMATIONS": str(self._folder / "transformation_sql"),
                "ENV_SYNC_WORK_FOLDER": str(self._folder / "work"),
                "ENV_SYNC_POSTGRESQL_TOOLS": str(self._programs),
                "PYTHONPATH": str(ROOT / "plugins"),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with worker:
            if worker.stdin is None or worker.stdout is None:
                raise SystemExit(f"the process of {sync} did not start")
            # Libraries may print as well.
            _line(worker.stdout, READY)
            with _weighing(worker.pid) as heaviest:
                worker.stdin.write("go\n")
                worker.stdin.flush()
                report = json.loads(_line(worker.stdout, REPORT))
        if report["result"] != "OK":
            raise SystemExit(f"{sync}: {report['line']}")
        return Run(seconds=report["seconds"], memory=heaviest(), parts=report["parts"])

    def _check_sanitised(self) -> None:
        if self._servers["integration"].execute(NOT_SANITISED, None, DATABASE) != [(0,)]:
            raise SystemExit("integration holds rows that are not sanitised")

    def _calm(self) -> None:
        """Every run starts with nothing left to write of the one before."""
        for server in self._servers.values():
            server.execute("CHECKPOINT")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Callable[[], float]]:
        """A client that reads live all the time; gives the longest time, in seconds, that it could not."""
        server, stop = self._servers["integration"], threading.Event()
        gaps = [0.0]

        def read() -> None:
            connection: psycopg.Connection[Any] | None = None
            last: float | None = None
            while not stop.is_set():
                try:
                    if connection is None:
                        connection = server.connect(DATABASE, SYNC_ROLE, SECRET)
                    connection.execute("SELECT address FROM subscribers LIMIT 1")
                    now = time.monotonic()
                    if last is not None:
                        gaps.append(now - last)
                    last = now
                except psycopg.Error:
                    if connection is not None:
                        connection.close()
                    connection = None
                stop.wait(READ_EVERY)
            if connection is not None:
                connection.close()

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield lambda: max(gaps)
            # The gap ends with the first read after it.
            stop.wait(10 * READ_EVERY)
        finally:
            stop.set()
            reader.join()


def _line(stream: IO[str], mark: str) -> str:
    """What follows the mark in the next line that begins with it."""
    for line in stream:
        if line.startswith(mark):
            return line.removeprefix(mark)
    raise SystemExit("the process of a sync ended before its time; what it said is above")


@contextlib.contextmanager
def _weighing(pid: int) -> Iterator[Callable[[], int]]:
    """Weigh a process and all below it; gives the most bytes that they had, at two looks in a row.

    For an instant a process that starts another one is seen twice.
    """
    stop, weights = threading.Event(), [0]

    def weigh() -> None:
        while not stop.is_set():
            weights.append(sum(_resident(each) for each in _tree(pid)))
            stop.wait(WEIGH_EVERY)

    scale = threading.Thread(target=weigh)
    scale.start()
    try:
        yield lambda: max(map(min, itertools.pairwise(weights)))
    finally:
        stop.set()
        scale.join()


def _tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))


def _resident(pid: int) -> int:
    """Bytes of memory that a process has; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


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


def work(environment: str, sync: str) -> None:
    """What the process of a sync does: all of it, once it is told to; prints the report as JSON."""
    import logging

    from env_sync.cancellation import Cancellation
    from env_sync.engines.contract import Holder
    from env_sync.installation import read_plan
    from env_sync.plain import to_plain
    from env_sync.progress import LogProgress
    from env_sync.request import Request
    from env_sync.steps.session import open_session
    from env_sync.steps.whole_group import run_group

    log = logging.getLogger("env_sync")
    plan = read_plan(environment)
    group = plan.groups[0]
    session = open_session(
        group=group,
        settings=plan.settings,
        request=Request(nightly=False, only=(sync,)),
        holder=Holder(run=f"benchmark/{os.getpid()}", group=group.id, attempt=f"{time.time_ns()}"),
        pause=lambda: None,
        cancellation=Cancellation(),
        progress=LogProgress(log),
        log=log,
    )
    # It takes a second to make, and is a worker's own as the imports are.
    _ = session.store
    print(READY, flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    report = run_group(session, lambda step: None)
    seconds = time.monotonic() - began
    parts: dict[str, float] = {}
    for step, spent in report.spent.items():
        parts |= {f"{step}: {part}": each for part, each in spent.parts.items()}
        parts[f"{step}: rest" if spent.parts else step] = spent.seconds - sum(spent.parts.values())
    parts["lease and clean-up"] = seconds - sum(spent.seconds for spent in report.spent.values())
    said = {"result": report.result, "line": report.line(), "seconds": seconds, "parts": parts}
    print(f"{REPORT}{json.dumps(to_plain(said))}", flush=True)


def measure(scene: Scene, repeat: int, say: Callable[[str], None]) -> dict[str, list[Run]]:
    """Every way of everything, by turns: the script first, and then Env Sync first."""
    ways: dict[str, Callable[[], Run]] = {
        "script push": scene.script_push,
        "push": scene.push,
        "script pull": scene.script_pull,
        "pull": scene.pull,
    }
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for number in range(repeat):
        pushes, pulls = ["script push", "push"], ["script pull", "pull"]
        for name in [*pushes, *pulls] if number % 2 == 0 else [*reversed(pushes), *reversed(pulls)]:
            run = ways[name]()
            runs[name].append(run)
            say(f"{number + 1}/{repeat} {name}: {run.seconds:.1f} s")
    return runs


def median(runs: Sequence[Run], figure: Callable[[Run], float]) -> float:
    """The median of one figure."""
    return statistics.median(figure(run) for run in runs)


def table_of_ways(runs: Mapping[str, Sequence[Run]]) -> Table:
    """Seconds, and how many times as fast."""
    table = Table("", "script", "Env Sync", "ratio", title="The script beside Env Sync (medians)")
    seconds = {name: median(each, lambda run: run.seconds) for name, each in runs.items()}
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


def table_of_parts(title: str, runs: Sequence[Run]) -> Table:
    """Where the time of Env Sync went, in percent."""
    table = Table("part", "s", "%", title=title)
    whole = statistics.mean(run.seconds for run in runs)
    for part in dict.fromkeys(part for run in runs for part in run.parts):
        seconds = statistics.mean(run.parts.get(part, 0.0) for run in runs)
        table.add_row(part, f"{seconds:.2f}", f"{100 * seconds / whole:.1f}")
    return table


def table_of_goals(figures: Mapping[str, float]) -> Table:
    """Each goal, and whether it was met."""
    table = Table("goal", "wanted", "measured", "", title="Goals")
    for name, figure in figures.items():
        goal = GOALS[name]
        table.add_row(
            goal.what, str(goal), f"{figure:.2f}{goal.unit}", "met" if goal.met(figure) else "MISSED"
        )
    return table


def machine() -> str:
    """What it ran on."""
    gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {gigabytes:.0f} GB of memory, {platform.machine()}, load {load:.1f}"


def main() -> int:
    """Measure and print; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=1000, metavar="MB", help="of the database")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="how often everything is measured")
    asked = parser.parse_args()
    console = Console(width=110)
    console.print(machine())
    folder = process.temporary_folder()
    try:
        with (
            PostgreSQLServer(folder / "production", "pypi18", settings=SETTINGS) as production,
            PostgreSQLServer(folder / "integration", "pypi18", settings=SETTINGS) as integration,
            _s3(folder) as s3,
        ):
            scene = Scene(folder, production, integration, s3)
            transfer = scene.aws or "boto3, as there is no aws"
            console.print(f"PostgreSQL {production.version}, {s3.name}; the script transfers with {transfer}")
            scene.set_up(max(asked.size // 10, 1))
            small = {"push": scene.push().memory, "pull": scene.pull().memory}
            scene.set_up(asked.size)
            console.print(f"The database has {scene.database_size() / MEGABYTE:.0f} MB")
            runs = measure(scene, asked.repeat, console.print)
    finally:
        shutil.rmtree(folder)
    figures = {
        **{
            name: median(runs[f"script {name}"], _seconds) / median(runs[name], _seconds)
            for name in ("push", "pull")
        },
        "unavailable": max(run.unavailable for run in runs["pull"]),
        **{f"{name} memory": max(run.memory for run in runs[name]) / small[name] for name in small},
    }
    console.print(table_of_ways(runs))
    for name in ("push", "pull"):
        console.print(table_of_parts(f"Where the time of a {name} goes", runs[name]))
        memory = max(run.memory for run in runs[name]) / MEGABYTE
        console.print(
            f"memory of a {name}: {small[name] / MEGABYTE:.0f} MB with a tenth, {memory:.0f} MB with all"
        )
    console.print(table_of_goals(figures))
    return 0 if all(GOALS[name].met(figure) for name, figure in figures.items()) else 1


def _seconds(run: Run) -> float:
    return run.seconds


def _s3(folder: Path) -> S3Server:
    """versitygw; moto where it is not there and cannot be built."""
    try:
        versitygw()
    except process.ServerMissing:
        return MotoS3(folder / "s3")
    return VersityGW(folder / "s3")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(*sys.argv[2:])
    else:
        raise SystemExit(main())
