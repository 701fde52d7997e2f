"""A scene: a stage of the conformance suite on which one group is done by the code of two commits in turn."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field, frozen

from env_sync.core.serialization import from_plain
from env_sync.domain.report import Report, Result
from env_sync.planning.installation import HIERADATA
from tests.integration.compatibility.workers import CONFIGURATION, OWN, Code, Done
from tests.integration.conformance.stage import (
    BUCKET,
    NEW,
    NEW_LIVE,
    NEW_ROWS,
    OLD_LIVE,
    PULL,
    PUSH,
    Stage,
)
from tests.integration.conformance.subject import SOURCE, TARGET, Subject
from tests.sweep import sample

UNDO = "undo"


@define
class Prepared:
    """What all scenes of one subject share that begin with the code of the same commit."""

    name: str
    """Names the engine, and who begins."""
    subject: Subject
    first: Code
    second: Code
    database: str
    files: Path
    """A folder below which databases of files are."""
    moments: dict[tuple[str, str], int]
    """How many moments each step of a group of each kind has, as they were counted with this engine."""
    dump: str | None = None
    """The timestamp of the dump that the first code has pushed."""

    def fill_source(self) -> None:
        """New, raw data above."""
        self.subject.fill(SOURCE, self.database, NEW, NEW_ROWS, private=True)

    def drop(self) -> None:
        """Remove it, and whatever is below."""
        for environment in (SOURCE, TARGET):
            self.subject.drop(environment, self.database)


@define
class Relay:
    """One attempt at one group, of which each step is done by the code that it is given."""

    scene: Scene
    kind: str
    """What it does, for the count of its moments: PUSH, PULL or UNDO."""
    sync: str
    environment: str
    steps: Sequence[str]
    """All but the report."""
    conf: Mapping[str, Any]
    run: str
    attempt: str = field(factory=lambda: uuid.uuid4().hex)
    environ: Mapping[str, str] = {}
    """Variables of the environment other than the stage's."""
    lease_lifetime: float | None = None
    """In seconds; None for the sync's own."""
    states: dict[str, str] = field(factory=dict)
    results: dict[str, Any] = field(factory=dict)
    errors: dict[str, str] = field(factory=dict)
    began: dt.datetime = field(factory=lambda: dt.datetime.now(dt.UTC))

    def do(self, code: Code, step: str) -> bool:
        """Do a step; whether it succeeded."""
        self._take(step, done := code.do(self.job(step)))
        if done.moments is not None and done.error is None:
            # Whoever does again what is done has fewer.
            self.scene.prepared.moments.setdefault((self.kind, step), done.moments)
        return done.error is None

    def must(self, code: Code, step: str) -> None:
        """Do a step, which is to succeed."""
        assert self.do(code, step), f"{step} by {code.name}: {self.errors[step]}"

    def until(self, code: Code, step: str) -> None:
        """Do each step before this one."""
        for each in self.steps[: self.steps.index(step)]:
            self.must(code, each)

    def rest(self, code: Code, step: str) -> None:
        """Do this step and those after it."""
        for each in self.steps[self.steps.index(step) :]:
            self.must(code, each)

    def in_turn(self) -> None:
        """Do all steps, each by the other code than the one before it."""
        for code, step in zip(self.scene.codes(), self.steps, strict=False):
            self.must(code, step)

    def kill(self, code: Code, step: str, moment: int) -> bool:
        """Kill a step at a moment, at the latest at its end; whether it was before that."""
        done = code.do(self.job(step, {"moment": moment, "then": "kill"}))
        assert done.killed
        self._take(step, done)
        return done.moments is None

    @contextlib.contextmanager
    def waiting(self, code: Code, step: str, moment: int) -> Iterator[None]:
        """Do a step, which waits at a moment for the length of the block."""
        ended: list[Done] = []
        with code.waiting(self.job(step, {"moment": moment, "then": "wait"}), ended):
            yield
        self._take(step, ended[0])

    def end(self, code: Code) -> Report:
        """The report, and all that goes with it, by a code."""
        done = code.do(self.job("report"))
        assert done.error is None, done.error
        self.scene.forget(self)
        # Here it is read as the board reads it, whichever code wrote it.
        report = from_plain(Report, done.result["report"])
        assert report.line() == done.result["line"]
        self.scene.stage.reports.append(report)
        return report

    def ends_well(self, code: Code) -> Report:
        """The same of a group in which all went well in the end."""
        report = self.end(code)
        assert report.result is not Result.CRITICAL, report.line()
        return report

    def job(self, step: str, at: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What a worker is sent."""
        stage = self.scene.stage
        environ = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(CONFIGURATION) and not name.startswith(OWN)
        }
        return {
            "do": "step",
            "environ": {**environ, **self.environ},
            "log": str(stage.log),
            "below": [str(stage.folder), str(self.scene.prepared.files)],
            "environment": self.environment,
            "sync": self.sync,
            "conf": self.conf,
            "run": self.run,
            "attempt": self.attempt,
            "began": self.began.isoformat(),
            "lease_lifetime": self.lease_lifetime,
            "step": step,
            "results": self.results,
            "states": self.states,
            "errors": self.errors,
            "at": at,
        }

    def again(self) -> Relay:
        """Another attempt at the same group of the same run, as after it was cleared."""
        again = evolve(
            self,
            attempt=uuid.uuid4().hex,
            states={},
            results={},
            errors={},
            began=dt.datetime.now(dt.UTC),
        )
        self.scene.running.append(again)
        return again

    def _take(self, step: str, done: Done) -> None:
        failed = done.killed or done.error is not None
        self.states[step] = "failed" if failed else "success"
        for kept in (self.results, self.errors):
            kept.pop(step, None)
        if done.error is not None:
            self.errors[step] = done.error
        elif not failed and done.result is not None:
            self.results[step] = done.result


@frozen
class Scene:
    """What a test works with: two codes, and what is to be seen of their work."""

    stage: Stage
    prepared: Prepared
    running: list[Relay] = field(factory=list)
    """The groups that have not ended yet."""

    @property
    def first(self) -> Code:
        """The code that begins."""
        return self.prepared.first

    @property
    def second(self) -> Code:
        """The code that goes on."""
        return self.prepared.second

    def steps(self, name: str) -> Sequence[str]:
        """The steps of a push or pull but for its report."""
        return self.stage.attempt(name).steps()

    def codes(self) -> Iterator[Code]:
        """Both codes in turn, without end."""
        return itertools.cycle((self.first, self.second))

    def relay(self, name: str, *, newest: bool = False, lease_lifetime: float | None = None) -> Relay:
        """A new group: a push in the source, or a pull into the target.

        A pull is of the dump that all scenes share, or of the newest, which it finds by itself.
        """
        conf: dict[str, Any] = {"only": [name]}
        if name == PULL and self.prepared.dump and not newest:
            conf["timestamp"] = self.prepared.dump
        environment = SOURCE if name == PUSH else TARGET
        return self._group(name, name, environment, self.steps(name), conf, lease_lifetime=lease_lifetime)

    def undo(self) -> Relay:
        """A new group that makes previous live again."""
        conf = {"restore_previous": self.stage.database}
        return self._group(UNDO, PULL, TARGET, ("start_gate", "promote"), conf)

    def push_below(self) -> Relay:
        """A new group that pushes what was pulled into the target."""
        folder = self.stage.folder / "hieradata below"
        folder.mkdir(exist_ok=True)
        above = json.loads((self.stage.folder / "hieradata" / f"{SOURCE}.yaml").read_text())
        [push] = above["govuk_env_sync::tasks"].values()
        push |= {"url": BUCKET.format(TARGET)}
        content = json.dumps({"govuk_env_sync::tasks": {PUSH: push}})
        (folder / f"{TARGET}.yaml").write_text(content)
        return self._group(
            PUSH, PUSH, TARGET, self.steps(PUSH), {"only": [PUSH]}, environ={HIERADATA: str(folder)}
        )

    def _group(
        self,
        kind: str,
        sync: str,
        environment: str,
        steps: Sequence[str],
        conf: Mapping[str, Any],
        **more: Any,
    ) -> Relay:
        run = f"env_sync_{environment}/{uuid.uuid4().hex[:8]}"
        relay = Relay(
            scene=self,
            kind=kind,
            sync=sync,
            environment=environment,
            steps=steps,
            conf=conf,
            run=run,
            **more,
        )
        self.running.append(relay)
        return relay

    def forget(self, relay: Relay) -> None:
        """A group has ended."""
        self.running[:] = [each for each in self.running if each is not relay]

    def end(self) -> None:
        """End the groups that a test which failed has left, each by the code that began."""
        for relay in list(self.running):
            relay.end(self.first)

    def whole(self, name: str, code: Code) -> Relay:
        """A whole sync by one code that ends well."""
        relay = self.relay(name)
        relay.rest(code, "start_gate")
        relay.ends_well(code)
        return relay

    def push(self, code: Code) -> str:
        """A whole push by one code; gives its timestamp, which is another one than those before."""
        self.wait_for_another_second()
        self.whole(PUSH, code)
        return self.stage.timestamps()[-1]

    def wait_for_another_second(self) -> None:
        """Wait until a dump that begins now has a key of its own: keys tell seconds."""
        newest = self.stage.timestamps()[-1:]
        while [f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H%M%SZ}"] <= newest:
            time.sleep(0.05)

    def count(self, name: str) -> None:
        """Have the moments of a push or pull counted, in one that is done by both codes in turn."""
        if (name, self.steps(name)[-1]) not in self.prepared.moments:
            relay = self.relay(name)
            relay.in_turn()
            relay.ends_well(self.first)
            self.stage.settled(NEW_LIVE if name == PULL else OLD_LIVE)
            self.stage.bring_target_back()

    def moments(self, kind: str, step: str) -> Sequence[int]:
        """The moments of a step at which it can be killed, as they were counted; the last one is its end."""
        return range(self.prepared.moments[kind, step] + 1)

    def killed_in_turn(self, relay: Relay, step: str, at_most: int) -> None:
        """Kill a step again and again, later each time, each code after the other.

        Live is whole each time, and what is not live is closed.
        """
        moments = sample(
            f"{self.prepared.name}, {step} of {relay.kind}", self.moments(relay.kind, step), at_most
        )
        before_its_end = [
            relay.kill(code, step, moment) and self.is_whole()
            for code, moment in zip(self.codes(), moments, strict=False)
        ]
        assert any(before_its_end)

    def is_whole(self) -> bool:
        """Live is whole, as it was or as it will be, unless it is closed for a moment."""
        subject, database = self.stage.subject, self.stage.database
        if subject.closes_live and not subject.is_open(TARGET, database):
            return True
        assert self.stage.read() in (OLD_LIVE, NEW_LIVE)
        return True

    def nobody_gets_in(self) -> None:
        """No other role can read what is not live."""
        subject = self.stage.subject
        got_in = []
        # Live above is raw, and everybody's who may read it; not so a copy of it.
        above = [SOURCE] if "outgoing" in subject.copies(SOURCE, self.stage.database) else []
        for environment in (*above, TARGET):
            for name, attempt in subject.intruders(environment, self.stage.database).items():
                with contextlib.suppress(*subject.refusals):
                    attempt()
                    got_in.append(name)
        assert got_in == []


def a_stage(prepared: Prepared, folder: Path, patch: pytest.MonkeyPatch, s3: Any) -> Stage:
    """The stage of one test."""
    return Stage(
        subject=prepared.subject,
        s3=s3,
        database=prepared.database,
        folder=folder,
        monkeypatch=patch,
        log=folder / "everything.log",
    )
