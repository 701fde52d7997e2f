"""The scenarios of which recordings are made, and what each does."""

from __future__ import annotations

import contextlib
import datetime as dt
import inspect
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import evolve, frozen

from env_sync.core.errors import EnvSyncError
from env_sync.domain.pause import Pause
from env_sync.engines.registry import DESCRIPTORS
from env_sync.planning.request import Request
from tests.integration.conformance.recorder import Recorder
from tests.integration.conformance.stage import OLD, PULL, PUSH, Attempt, Instant, Stage
from tests.integration.conformance.subject import SOURCE, TARGET, Subject


@frozen
class Engine:
    """An engine of which recordings are made: their folder, and which scenarios, as a pattern of names."""

    folder: str
    dbms: str
    scenarios: str = ""


ENGINES: Mapping[str, Engine] = {
    "PostgreSQL 18": Engine("postgresql", "postgresql"),
    "MariaDB": Engine("mariadb", "mysql"),
    "MongoDB": Engine("mongodb", "mongo"),
    # The code is MongoDB's; these differ by what the server lacks.
    "DocumentDB": Engine(
        "documentdb", "documentdb", "(pull|push|promote|promote_first|promote_killed.*last_rename.*)$"
    ),
    "Elasticsearch 7.17": Engine("elasticsearch", "elasticsearch"),
    # The same but for the pull.
    "Elasticsearch 7.17 (copy)": Engine("elasticsearch_copy", "elasticsearch", "pull$"),
    "Files": Engine("files", "files"),
}
"""By the name of the subject."""
NOT_RECORDED = {
    "MySQL": "the recordings of MySQL are made on MariaDB: other servers, other statements",
}
ROWS = 3
RECORDED = "conf_recorded"
"""The name of the database of all recordings."""


@frozen
class Moment:
    """Where a promotion is killed: right before the first statement that looks like this."""

    name: str
    statement: str


MOMENTS: Mapping[str, tuple[Moment, ...]] = {
    "postgresql": (
        Moment("while_live_is_closed", r"^SELECT pid FROM pg_catalog.pg_stat_activity"),
        Moment("within_the_swap", r'__incoming" RENAME TO'),
        Moment("after_the_swap", r"FROM pg_catalog.pg_locks"),
    ),
    "mysql": (
        Moment("before_the_swap", r"^RENAME TABLE"),
        Moment("after_the_swap", r"^SET SESSION lock_wait_timeout = 60"),
        Moment("before_the_journal_ends", r"^DELETE FROM journal"),
    ),
    "mongo": (
        Moment("before_the_first_rename", r"^renameCollection"),
        Moment("before_the_last_rename", r"^renameCollection .*people"),
        Moment("before_the_journal_ends", r"^delete env_sync\.promotions"),
    ),
    "elasticsearch": (
        Moment("before_the_swap", r"^POST /_aliases"),
        Moment("after_the_swap", r"^PUT .*/live-"),
        Moment("before_the_record_goes", r"^DELETE .*/incoming-"),
    ),
    "files": (
        Moment("before_the_swap", r"^renameat2 .* 2$"),
        Moment("after_the_swap", r"^renameat2 .*/previous 1$"),
    ),
}
MOMENTS = {**MOMENTS, "documentdb": MOMENTS["mongo"]}
UNDO_MOMENTS: Mapping[str, Moment] = {
    "postgresql": Moment("", r'__previous" RENAME TO'),
    "mysql": Moment("", r"^SET SESSION lock_wait_timeout = 60"),
    "files": Moment("", r"^renameat2 "),
}
"""The same for an undo."""


Work = Callable[["Scene"], None]


@frozen
class Scenario:
    """What is done, and what a recording of it is about."""

    title: str
    work: Work
    needs: str = ""
    """The capability without which it cannot be."""
    live: bool = True
    """Whether there is a live in the beginning."""


