"""A stage: two environments with one database each, a bucket, and syncs that run as they do at night."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field, frozen

from env_sync.airflow.connections import CONNECTIONS
from env_sync.core import errors
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import Cancelled, EnvSyncError
from env_sync.core.failure import described
from env_sync.core.progress import Progress
from env_sync.core.serialization import to_plain
from env_sync.domain.pause import Pause
from env_sync.domain.report import Outcome, Report, Result, make_report
from env_sync.engines.base.contract import Holder
from env_sync.pipeline import polling
from env_sync.pipeline.clean_up import finish
from env_sync.pipeline.session import WORK_FOLDER, Session, open_session
from env_sync.pipeline.steps import do_here, step_of
from env_sync.planning.installation import HIERADATA, TRANSFORMATIONS, read_plan
from env_sync.planning.plan import Plan
from env_sync.planning.request import Request
from env_sync.store.dump_keys import timestamp_text
from sandbox.faulty_proxy import Fault, FaultyProxy
from sandbox.process import wait_for
from sandbox.s3 import S3Server
from tests.integration.conformance.dumps import BucketDumps, Dumps
from tests.integration.conformance.subject import PRIVATE, SOURCE, TARGET, Reading, Subject
from tests.sweep import sample

FORK = multiprocessing.get_context("fork")
BUCKET = "govuk-{}-database-backups"
PUSH, PULL = "push", "pull"
OLD, NEW = "old", "new"
OLD_ROWS, NEW_ROWS = 20, 100
UNDISTURBED: dict[tuple[str | None, ...], Sequence[bool]] = {}
"""What `Stage.undisturbed` saw, by all that this depends on."""
TRIES = 5
"""How often a task is tried where what goes wrong may pass."""
LOOK_AGAIN = 0.05
"""Seconds after which a step that waits for its cluster looks again."""


@frozen
class Instant:
    """A moment within a step at which something can happen to it."""

    number: int
    what: str
    text: str = ""
    """Of a statement: what is about to be sent; of a line of the log: the line."""


class Instants:
    """Counts the moments of a step: each statement, each line of the log, each move of the progress.

    `at` is told each of them, and may kill the process or cancel the step.
    """

    def __init__(self, at: Callable[[Instant], None]) -> None:
        self._at = at
        self._lock = threading.Lock()
        self.seen: list[Instant] = []

    def happens(self, what: str, text: str = "") -> None:
        with self._lock:
            instant = Instant(len(self.seen), what, text)
            self.seen.append(instant)
        self._at(instant)

    # As a progress

    def start(self, what: str, total: int | None, unit: str) -> None:
        self.happens(f"start {what}")

    def advance(self, done: int) -> None:
        self.happens("advance")

    def finish(self) -> None:
        self.happens("finish")


class _Watch(logging.Handler):
    def __init__(self, instants: Instants) -> None:
        super().__init__(logging.DEBUG)
        self._instants = instants

    def emit(self, record: logging.LogRecord) -> None:
        self._instants.happens("log", record.getMessage())


@define
class Attempt:
    """One attempt at one group, step by step, as Airflow's tasks do it: each step in a process of its own."""

    stage: Stage
    session: Session
    """For the steps that run in this process, unwatched."""
    states: dict[str, str | None] = field(factory=dict)
    results: dict[str, Any] = field(factory=dict)
    errors: dict[str, str] = field(factory=dict)
    began: dt.datetime = field(factory=lambda: dt.datetime.now(dt.UTC))

    def steps(self) -> list[str]:
        return [step for step in self.session.group.steps if step != "report"]

    def run(self, step: str) -> bool:
        """Do a step in this process; whether it succeeded."""
        try:
            self.results[step] = do_here(step_of(self.session.sync, step), self.session, self.results)
        except Exception as problem:  # noqa: BLE001 - told as a task's state and error are
            cancelled = self.session.cancellation.cancelled and not isinstance(problem, Cancelled)
            self.states[step] = "failed"
            self.errors[step] = described(Cancelled() if cancelled else problem)
            return False
        self.states[step] = "success"
        self.errors.pop(step, None)
        return True

    def run_until(self, step: str) -> None:
        """Do every step before this one."""
        for each in self.steps():
            if each == step:
                return
            assert self.run(each), self.errors

    def run_rest(self, step: str) -> bool:
        """Do this step and those after it, until one fails; whether all succeeded."""
        steps = self.steps()
        return all(self.run(each) for each in steps[steps.index(step) :])

    def run_as_tasks(self) -> bool:
        """Do all steps as Airflow does, again where what went wrong may pass; whether all succeeded.

        Each try is in a process of its own.
        """
        for step in self.steps():
            for _ in range(TRIES):
                self.in_child(step)
                if self.states[step] == "success":
                    self.errors.pop(step, None)
                    break
                kind = getattr(errors, self.errors[step].partition(":")[0], EnvSyncError)
                if not kind.passing:
                    return False
            else:
                return False
        return True

    def do_watched(self, step: str, at: Callable[[Instant], None]) -> list[Instant]:
        """Do a step in this process and tell its moments; `at` is told each as it comes."""
        instants = Instants(at)
        with self._watched(instants) as watched:
            watched.run(step)
        return instants.seen

    def cancel_at(self, step: str, number: int) -> None:
        """Do a step in this process and cancel it at a moment, if it comes to that."""

        def at(instant: Instant) -> None:
            if instant.number == number:
                self.session.cancellation.cancel()

        self.do_watched(step, at)
        self.session.cancellation.reset()

    def kill_at(self, step: str, number: int) -> bool:
        """Do a step in a process of its own that is killed at a moment; whether it was."""

        def at(instant: Instant) -> None:
            if instant.number == number:
                os.kill(os.getpid(), signal.SIGKILL)

        return self.in_child(step, at) == -signal.SIGKILL

    def in_child(self, step: str, at: Callable[[Instant], None] = lambda _: None) -> int:
        """Do a step in a process of its own; its exit code. What it found is taken over."""
        child, results = self.start_child(step, at)
        if results.poll(None) and (left := _received(results)) is not None:
            self.results[step], error = left
            self.states[step] = "failed" if error else "success"
            self.errors |= {step: error} if error else {}
        else:
            self.states[step] = "failed"
        child.join()
        code: int = child.exitcode
        return code

    def start_child(self, step: str, at: Callable[[Instant], None] = lambda _: None) -> Any:
        """Start a step in a process of its own; gives the process, and the pipe that tells how it ended."""
        here, there = FORK.Pipe(duplex=False)

        def work() -> None:
            here.close()
            with self._watched(Instants(at)) as watched:
                watched.run(step)
            there.send((watched.results.get(step), watched.errors.get(step)))
            os._exit(0)

        child = FORK.Process(target=work)
        child.start()
        there.close()
        return child, here

    def mark(self, step: str) -> None:
        """Mark a step as successful by hand."""
        self.states[step] = "success"

    def end(self) -> Report:
        """The report, as the last task of the group makes it."""
        finished = finish(self.session)
        sync = self.session.sync
        report = make_report(
            environment=sync.environment,
            sync=sync.name,
            group=self.session.group.id,
            run=self.session.holder.run,
            action=sync.action,
            database=sync.database,
            max_dump_age=sync.options.max_dump_age,
            outcome=Outcome(
                states={step: self.states.get(step) for step in self.steps()},
                results={
                    step: to_plain(result) for step, result in self.results.items() if result is not None
                },
                errors=self.errors,
                skip=None,
                started=self.began,
                promoted=finished.promoted,
                notes=finished.notes,
                failures=finished.failures,
            ),
            now=dt.datetime.now(dt.UTC),
        )
        self.stage.reports.append(report)
        return report

    @contextlib.contextmanager
    def _watched(self, instants: Instants) -> Iterator[Attempt]:
        """This attempt, its moments counted; states, results and errors are the same."""
        watch = _Watch(instants)
        logger = logging.getLogger("env_sync")
        stop = self.stage.subject.watch_statements(lambda text: instants.happens("statement", text))
        logger.addHandler(watch)
        try:
            yield evolve(self, session=_reopened(self.session, instants))
        finally:
            logger.removeHandler(watch)
            stop()


