"""What the benchmarks share: a sync in a process of its own, a client that reads live, scales, goals, tables.

    python benchmarks/measuring.py ENVIRONMENT SYNC

is such a process; the benchmarks start it.
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
from typing import IO

from attrs import field, frozen
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# Programs in this folder have names of libraries.
sys.path[:] = [str(ROOT), str(ROOT / "plugins"), *(each for each in sys.path if Path(each) != HERE)]

from sandbox import process  # noqa: E402
from sandbox.s3 import MotoS3, S3Server, VersityGW, versitygw  # noqa: E402

BUCKET = "govuk-production-database-backups"
SCRIPT_KEY = "the-script/dump.gz"
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


@frozen(kw_only=True)
class Run:
    """Something done once, one way. Times in seconds, memory in bytes."""

    seconds: float
    unavailable: float = 0.0
    memory: int = 0
    parts: Mapping[str, float] = field(factory=dict)


@frozen(kw_only=True)
class Syncs:
    """Where syncs of Env Sync run: their folder, and the Airflow connections that they find, by name.

    `variables` are more of the environment.
    """

    folder: Path
    connections: Mapping[str, Mapping[str, object]]
    variables: Mapping[str, str] = field(factory=dict)

    def configure(self, environment: str, hieradata: str, transformations: Mapping[str, str]) -> None:
        """Write the hieradata of an environment, and transformations by file name."""
        for name, texts in (
            ("hieradata", {f"{environment}.yaml": hieradata}),
            ("transformation_sql", transformations),
        ):
            (self.folder / name).mkdir(exist_ok=True)
            for file, text in texts.items():
                (self.folder / name / file).write_text(text)

    def run(self, environment: str, sync: str) -> Run:
        """Run a sync in a process of its own, and weigh it. Ends the program where it is not OK."""
        worker = subprocess.Popen(
            [sys.executable, __file__, environment, sync],
            env={
                **os.environ,
                **{
                    f"AIRFLOW_CONN_{name.upper()}": json.dumps(each)
                    for name, each in self.connections.items()
                },
                "AIRFLOW_HOME": str(self.folder / "airflow"),
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
                "ENV_SYNC_HIERADATA": str(self.folder / "hieradata"),
                "ENV_SYNC_TRANSFORMATIONS": str(self.folder / "transformation_sql"),
                "ENV_SYNC_WORK_FOLDER": str(self.folder / "work"),
                "PYTHONPATH": str(ROOT / "plugins"),
                **self.variables,
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
            with weighing(worker.pid) as heaviest:
                worker.stdin.write("go\n")
                worker.stdin.flush()
                report = json.loads(_line(worker.stdout, REPORT))
        if report["result"] != "OK":
            raise SystemExit(f"{sync}: {report['line']}")
        return Run(seconds=report["seconds"], memory=heaviest(), parts=report["parts"])


def work(environment: str, sync: str) -> None:
    """What the process of a sync does: all of it, once it is told to; prints the report as JSON."""
    import logging

    from env_sync.airflow.connections import CONNECTIONS
    from env_sync.core.cancellation import Cancellation
    from env_sync.core.progress import LogProgress
    from env_sync.core.serialization import to_plain
    from env_sync.engines.base.contract import Holder
    from env_sync.pipeline.run import run_group
    from env_sync.pipeline.session import open_session
    from env_sync.planning.installation import read_plan
    from env_sync.planning.request import Request

    log = logging.getLogger("env_sync")
    plan = read_plan(environment)
    group = plan.groups[0]
    session = open_session(
        group=group,
        settings=plan.settings,
        request=Request(nightly=False, only=(sync,)),
        holder=Holder(run=f"benchmark/{os.getpid()}", group=group.id, attempt=f"{time.time_ns()}"),
        connections=CONNECTIONS,
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


def transfer(s3: S3Server, source: Path | str, to: Path | str) -> None:
    """Copy a file to or from the bucket as `aws s3 cp` does, with boto3 where there is no `aws`."""
    if (aws := shutil.which("aws")) is None:
        # The CLI's own defaults: 8 MB a part, ten at a time.
        if isinstance(source, Path):
            s3.client().upload_file(str(source), BUCKET, SCRIPT_KEY)
        else:
            s3.client().download_file(BUCKET, SCRIPT_KEY, str(to))
        return
    options = ["--endpoint-url", s3.endpoint, "--region", "eu-west-1"]
    subprocess.run(
        [aws, *options, "s3", "cp", "--only-show-errors", str(source), str(to)],
        env={**os.environ, **keys_of(s3)},
        check=True,
    )


def keys_of(s3: S3Server) -> dict[str, str]:
    """The credentials of a server's root, as programs read them from the environment."""
    return {"AWS_ACCESS_KEY_ID": s3.root.access_key, "AWS_SECRET_ACCESS_KEY": s3.root.secret_key}


