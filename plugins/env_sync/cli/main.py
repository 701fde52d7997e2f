"""env-sync: check the configuration, show plans, dumps and nights, run a sync, undo, pause.

`plan`, and `check` without --connect, read files only. The other commands use Airflow's connections and
variables, so they import Airflow, which takes seconds: inside the command, not here.
"""

from __future__ import annotations

import datetime as dt
import getpass
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from env_sync.core.errors import EnvSyncError, InvalidRequest, UnknownSync
from env_sync.core.plural import plural
from env_sync.domain.duration import parse_duration
from env_sync.domain.invalid_value import WrongValue
from env_sync.domain.pause import Pause
from env_sync.domain.sanitising import badge_text
from env_sync.domain.sync import Action, Sync
from env_sync.planning.installation import HIERADATA, TRANSFORMATIONS, chosen_environments, read_plan
from env_sync.planning.plan import Group, Plan, sanitising_duty

if TYPE_CHECKING:
    from env_sync.domain.leftovers import Swept
    from env_sync.pipeline.session import Session
    from env_sync.planning.request import Request

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

EnvironmentName = Annotated[str, typer.Argument(metavar="ENV", help="The environment, e.g. integration.")]
SyncName = Annotated[str, typer.Argument(metavar="SYNC", help="The name of the sync in hieradata.")]


@app.callback()
def options(
    hieradata: Annotated[Path | None, typer.Option(help="Another folder of hieradata.")] = None,
    transformations: Annotated[Path | None, typer.Option(help="Another folder of transformations.")] = None,
) -> None:
    """Copies databases between environments, sanitised on the way down."""
    if hieradata is not None:
        os.environ[HIERADATA] = str(hieradata)
    if transformations is not None:
        os.environ[TRANSFORMATIONS] = str(transformations)


@app.command()
def check(
    environments: Annotated[
        list[str] | None, typer.Argument(metavar="[ENV]...", help="Only these environments.")
    ] = None,
    connect: Annotated[
        bool, typer.Option("--connect", help="Also check servers and buckets; writes nothing.")
    ] = False,
    sync: Annotated[
        list[str] | None, typer.Option("--sync", metavar="NAME", help="With --connect: only this sync.")
    ] = None,
) -> None:
    """Read the whole configuration; print every problem with its file and line. Exit 1 if there is any.

    With --connect it also tries, with real connections and for every sync, what would stop it tonight:
    connections, rights, programs, disks, dumps, transformations.
    """
    if sync and not connect:
        raise InvalidRequest("--sync chooses what is tried with --connect: add that, or leave --sync out.")
    chosen = dict.fromkeys(environments or chosen_environments())
    plans = [read_plan(environment) for environment in chosen]
    problems = [problem for plan in plans for problem in plan.problems]
    for problem in problems:
        typer.echo(problem)
    groups = sum(len(plan.groups) for plan in plans)
    for plan in plans:
        if duty := sanitising_duty(plan.settings):
            typer.echo(f"note: {plan.environment}: {duty} what comes down (govuk_env_sync::sanitise)")
        for left in plan.left_out:
            typer.echo(f"note: {plan.environment}: {left}")
        for note in plan.notes:
            typer.echo(f"note: {note}")
        for one in {group.sync.name: group.sync for group in plan.groups}.values():
            if text := badge_text(one):
                typer.echo(f"note: {one.place}: {plan.environment} {one.name}: {text}")
    counts = (
        plural(len(plans), "environment"),
        plural(groups, "group"),
        plural(len(problems), "problem"),
    )
    typer.echo(", ".join(counts))
    found = _connect(plans, sync or []) if connect else 0
    raise typer.Exit(1 if problems or found else 0)


@app.command()
def plan(environment: EnvironmentName) -> None:
    """Print what the environment's DAG will do in a night, in order."""
    typer.echo(read_plan(environment).as_text())


