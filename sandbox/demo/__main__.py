"""Runs the demo; see `bin/demo`. Exit code 1 where a sync failed or anything personal came down."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.markup import escape

from env_sync.domain.report import Result
from env_sync.planning.installation import read_plan
from sandbox.airflow import Airflow
from sandbox.demo import search, show
from sandbox.demo.nights import Night, run_night
from sandbox.demo.scene import ENVIRONMENTS, SHELL, Scene, assets_bucket, bucket, home, only_one
from sandbox.demo.search import Found
from sandbox.process import SandboxError

SPARED = ("lock",)
"""What `--fresh` leaves in the folder."""


class Stopped(Exception):
    """Ctrl-C or SIGTERM."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo and gives its exit code."""
    parser = argparse.ArgumentParser(prog="bin/demo", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="leave the Airflow UI up until Ctrl-C")
    parser.add_argument("--search", action="store_true", help="only search what an earlier demo left")
    parser.add_argument("--fresh", action="store_true", help="throw away what an earlier demo left")
    asked = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    console = show.make_console()
    folder = home()
    try:
        with only_one(folder):
            if asked.fresh:
                _empty(folder)
            with Scene(folder) as scene:
                if asked.search:
                    return _search_again(console, scene)
                return _play(console, scene, serve=asked.serve)
    except Stopped:
        console.print("\nStopped; nothing of it runs any more.")
        return 130
    except SandboxError as problem:
        console.print(f"[bold red]bin/demo:[/] {escape(str(problem))}")
        return 1


def _play(console: Console, scene: Scene, *, serve: bool) -> int:
    began = time.monotonic()
    console.print(f"Everything is kept in {scene.folder}")
    for why in scene.left_out.values():
        console.print(f"[yellow]Left out:[/] {escape(why)}")
    scene.configure()
    with show.timed(console, "Servers of each kind for each environment, one for Airflow, and an S3 server"):
        scene.start_servers()
    with show.timed(console, "Invented people in production, and Airflow"):
        airflow = scene.seed_and_start_airflow()
    _say_where(console, airflow)
    nights = _nights(console, airflow)
    wrong = _look(console, scene, nights)
    reports = sum(len(night.reports) for night in nights)
    console.print(f"{reports} syncs reported. {time.monotonic() - began:.0f} s in all.")
    if serve:
        _serve(console, scene, airflow)
    return 1 if wrong else 0


def _search_again(console: Console, scene: Scene) -> int:
    if not scene.seeded:
        raise SandboxError(f"there is nothing to search in {scene.folder}: run bin/demo first")
    with show.timed(console, "The servers"):
        scene.start_servers()
    console.print("The buckets went with the S3 server of that demo, so they are not searched.")
    return 1 if _look(console, scene, ()) else 0


def _look(console: Console, scene: Scene, nights: Sequence[Night]) -> bool:
    """Search everything, and say what came of the nights and of the search; whether anything is wrong."""
    with show.timed(console, "\nLooking for every invented value"):
        # Without a night there are no buckets either: the S3 server keeps them in its memory.
        raw, clean = _search(scene, buckets=bool(nights))
    console.print()
    if nights:
        console.print(show.nights_table(nights))
    console.print(show.search_table([*raw, *clean], scene.marks))
    wrong = [*_wrong_nights(nights), *_wrong_searches(scene, raw, clean)]
    for line in wrong:
        console.print(f"[bold red]WRONG:[/] {escape(line)}")
    verdict = "All is well" if not wrong else f"{len(wrong)} things are wrong"
    below = set().union(*(found.marks for found in clean))
    console.print(
        f"{verdict}: of {len(scene.marks):,} personal values, found in production {len(raw[0].marks):,}, in "
        f"integration {len(below):,}."
    )
    return bool(wrong)


def _nights(console: Console, airflow: Airflow) -> list[Night]:
    nights = []
    for environment in ENVIRONMENTS:
        api = airflow.api()
        try:
            api.wait_for_dag(f"env_sync_{environment}")
            api.unpause_dag(f"env_sync_{environment}")
            with show.watching(console, environment) as watch:
                nights.append(run_night(api, read_plan(environment), watch))
        finally:
            api.close()
    return nights