@contextlib.contextmanager
def reading(
    connect: Callable[[], Callable[[], object]], errors: tuple[type[Exception], ...]
) -> Iterator[Callable[[], float]]:
    """A client that reads live all the time; gives the longest time, in seconds, that it could not.

    `connect` gives a function that reads once; both may raise `errors`.
    """
    stop, gaps = threading.Event(), [0.0]

    def read() -> None:
        look: Callable[[], object] | None = None
        last: float | None = None
        while not stop.is_set():
            try:
                look = look or connect()
                look()
                now = time.monotonic()
                if last is not None:
                    gaps.append(now - last)
                last = now
            except errors:
                look = None
            stop.wait(READ_EVERY)

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
def weighing(pid: int) -> Iterator[Callable[[], int]]:
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


def measure(
    pairs: Sequence[Mapping[str, Callable[[], Run]]], repeat: int, say: Callable[[str], None]
) -> dict[str, list[Run]]:
    """Every way of everything, by turns: those of a pair in their order, then in the opposite one."""
    runs: dict[str, list[Run]] = {name: [] for pair in pairs for name in pair}
    for number in range(repeat):
        for pair in pairs:
            for name in pair if number % 2 == 0 else reversed(list(pair)):
                run = pair[name]()
                runs[name].append(run)
                say(f"{number + 1}/{repeat} {name}: {run.seconds:.1f} s")
    return runs


def median(runs: Sequence[Run], figure: Callable[[Run], float] = lambda run: run.seconds) -> float:
    """The median of one figure; seconds, unless told otherwise."""
    return statistics.median(figure(run) for run in runs)


def table_of_parts(title: str, runs: Sequence[Run]) -> Table:
    """Where the time of Env Sync went, in percent."""
    table = Table("part", "s", "%", title=title)
    whole = statistics.mean(run.seconds for run in runs)
    for part in dict.fromkeys(part for run in runs for part in run.parts):
        seconds = statistics.mean(run.parts.get(part, 0.0) for run in runs)
        table.add_row(part, f"{seconds:.2f}", f"{100 * seconds / whole:.1f}")
    return table


def judge(console: Console, goals: Mapping[str, Goal], figures: Mapping[str, float]) -> int:
    """Print each goal and whether it was met; the exit code, 1 where one was missed."""
    table = Table("goal", "wanted", "measured", "", title="Goals")
    for name, figure in figures.items():
        goal = goals[name]
        table.add_row(
            goal.what, str(goal), f"{figure:.2f}{goal.unit}", "met" if goal.met(figure) else "MISSED"
        )
    console.print(table)
    return 0 if all(goals[name].met(figure) for name, figure in figures.items()) else 1


def machine() -> str:
    """What it ran on."""
    gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {gigabytes:.0f} GB of memory, {platform.machine()}, load {load:.1f}"


def arguments(about: str, size: int, of: str) -> argparse.Namespace:
    """The arguments `--size` and `--repeat`."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--size", type=int, default=size, metavar="N", help=of)
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="how often everything is measured")
    return parser.parse_args()


@contextlib.contextmanager
def folder_of_servers() -> Iterator[Path]:
    """A folder that users other than this one can enter, removed at the end."""
    folder = process.temporary_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def s3_server(folder: Path) -> S3Server:
    """versitygw; moto where it is not there and cannot be built."""
    try:
        versitygw()
    except process.ServerMissing:
        return MotoS3(folder / "s3")
    return VersityGW(folder / "s3")


if __name__ == "__main__":
    work(*sys.argv[1:])