def _reopened(session: Session, progress: Progress) -> Session:
    """The same session, its connections looked up anew."""
    return open_session(
        group=session.group,
        settings=session.settings,
        request=session.request,
        holder=session.holder,
        connections=CONNECTIONS,
        pause=session.pause,
        cancellation=session.cancellation,
        progress=progress,
        log=session.log,
    )


def _received(pipe: Any) -> tuple[Any, str | None] | None:
    try:
        received: tuple[Any, str | None] = pipe.recv()
    except EOFError:
        return None
    return received


@define
class Stage:
    """Two environments, and what is seen of them."""

    subject: Subject
    s3: S3Server
    database: str
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    log: Path
    options: dict[str, object] = field(factory=dict)
    """Options of the pull, as in hieradata."""
    push_options: dict[str, object] = field(factory=dict)
    """The same of the push."""
    pre_dump: str | None = None
    """The text of the transformation that the push runs before it dumps; None for none."""
    transformation: str | None = None
    """The text of its transformation; None for the subject's own, "" for none."""
    reports: list[Report] = field(factory=list)
    scenario: str = ""
    """The name of the scenario, by which its moments are drawn."""
    is_settled: bool = False
    """Whether all was looked at after the last attempt, and found in order."""
    _plans: dict[str, Plan] = field(factory=dict)
    """The plan of each environment, as configured last."""

    # Making

    def set_up(self) -> None:
        """Write the configuration, and let Airflow's connections be found."""
        self.work_folder.mkdir()
        for name, value in {
            HIERADATA: self.folder / "hieradata",
            TRANSFORMATIONS: self.folder / "transformations",
            WORK_FOLDER: self.work_folder,
        }.items():
            self.monkeypatch.setenv(name, str(value))
        # A step that waits for its cluster looks again soon.
        for each in ("FIRST", "LONGEST"):
            self.monkeypatch.setattr(polling, each, LOOK_AGAIN)
        for environment in (SOURCE, TARGET):
            self.connect(environment, self.subject.connection(environment))
            self.connect_store(environment, self.s3.endpoint)
            self.s3.create_buckets([BUCKET.format(environment)])
        self.configure()

    def fill(self) -> None:
        """New, raw data above, and old, sanitised data below."""
        self.subject.fill(SOURCE, self.database, NEW, NEW_ROWS, private=True)
        self.subject.fill(TARGET, self.database, OLD, OLD_ROWS, private=False)

    def fill_target_anew(self) -> None:
        """Old, sanitised data below, and nothing else."""
        self.subject.drop(TARGET, self.database)
        self.subject.fill(TARGET, self.database, OLD, OLD_ROWS, private=False)

    def bring_target_back(self) -> None:
        """The same, where something else is there."""
        if self.subject.copies(TARGET, self.database) != {"live"} or self.read() != OLD_LIVE:
            self.fill_target_anew()

    def connect(self, environment: str, connection: Mapping[str, object]) -> None:
        """Let this be Airflow's connection for the database server of an environment."""
        extra = connection["extra"]
        assert isinstance(extra, dict)
        said = json.dumps({**connection, "extra": {"environment": environment, **extra}})
        self.monkeypatch.setenv(f"AIRFLOW_CONN_ENV_SYNC_{environment.upper()}_CONFORMANCE_DB", said)
        if environment == SOURCE:
            # As whoever copies from it straight reaches it.
            self.monkeypatch.setenv(f"AIRFLOW_CONN_ENV_SYNC_{TARGET.upper()}_CONFORMANCE_ABOVE", said)

    def connect_store(self, environment: str, endpoint: str) -> None:
        """Let this be Airflow's connection for the buckets of an environment."""
        connection = self.s3.airflow_connection(environment=environment)
        extra = connection["extra"]
        assert isinstance(extra, dict)
        said = {**connection, "extra": {**extra, "endpoint_url": endpoint}}
        self.monkeypatch.setenv(f"AIRFLOW_CONN_ENV_SYNC_{environment.upper()}_S3", json.dumps(said))

    @contextlib.contextmanager
    def spoiled_store(
        self, environment: str, choose: Callable[[int], Fault], *, timeout: int = 20
    ) -> Iterator[FaultyProxy]:
        """Have an environment reach what holds the dumps through a proxy that spoils connections.

        `timeout` is how many seconds a server that holds them itself has for an answer.
        """
        if self.subject.has_store:
            with FaultyProxy(self.s3.port, choose) as proxy:
                self.connect_store(environment, proxy.endpoint)
                yield proxy
            self.connect_store(environment, self.s3.endpoint)
            return
        right = self.subject.connection(environment)
        with FaultyProxy(int(str(right["port"])), choose) as proxy:
            extra = right["extra"]
            assert isinstance(extra, dict)
            self.connect(environment, {**right, "port": proxy.port, "extra": {**extra, "timeout": timeout}})
            yield proxy
        self.connect(environment, right)

    def configure(self) -> None:
        """Write hieradata and the transformation as they are now, and make a place for the dumps."""
        self._plans.clear()
        self.dumps.set_up()
        hieradata, transformations = self.folder / "hieradata", self.folder / "transformations"
        for folder in (hieradata, transformations):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        text = self.subject.transformation() if self.transformation is None else self.transformation
        common = {
            "ensure": "present",
            "dbms": self.subject.dbms,
            "database": self.database,
            "database_hostname": "conformance-db",
            "minute": "0",
            **self.dumps.fields,
        }
        push = {
            **common,
            "action": "push",
            "hour": "1",
            **self.subject.push_options,
            **self.push_options,
        }
        # A job is a connection: two suffice to have several.
        quick = {"promote_wait": "20s", "jobs": 2}
        pull = {
            **common,
            "action": "pull",
            "hour": "2",
            **quick,
            **self.subject.pull_options,
            **self.options,
        }
        if text:
            (transformations / "sanitise.sql").write_text(text)
            pull["transformation_sql_filename"] = "sanitise.sql"
        if self.pre_dump is not None:
            (transformations / "before.sql").write_text(self.pre_dump)
            push["pre_dump_transformation_sql_filename"] = "before.sql"
        # JSON is YAML.
        for environment, name, entry in ((SOURCE, PUSH, push), (TARGET, PULL, pull)):
            content = json.dumps({"govuk_env_sync::tasks": {name: entry}})
            (hieradata / f"{environment}.yaml").write_text(content)

    @property
    def path(self) -> str:
        """Where in the bucket the dumps of this stage lie."""
        return f"conformance/{self.database}"

    @property
    def dumps(self) -> Dumps:
        """The dumps of this stage."""
        in_bucket = BucketDumps(self.s3, BUCKET.format(SOURCE), self.path, self.database)
        return self.subject.dumps(self.database) or in_bucket

    @property
    def work_folder(self) -> Path:
        return self.folder / "work"

    # Running

    def attempt(
        self,
        name: str,
        *,
        run: str = "",
        timestamp: str | None = None,
        pause: Callable[[], Pause | None] = lambda: None,
        **options: Any,
    ) -> Attempt:
        """A new attempt at a sync, `push` in the source or `pull` into the target, with other options."""
        self.is_settled = False
        environment = SOURCE if name == PUSH else TARGET
        if environment not in self._plans:
            self._plans[environment] = read_plan(environment)
        plan = self._plans[environment]
        assert not plan.problems, plan.as_text()
        [group] = plan.groups
        group = evolve(group, sync=evolve(group.sync, options=evolve(group.sync.options, **options)))
        session = open_session(
            group=group,
            settings=plan.settings,
            request=Request(nightly=False, only=(name,), timestamp=timestamp),
            holder=Holder(
                run=run or f"env_sync_{environment}/{uuid.uuid4().hex[:8]}",
                group=group.id,
                attempt=uuid.uuid4().hex,
            ),
            connections=CONNECTIONS,
            pause=pause,
            cancellation=Cancellation(),
            progress=Instants(lambda _: None),
            log=logging.getLogger("env_sync.conformance"),
        )
        return Attempt(self, session)

    def again(self, attempt: Attempt) -> Attempt:
        """The same attempt with the connections as they are now."""
        return evolve(attempt, session=_reopened(attempt.session, attempt.session.progress))

    def moments(self, name: str, step: str, at_most: int) -> list[int]:
        """The numbers of some of a step's moments, other ones for each scenario: see `sweep.sample`."""
        return sample(self.scenario, range(len(self.undisturbed(name, step))), at_most)

    def undisturbed(self, name: str, step: str) -> Sequence[bool]:
        """Whether live is open at each moment of a step that nothing happens to.

        Looked at once for all scenarios; an engine that does not close it is not asked.
        """
        told = (self.subject.name, name, step, repr(self.options), repr(self.push_options))
        # Where there is a previous, promote has to make room for the next.
        copies = repr(sorted(self.subject.copies(TARGET, self.database)))
        key = (*told, self.pre_dump, self.transformation, copies)
        if key not in UNDISTURBED:
            UNDISTURBED[key] = self._watch_undisturbed(name, step)
        return UNDISTURBED[key]

    def _watch_undisturbed(self, name: str, step: str) -> Sequence[bool]:
        found: list[bool] = []

        def at(_: Instant) -> None:
            found.append(not self.subject.closes_live or self.subject.is_open(TARGET, self.database))

        attempt = self.attempt(name)
        attempt.run_until(step)
        attempt.do_watched(step, at)
        assert attempt.states[step] == "success", attempt.errors
        attempt.end()
        return found

    def do(self, name: str, **wanted: Any) -> Report:
        """A whole sync; its report."""
        attempt = self.attempt(name, **wanted)
        attempt.run_rest("start_gate")
        return attempt.end()

    def push(self, **wanted: Any) -> Report:
        """A whole push that succeeds."""
        report = self.do(PUSH, **wanted)
        assert report.result is not Result.CRITICAL, report.line()
        return report

    def pull(self, **wanted: Any) -> Report:
        """A whole pull that succeeds."""
        report = self.do(PULL, **wanted)
        assert report.result is not Result.CRITICAL, report.line()
        return report

    # Objects

    def keys(self) -> list[str]:
        """The keys of the dumps of this stage, in the order of their times."""
        return self.dumps.keys()

    def content(self, key: str) -> bytes:
        """A dump, as bytes that `put_dump` takes."""
        return self.dumps.content(key)

    def timestamps(self) -> list[str]:
        """The timestamps of the dumps, the oldest first."""
        return [timestamp_text(self.dumps.timestamp(key)) for key in self.keys()]

    def push_in_another_second(self) -> None:
        """A push whose dump has a key of its own."""
        before = self.keys()
        self.wait_for_another_second()
        self.push()
        assert len(self.keys()) == len(before) + 1

    def wait_for_another_second(self) -> None:
        """Wait until a dump has another key than those that are there: keys tell seconds."""
        newest = self.dumps.timestamp(self.keys()[-1])
        while dt.datetime.now(dt.UTC).replace(microsecond=0) <= newest:
            time.sleep(0.05)

    def empty_bucket(self) -> None:
        """Remove the dumps of this stage, with their manifests and pointers."""
        self.dumps.empty()

    def put_dump(self, content: bytes) -> str:
        """Have this dump there and no other, with neither manifest nor pointer."""
        return self.dumps.put(content)

    # Looking

    def read(self) -> Reading:
        return self.subject.read(TARGET, self.database)

    def settled(self, *expected: Reading) -> Reading | None:
        """Check that whatever happened is over, and left what it should; gives what live holds.

        Live is whole, one of `expected`, and open; nothing is left running, lying about, or held; no personal
        value and no secret was told to anybody. Without `expected` there must be no live.
        """
        subject, database = self.subject, self.database
        copies = subject.copies(TARGET, database)
        assert {"incoming", "replaced"}.isdisjoint(copies)
        assert "outgoing" not in subject.copies(SOURCE, database)
        found = None
        if expected:
            assert subject.is_open(TARGET, database)
            found = self.read()
            assert found in expected
        else:
            assert copies == set()
        # A server takes a moment to see that a client is gone, and a guard to end its program.
        wait_for(lambda: not self.sessions(), "the sessions of all steps to end", every=0.02)
        wait_for(lambda: not self.programs(), "the programs of all steps to end", every=0.02)
        assert files_in(self.work_folder) == []
        self.lease_is_free()
        self.nothing_was_told()
        self.is_settled = True
        return found

    def sessions(self) -> list[str]:
        """What the sync's role is doing in both environments, as the servers see it."""
        return [
            each
            for environment in (SOURCE, TARGET)
            for each in self.subject.sessions(environment, self.database)
        ]

    def programs(self) -> list[str]:
        """The command lines of the guards that a step left behind, also one in a process that was killed."""
        found = []
        for pid in pids():
            with contextlib.suppress(OSError):
                command = (
                    Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                if GUARD in command and any(each in command for each in (self.database, str(self.folder))):
                    found.append(command)
        return found

    def lease_is_free(self) -> None:
        """Whoever comes next can start at once."""
        for name in (PUSH, PULL):
            engine = self.attempt(name).session.engine
            engine.take_lease(at_most=99)
            engine.release_lease()

    def nothing_was_told(self) -> None:
        """No personal value and no password is in a log, a report or an error."""
        told = self.log.read_text() + "".join(report.line() for report in self.reports)
        assert PRIVATE not in told
        for environment in (SOURCE, TARGET):
            password = str(self.subject.connection(environment)["password"])
            assert password not in told
        assert self.s3.root.secret_key not in told


GUARD = "env_sync/guard.py"
"""The script that guards a program of a step, as its command line names it."""

OLD_LIVE = Reading(OLD, OLD_ROWS, 0)
NEW_LIVE = Reading(NEW, NEW_ROWS, 0)


def parent_of(pid: int) -> int:
    """The pid of the parent of a living process; 0 where it is gone, or ended and not yet waited for."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return 0
    return 0 if state == "Z" else int(parent)


def pids() -> set[int]:
    """The pids of all processes of this machine."""
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]