@app.command("list")
def list_dumps(
    environment: EnvironmentName, database: Annotated[str, typer.Argument(metavar="DATABASE")]
) -> None:
    """List the dumps that syncs of this environment can restore for a database, the newest first."""
    _use_airflow()
    from env_sync.airflow.connections import store_connection
    from env_sync.store.dump_keys import timestamp_text
    from env_sync.store.dumps import S3Store

    every = [group.sync for group in read_plan(environment).groups if isinstance(group.sync, Sync)]
    syncs = [sync for sync in every if not sync.is_cluster]
    places = dict.fromkeys((sync.url, sync.path) for sync in syncs if sync.database == database)
    clusters = dict.fromkeys(sync.url for sync in every if sync.is_cluster and sync.database == database)
    if clusters and not places:
        looks = ", ".join(f"GET /_snapshot/{url}/_all" for url in clusters)
        raise InvalidRequest(
            f"{database} is a cluster: its snapshots are in its own repository, not in a bucket. Ask the "
            f"cluster for them: {looks}. docs/elasticsearch.md says how."
        )
    if not places:
        known = sorted({sync.database for sync in syncs})
        raise UnknownSync(f"{environment} has no sync of {database!r}. It has: {', '.join(known)}.")
    store = S3Store(store_connection(environment))
    for bucket, path in places:
        table = Table("Timestamp", "MB", "Data of (UTC)", "Born in", "Key", title=f"{bucket}/{path}")
        for listed in store.list_dumps(bucket, path, database):
            manifest = store.read_manifest(bucket, listed.key)
            table.add_row(
                timestamp_text(listed.timestamp),
                f"{listed.size / 1e6:.1f}",
                f"{manifest.data_time:%Y-%m-%d %H:%M}" if manifest else "",
                manifest.born_in if manifest else "",
                listed.key,
            )
        Console().print(table)


@app.command()
def run(
    environment: EnvironmentName,
    sync: SyncName,
    timestamp: Annotated[str | None, typer.Option(help="Restore exactly this dump.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Print what would be done; write nothing.")] = False,
    ignore_pauses: Annotated[bool, typer.Option(help="Run it even if it is paused.")] = False,
    confirm: Annotated[str, typer.Option(help="The database's name, for a recovery sync.")] = "",
) -> None:
    """Run one sync now, in this process, with the same steps as in Airflow. Exit 1 if it is CRITICAL."""
    _use_airflow()
    from env_sync.airflow.pause_store import get_pause
    from env_sync.planning.request import read_request

    plan = read_plan(environment)
    group = _group(plan, sync)
    asked = {"only": [sync], "timestamp": timestamp, "ignore_pauses": ignore_pauses, "confirm": confirm}
    request = read_request(asked, plan)
    pause = get_pause(environment, sync)
    if pause is not None and pause.active(dt.datetime.now(dt.UTC)) and not ignore_pauses:
        typer.echo(f"OK: {sync} was not run: {pause}. Use --ignore-pauses to run it anyway.")
        return
    session = _session(plan, group, request)
    if dry_run:
        _say_what_would_be_done(session)
        return
    _run(session)


@app.command("restore-previous")
def restore_previous(
    environment: EnvironmentName,
    database: Annotated[str, typer.Argument(metavar="DATABASE")],
    confirm: Annotated[
        str,
        typer.Option(
            help="The database's name, where the environment is protected. '<name> NOT SANITISED' makes "
            "previous live also where it should have been sanitised and was not."
        ),
    ] = "",
) -> None:
    """Undo the last pull of a database: previous is live again, live becomes previous. No pause stops it."""
    _use_airflow()
    from env_sync.planning.request import read_request

    plan = read_plan(environment)
    request = read_request({"restore_previous": database, "confirm": confirm}, plan)
    group = next(group for group in plan.groups if group.id == plan.undo[database.strip()])
    _run(_session(plan, group, request))