@frozen
class Scene:
    """A stage with old data below, new data above and one dump of it; and what is recorded there."""

    stage: Stage
    recorder: Recorder

    @property
    def subject(self) -> Subject:
        return self.stage.subject

    # Without being recorded

    def begin(self, scenario: Scenario) -> None:
        """The databases as the scenario finds them, whatever was done there before."""
        self.subject.drop(TARGET, RECORDED)
        if scenario.live:
            self.subject.fill(TARGET, RECORDED, OLD, ROWS, private=False)

    def forget(self) -> None:
        """Let nobody hold a lease. What the first lease on a server makes is there."""
        for name, environment in ((PUSH, SOURCE), (PULL, TARGET)):
            self.subject.forget_leases(environment)
            engine = self.attempt(name).session.engine
            engine.take_lease(at_most=99)
            engine.release_lease()

    def attempt(self, name: str, run: str = "one", **options: Any) -> Attempt:
        """A new attempt of a run that always has the same name. One job: what runs at once has no order."""
        environment = SOURCE if name == PUSH else TARGET
        return self.stage.attempt(name, run=f"env_sync_{environment}/{run}", **{"jobs": 1, **options})

    def undo(self, run: str = "undo") -> Attempt:
        """A new attempt to make previous live again."""
        attempt = self.attempt(PULL, run)
        request = Request(nightly=False, restore_previous=RECORDED, ignore_pauses=True)
        return evolve(attempt, session=evolve(attempt.session, request=request))

    def until(self, name: str, step: str, **options: Any) -> Attempt:
        """An attempt that is done up to a step."""
        attempt = self.attempt(name, **options)
        attempt.run_until(step)
        return attempt

    def pulled(self, run: str = "before") -> None:
        """A whole pull, after which there is a previous."""
        self.stage.pull(run=f"env_sync_{TARGET}/{run}", jobs=1)

    @contextlib.contextmanager
    def pulling(self, transformation: str) -> Iterator[None]:
        """For the length of the block the pull has another transformation."""
        self.stage.transformation = transformation
        self.stage.configure()
        try:
            yield
        finally:
            self.stage.transformation = None
            self.stage.configure()

    @contextlib.contextmanager
    def pushing(self, transformation: str | None = None) -> Iterator[None]:
        """For the length of the block the push has a transformation, and its dumps go where no pull looks.

        Where there is no bucket, a pull gets the same from them.
        """
        elsewhere: dict[str, object] = {"path": "pushed"} if self.subject.has_store else {}
        self.stage.pre_dump, self.stage.push_options = transformation, elsewhere
        self.stage.configure()
        if not self.subject.has_store:
            self.stage.wait_for_another_second()
        try:
            yield
        finally:
            self.stage.pre_dump, self.stage.push_options = None, {}
            self.stage.configure()

    # Recorded

    def do(self, title: str, work: Callable[[], object], environment: str = TARGET) -> None:
        """Record one call, and what Env Sync refused it for, if it did."""
        with self.recorder.section(title, environment):
            try:
                work()
                outcome = "done"
            except EnvSyncError as problem:
                outcome = type(problem).__name__
        self.recorder.note(outcome)

    def take(self, attempt: Attempt, title: str, *, at_most: int = 99) -> None:
        self.do(title, lambda: attempt.session.engine.take_lease(at_most=at_most))

    def release(self, attempt: Attempt, title: str) -> None:
        self.do(title, attempt.session.engine.release_lease)

    def work(self, attempt: Attempt, title: str, inside: Callable[[], object] = lambda: None) -> None:
        def at_work() -> None:
            with attempt.session.engine.at_work():
                inside()

        self.do(title, at_work)

    def step(self, attempt: Attempt, step: str, title: str = "") -> None:
        with self.recorder.section(title or step, attempt.session.sync.environment):
            succeeded = attempt.run(step)
        self.recorder.note("done" if succeeded else attempt.errors[step].partition(":")[0])

    def steps(self, attempt: Attempt) -> None:
        """All steps until one fails, and the report."""
        for step in attempt.steps():
            self.step(attempt, step)
            if step in attempt.errors:
                break
        self.report(attempt)

    def report(self, attempt: Attempt) -> None:
        with self.recorder.section("report", attempt.session.sync.environment):
            report = attempt.end()
        self.recorder.note(str(report.result))

    def kill(self, attempt: Attempt, step: str, moment: Moment) -> None:
        def at(instant: Instant) -> None:
            if instant.what == "statement" and re.search(moment.statement, instant.text):
                os.kill(os.getpid(), signal.SIGKILL)

        with self.recorder.section(f"{step}, which is killed", attempt.session.sync.environment):
            ended = attempt.in_child(step, at)
        assert ended == -signal.SIGKILL, f"no statement looks like {moment.statement}: {attempt.errors}"
        self.recorder.note("killed")


# Scenarios: the docstring of each heads its recording

SCENARIOS: dict[str, Scenario] = {}