def _search(scene: Scene, *, buckets: bool) -> tuple[list[Found], list[Found]]:
    """What was found where the values belong, production first; and where none may be."""
    marks = scene.marks
    # Most of it is waiting for servers, each of which is searched by one of these.
    with ThreadPoolExecutor() as pool:
        raw = [pool.submit(_search_environment, scene, each) for each in ("production", "staging")]
        clean = [
            pool.submit(_search_environment, scene, "integration"),
            pool.submit(search.search_files, "logs", scene.logs(), marks),
            pool.submit(search.search_server, "Airflow's XComs and the rest", scene.metadata, marks),
        ]
        if buckets:
            raw.append(pool.submit(_search_buckets, scene, "staging"))
            clean.append(pool.submit(_search_buckets, scene, "integration"))
        return [found.result() for found in raw], [found.result() for found in clean]


def _search_environment(scene: Scene, environment: str) -> Found:
    """All servers and directories of an environment."""
    marks = scene.marks
    found = [
        search.search_server(environment, scene.servers[environment], marks),
        search.search_mongodb(environment, scene.mongodb[environment], marks),
        search.search_files(environment, [scene.files(environment)], marks),
    ]
    if environment in scene.clusters:
        found.append(search.search_elasticsearch(environment, scene.clusters[environment], marks))
    if scene.mariadb:
        found.append(search.search_mariadb(environment, scene.mariadb[environment], marks))
    return search.together(environment, found)


def _search_buckets(scene: Scene, environment: str) -> Found:
    buckets = (bucket(environment), assets_bucket(environment))
    where = f"{environment}'s buckets"
    return search.together(
        where, [search.search_bucket(where, scene.s3, each, scene.tools, scene.marks) for each in buckets]
    )


def _wrong_nights(nights: Sequence[Night]) -> list[str]:
    wrong = []
    for night in nights:
        if night.state != "success":
            wrong.append(f"the run of {night.environment} is {night.state}")
        wrong += [f"{night.environment} {group} left no report" for group in night.unreported]
        wrong += [report.line() for report in night.reports if report.result is Result.CRITICAL]
        done = [report for report in night.reports if not report.skipped]
        if not done:
            wrong.append(f"nothing ran in {night.environment}")
    return wrong


def _wrong_searches(scene: Scene, raw: Sequence[Found], clean: Sequence[Found]) -> list[str]:
    """What is where it must not be; and where nothing is found that must be, the search itself is broken."""
    wrong = [
        f"{len(marks):,} personal values in {found.where}: {place}"
        for found in clean
        for place, marks in found.places.items()
        if marks
    ]
    if missing := len(scene.marks) - len(raw[0].marks):
        wrong.append(f"the search does not find {missing} of the values that were seeded in production")
    wrong += [f"the search finds nothing in {found.where}" for found in raw if not found.marks]
    wrong += [f"there is nothing to search in {found.where}" for found in clean if not found.places]
    wrong += [f"a sync left {path} on the disk" for path in scene.left_in_work_folder()]
    return wrong


def _say_where(console: Console, airflow: Airflow) -> None:
    console.print(f"\nThe Airflow UI: [bold]{airflow.url}[/bold]")
    for user, password in airflow.passwords.items():
        console.print(f"  {user:<7} password {password}", markup=False)


def _serve(console: Console, scene: Scene, airflow: Airflow) -> None:
    run = "dags/env_sync_integration"
    shell = scene.folder / SHELL
    console.print("\n[bold]The UI stays up until Ctrl-C.[/bold] What to look at, and to try:")
    for line in (
        f"The plan of a night: Dag Docs (the open book) on {airflow.url}/{run}",
        "What each sync did: the log of its `report`; the table of the night: the log of `night`",
        "Run one sync now: Trigger, and choose it under Syncs to run now (nothing starts by the clock here)",
        "Restore an older dump: the same, with its timestamp (`bin/env-sync list` shows them)",
        "Rerun one sync: in the grid, choose its group, Clear, with `downstream` off",
        "Run the sync that is disabled in the same way: push_signon_integration_daily",
        "Pause one sync for eight hours, then trigger all: it is skipped and says why:",
        f"    . {shell}",
        "    bin/env-sync pause integration pull_signon_staging_daily --why 'a demo' --until 8h",
        "    bin/env-sync pauses",
        "    bin/env-sync run integration pull_publishing_api_staging_daily",
        "    bin/env-sync list integration publishing_api_production",
    ):
        console.print(f"{'' if line.startswith(' ') else '  - '}{line}", markup=False, soft_wrap=True)
    threading.Event().wait()


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name in SPARED:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _stop(_number: int, _frame: FrameType | None) -> None:
    # A second Ctrl-C must not interrupt the ending of servers.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


if __name__ == "__main__":
    os.environ.setdefault("TZ", "UTC")
    sys.exit(main())