@app.command()
def pause(
    environment: EnvironmentName,
    sync: SyncName,
    why: Annotated[str, typer.Option(help="The reason, shown to others.")],
    until: Annotated[
        str, typer.Option(help="When it ends automatically: a time in UTC (2026-12-01T09:00) or 8h, 2d.")
    ],
    by: Annotated[str | None, typer.Option(help="Who pauses it; you by default.")] = None,
    pull_only: Annotated[
        bool, typer.Option(help="SYNC is the name of a database: pause its pulls, leave its pushes running.")
    ] = False,
) -> None:
    """Pause one sync until a moment. It is skipped visibly, says why, and comes back by itself."""
    _use_airflow()
    from env_sync.airflow.pause_store import set_pause

    now = dt.datetime.now(dt.UTC)
    record = Pause(by=by or getpass.getuser(), why=why, since=now, until=_end(until, now))
    for name in _named(read_plan(environment), sync, pull_only):
        set_pause(environment, name, record)
        typer.echo(f"{environment} {name}: {record}")


@app.command()
def resume(environment: EnvironmentName, sync: SyncName, pull_only: bool = False) -> None:
    """End a pause now."""
    _use_airflow()
    from env_sync.airflow.pause_store import remove_pause

    for name in _named(read_plan(environment), sync, pull_only):
        typer.echo(
            f"{environment} {name}: {'resumed' if remove_pause(environment, name) else 'was not paused'}"
        )


@app.command()
def pauses(environment: Annotated[str | None, typer.Argument(metavar="ENV")] = None) -> None:
    """List the pauses, with who, why and until when."""
    _use_airflow()
    from env_sync.airflow.pause_store import get_pause

    now = dt.datetime.now(dt.UTC)
    found = False
    for name in (environment,) if environment else chosen_environments():
        for sync in read_plan(name).names():
            record = get_pause(name, sync)
            if record is not None:
                found = True
                typer.echo(f"{name} {sync}: {record}{'' if record.active(now) else ' (over)'}")
    if not found:
        typer.echo("Nothing is paused.")


@app.command()
def status(
    environment: Annotated[str | None, typer.Argument(metavar="[ENV]")] = None,
    url: Annotated[str, typer.Option(envvar="ENV_SYNC_AIRFLOW_URL", help="Airflow's address.")] = "",
    user: Annotated[
        str, typer.Option(envvar="ENV_SYNC_AIRFLOW_USER", help="User name; prompts for the password.")
    ] = "",
) -> None:
    """Print the night of one environment, or of all, from the board's API. Exit 1 if any is CRITICAL.

    The login is ENV_SYNC_AIRFLOW_TOKEN, or ENV_SYNC_AIRFLOW_USER and ENV_SYNC_AIRFLOW_PASSWORD.
    """
    from env_sync.cli.board_client import PASSWORD, TOKEN, Login, read_environments
    from env_sync.cli.status_view import print_status
    from env_sync.core.secret import Secret
    from env_sync.domain.report import Result

    token, password = os.environ.get(TOKEN, ""), os.environ.get(PASSWORD, "")
    if user and not token and not password and sys.stdin.isatty():
        password = getpass.getpass(f"Password of {user} at {url}: ")
    login = Login(url=url, user=user, password=Secret(password), token=Secret(token))
    answers = read_environments(login, environment)
    console = Console()
    for answer in answers:
        print_status(console, answer)
    raise typer.Exit(1 if any(answer.result is Result.CRITICAL for answer in answers) else 0)


def main() -> None:
    """The command's entry: errors of ours are one line, not a traceback."""
    try:
        app()
    except EnvSyncError as problem:
        typer.echo(f"env-sync: {problem}", err=True)
        raise SystemExit(1) from None


def _use_airflow() -> None:
    """Let connections and variables come from Airflow's own database, as they do on its servers."""
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    logging.getLogger("airflow").setLevel(logging.WARNING)