def scenario(needs: str = "", *, live: bool = True) -> Callable[[Work], Work]:
    """Adds a scenario; see there."""

    def add(work: Work) -> Work:
        SCENARIOS[work.__name__] = Scenario(inspect.getdoc(work) or "", work, needs, live)
        return work

    return add


@scenario(live=False)
def lease_first(scene: Scene) -> None:
    """The first lease on a server, where nothing of Env Sync is yet."""
    scene.subject.forget_leases(TARGET)
    one = scene.attempt(PULL)
    scene.take(one, "take")
    scene.release(one, "release")


@scenario(live=False)
def lease(scene: Scene) -> None:
    """A lease that is taken, taken again by its holder, worked with, and given back, twice."""
    one = scene.attempt(PULL)
    scene.take(one, "take")
    scene.take(one, "take once more")
    scene.work(one, "a step")
    scene.release(one, "release")
    scene.release(one, "release once more")


@scenario(live=False)
def lease_refused(scene: Scene) -> None:
    """Somebody else has the lease; then the server has as many as it may have."""
    one, other = scene.attempt(PULL, "one"), scene.attempt(PULL, "other")
    one.session.engine.take_lease(at_most=99)
    scene.take(other, "take by another run")
    scene.work(other, "a step of another run")
    scene.release(other, "release by another run")
    with one.session.engine.at_work():
        scene.take(other, "take by another run while a step is at work")
    one.session.engine.release_lease()
    scene.take(other, "take where no more may be held", at_most=0)


@scenario(live=False)
def lease_lapsed(scene: Scene) -> None:
    """A lease that lapsed is taken over by another run, and missed by who had it."""
    one = scene.attempt(PULL, "one", lease_lifetime=dt.timedelta())
    one.session.engine.take_lease(at_most=99)
    other = scene.attempt(PULL, "other")
    scene.take(other, "take by another run")
    scene.work(one, "a step of who had it")
    scene.report(one)
    scene.report(other)


@scenario(live=False)
def lease_newer_attempt(scene: Scene) -> None:
    """A newer attempt of the same run and group takes the lease, and the earlier one is out."""
    scene.attempt(PULL).session.engine.take_lease(at_most=99)
    earlier, newer = scene.attempt(PULL), scene.attempt(PULL)
    earlier.session.engine.take_lease(at_most=99)
    scene.take(newer, "take by a newer attempt")
    scene.work(earlier, "a step of the earlier one")
    scene.work(newer, "a step of the newer one")
    scene.release(newer, "release")


@scenario(live=False)
def lease_renewed(scene: Scene) -> None:
    """A lease that is renewed while a step is at work."""
    one = scene.attempt(PULL, lease_lifetime=dt.timedelta(seconds=2))
    one.session.engine.take_lease(at_most=99)
    scene.recorder.renewals = True
    scene.work(one, "a step that takes its time", scene.recorder.wait_for_renewal)
    scene.release(one, "release")


@scenario()
def clean_up_nothing(scene: Scene) -> None:
    """A group that did nothing but take the lease."""
    attempt = scene.attempt(PULL)
    scene.step(attempt, "start_gate")
    scene.report(attempt)


@scenario()
def clean_up_incoming(scene: Scene) -> None:
    """A group that ended with a raw incoming."""
    scene.report(scene.until(PULL, "sanitise"))


@scenario()
def clean_up_incoming_of_another(scene: Scene) -> None:
    """Incoming is of another run, which gave its lease back."""
    other = scene.until(PULL, "sanitise", run="other")
    other.session.engine.release_lease()
    one = scene.attempt(PULL)
    one.session.engine.take_lease(at_most=99)
    scene.report(one)


@scenario(needs="pre_dump_transformation")
def clean_up_outgoing(scene: Scene) -> None:
    """A push that was killed while it transformed its copy of live."""
    with scene.pushing(scene.subject.transformation()):
        attempt = scene.until(PUSH, "dump")
        scene.kill(attempt, "dump", Moment("", r"^(send_query: DO \$\$|CREATE PROCEDURE sanitise_all)"))
        scene.report(attempt)


@scenario()
def pull(scene: Scene) -> None:
    """A whole pull."""
    scene.steps(scene.attempt(PULL))


@scenario(needs="transformation")
def pull_with_a_failing_transformation(scene: Scene) -> None:
    """A pull whose transformation fails."""
    bad = scene.subject.bad_transformations()["middle"]
    with scene.pulling(bad.text):
        scene.steps(scene.attempt(PULL))