def _session(plan: Plan, group: Group, request: Request) -> Session:
    """A session for a whole group in this process, which SIGINT and SIGTERM cancel."""
    from env_sync.airflow.connections import CONNECTIONS
    from env_sync.airflow.pause_store import get_pause
    from env_sync.cli.terminal import TerminalProgress
    from env_sync.core.cancellation import Cancellation
    from env_sync.engines.base.contract import Holder
    from env_sync.pipeline.session import COMMAND_LINE, open_session

    cancellation = Cancellation()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: cancellation.cancel())
    logging.basicConfig(level=logging.INFO, format="    %(message)s", stream=sys.stderr)
    return open_session(
        group=group,
        settings=plan.settings,
        request=request,
        holder=Holder(
            run=f"{COMMAND_LINE}/{socket.gethostname()}/{uuid.uuid4().hex[:8]}",
            group=group.id,
            attempt=uuid.uuid4().hex,
        ),
        connections=CONNECTIONS,
        pause=lambda: get_pause(plan.environment, group.sync.name),
        cancellation=cancellation,
        progress=TerminalProgress(Console(stderr=True)),
        log=logging.getLogger("env_sync"),
    )


def _run(session: Session) -> None:
    """Do the steps and print the report; exits with 1 if it is CRITICAL, else with 0."""
    from env_sync.domain.report import Result
    from env_sync.pipeline.run import run_group

    swept = _sweep(session)
    console = Console(stderr=True)
    steps = len(session.request.steps(session.group))
    counted = iter(range(1, steps + 1))
    report = run_group(
        session, lambda step: console.print(f"[{next(counted)}/{steps}] {step}", markup=False), swept
    )
    typer.echo(report.line())
    raise typer.Exit(1 if report.result is Result.CRITICAL else 0)


def _sweep(session: Session) -> Swept:
    """Remove from this machine what ended attempts left. A sweep that fails does not stop the run."""
    from env_sync.airflow.run_states import RunStates
    from env_sync.core.failure import described
    from env_sync.domain.leftovers import Swept
    from env_sync.pipeline.session import other_roots, work_root
    from env_sync.pipeline.sweep import sweep

    try:
        return sweep(
            [work_root(session.group.sync)],
            own=session.folder,
            airflow=RunStates(),
            log=session.log,
            now=dt.datetime.now(dt.UTC),
            others=other_roots([session.group.sync]),
        )
    except Exception as problem:  # noqa: BLE001 - the same
        session.log.warning(
            "Checking this machine for leftovers of ended attempts failed: %s", described(problem)
        )
        return Swept()


def _connect(plans: Sequence[Plan], only: Sequence[str]) -> int:
    """Try what the syncs of the plans need, print what was found, and give the number of problems."""
    _use_airflow()
    from env_sync.airflow.connections import CONNECTIONS
    from env_sync.cli.terminal import print_checked
    from env_sync.domain.finding import Level
    from env_sync.pipeline.preflight import preflight, real_access

    known = sorted({name for plan in plans for name in plan.names()})
    if unknown := [name for name in only if name not in known]:
        raise UnknownSync(
            f"{', '.join(plan.environment for plan in plans)} has no sync {', '.join(unknown)} that can run. "
            f"There are: {', '.join(known)}."
        )
    with Console(stderr=True).status("Checking servers, buckets and syncs"):
        checked = preflight(plans, real_access(CONNECTIONS), only=only, now=dt.datetime.now(dt.UTC))
    print_checked(Console(), checked)
    counts = {level: sum(one.count(level) for one in checked) for level in Level}
    typer.echo(
        f"\nServers, buckets and syncs checked: {len(checked)}; {plural(counts[Level.PROBLEM], 'problem')}, "
        f"{plural(counts[Level.NOTE], 'note')}. Nothing was written."
    )
    return counts[Level.PROBLEM]


def _group(plan: Plan, sync: str) -> Group:
    for group in plan.groups:
        if group.sync.name == sync:
            return group
    raise UnknownSync(
        f"{plan.environment} has no sync {sync!r} that can run. It has: {', '.join(plan.names())}."
    )


def _named(plan: Plan, name: str, pull_only: bool) -> list[str]:
    if not pull_only:
        return [_group(plan, name).sync.name]
    pulls = {
        group.sync.name
        for group in plan.groups
        if group.sync.action in (Action.PULL, Action.COPY) and name in (group.sync.database, group.sync.name)
    }
    if not pulls:
        raise UnknownSync(f"{plan.environment} has no pull of a database {name!r}.")
    return sorted(pulls)


def _end(text: str, now: dt.datetime) -> dt.datetime:
    if text[-1:] in ("d", "h", "m", "s"):
        try:
            return now + parse_duration(text)
        except (WrongValue, OverflowError) as problem:
            raise InvalidRequest(f"--until {text!r}: {problem}.") from None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(
            f"--until must be a moment such as 2026-12-01T09:00 (UTC) or 8h, not {text!r}."
        ) from None
    moment = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment
    if moment <= now:
        raise InvalidRequest(f"--until {text} is in the past.")
    return moment


def _say_what_would_be_done(session: Session) -> None:
    if session.group.sync.action is Action.BUCKET_SYNC:
        from env_sync.pipeline.bucket_sync import what_would_be_done

        typer.echo(f"{session.group.sync.environment} {session.group.id}: {what_would_be_done(session)}")
        typer.echo(f"  {badge_text(session.group.sync)}")
        return
    sync = session.sync
    typer.echo(
        f"{sync.environment} {sync.name}: would {sync.action} {sync.dbms} {sync.database} on {sync.server}"
    )
    if text := badge_text(sync):
        typer.echo(f"  {text}")
    if sync.is_cluster:
        _say_what_a_cluster_would_do(sync)
        return
    if sync.action is Action.PUSH:
        if (file := sync.pre_dump_transformation) and sync.pre_dump_in_place:
            typer.echo(f"  run {file} on live itself, which stays so; then")
        elif file:
            typer.echo(f"  copy it beside live, closed to others; run {file} on the copy, for the dump; then")
        typer.echo(f"  dump it and upload it to {sync.url}/{sync.path}/. Nothing was written.")
        return
    choice = session.store.choose(
        sync.url,
        sync.path,
        sync.database,
        timestamp=session.request.timestamp,
        min_size_ratio=sync.options.min_size_ratio,
    )
    for note in choice.notes:
        typer.echo(f"  note: {note}")
    typer.echo(f"  fetch {sync.url}/{choice.key} ({choice.size / 1e6:.1f} MB)")
    typer.echo(
        f"  restore it beside live, closed to others; sanitise: {sync.transformation or 'no transformation'}"
    )
    for one in sync.postprocess:
        typer.echo(f"  postprocess: {one}")
    kept = "kept as previous" if sync.options.keep_previous else "dropped"
    typer.echo(f"  swap it with live; what live is now is {kept}. Nothing was written.")


def _say_what_a_cluster_would_do(sync: Sync) -> None:
    left = f", without {', '.join(sync.excluded_indices)}" if sync.excluded_indices else ""
    about = f"{', '.join(sync.indices)}{left}"
    if sync.action is Action.PUSH:
        typer.echo(f"  take a snapshot of {about} in the repository {sync.url}. Nothing was written.")
        return
    source = f"the cluster {sync.source_hostname}" if sync.source_hostname else "the newest snapshot"
    typer.echo(
        f"  bring {about} from {source} (repository {sync.url}) into hidden indices beside live; sanitise: "
        f"{sync.transformation or 'no transformation'}"
    )
    kept = "kept as previous" if sync.options.keep_previous else "removed"
    typer.echo(f"  move the aliases; what live is now is {kept}. Nothing was written.")