@scenario(live=False)
def promote_first(scene: Scene) -> None:
    """A pull where there is no live yet, from promote."""
    attempt = scene.until(PULL, "promote")
    scene.step(attempt, "promote")
    scene.report(attempt)


@scenario()
def promote(scene: Scene) -> None:
    """A pull where there is a previous already, from promote."""
    scene.pulled()
    attempt = scene.until(PULL, "promote")
    scene.step(attempt, "promote")
    scene.step(attempt, "promote", "promote once more")
    scene.report(attempt)


@scenario(needs="previous")
def promote_without_previous(scene: Scene) -> None:
    """The same where none is to be kept."""
    scene.pulled()
    attempt = scene.until(PULL, "promote", keep_previous=False)
    scene.step(attempt, "promote")
    scene.report(attempt)


@scenario()
def promote_without_proof(scene: Scene) -> None:
    """A pull whose sanitise was marked as successful by hand, from promote."""
    attempt = scene.until(PULL, "sanitise")
    attempt.mark("sanitise")
    scene.step(attempt, "promote")
    scene.report(attempt)


@scenario()
def promote_paused(scene: Scene) -> None:
    """A pull that was paused before its promote."""
    pause = Pause(by="somebody", why="a test")
    attempt = scene.until(PULL, "promote", pause=lambda: pause)
    scene.step(attempt, "promote")
    scene.report(attempt)


@scenario(needs="previous")
def undo(scene: Scene) -> None:
    """Previous is made live again, and the same run does it once more, which changes nothing."""
    scene.pulled()
    attempt = scene.undo()
    for step in ("start_gate", "promote"):
        scene.step(attempt, step)
    scene.step(attempt, "promote", "promote once more")
    scene.report(attempt)


@scenario(needs="previous")
def undo_without_previous(scene: Scene) -> None:
    """There is nothing to make live again."""
    attempt = scene.undo()
    for step in ("start_gate", "promote"):
        scene.step(attempt, step)
    scene.report(attempt)


@scenario(needs="previous")
def undo_killed(scene: Scene) -> None:
    """An undo that is killed within its swap, and run again."""
    scene.pulled()
    attempt = scene.undo()
    assert attempt.run("start_gate")
    scene.kill(attempt, "promote", UNDO_MOMENTS[scene.subject.dbms])
    scene.step(attempt, "promote", "promote again")
    scene.report(attempt)


@scenario()
def push(scene: Scene) -> None:
    """A whole push."""
    with scene.pushing():
        scene.steps(scene.attempt(PUSH))


@scenario(needs="pre_dump_transformation")
def push_that_transforms(scene: Scene) -> None:
    """A whole push that transforms a copy of live."""
    with scene.pushing(scene.subject.transformation()):
        scene.steps(scene.attempt(PUSH))


@scenario(needs="pre_dump_transformation")
def push_with_a_failing_transformation(scene: Scene) -> None:
    """A push whose transformation fails."""
    bad = scene.subject.bad_transformations()["middle"]
    with scene.pushing(bad.text):
        scene.steps(scene.attempt(PUSH))


def _killed(moment: Moment, *, again: bool) -> Scenario:
    def work(scene: Scene) -> None:
        attempt = scene.until(PULL, "promote")
        scene.kill(attempt, "promote", moment)
        if again:
            scene.step(attempt, "promote", "promote again")
        scene.report(attempt)

    when, then = moment.name.replace("_", " "), "run again" if again else "not run again"
    return Scenario(f"A promote that is killed {when}, and {then}.", work)


def scenarios_of(engine: Engine) -> dict[str, Scenario]:
    """All that are recorded of an engine, by their names."""
    offered = DESCRIPTORS[engine.dbms].capabilities
    found = {name: each for name, each in SCENARIOS.items() if not each.needs or getattr(offered, each.needs)}
    for moment in MOMENTS[engine.dbms]:
        found[f"promote_killed_{moment.name}"] = _killed(moment, again=False)
        found[f"promote_killed_{moment.name}_and_run_again"] = _killed(moment, again=True)
    return {name: each for name, each in found.items() if re.match(engine.scenarios, name)}


def is_recorded(subject: str, name: str) -> bool:
    """Whether there is a recording of a scenario for a subject."""
    return subject in ENGINES and name in scenarios_of(ENGINES[subject])


ALL = tuple(dict.fromkeys(name for engine in ENGINES.values() for name in scenarios_of(engine)))
"""The names of the scenarios of all engines."""
