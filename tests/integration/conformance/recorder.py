"""Records what reaches the servers of a subject, in whatever process or thread of Env Sync it is sent.

What is a matter of time is kept out of it. Within a section time hardly passes for the engines, so no lease
is renewed unless a scenario is about that; a session that ended is waited for until its server has noticed;
and of what threads do side by side only the order within each thread is told.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, define, field, frozen

from tests.integration.conformance.drivers.files import NAME as FILES
from tests.integration.conformance.drivers.programs import Programs
from tests.integration.conformance.drivers.watching import Session, Watcher
from tests.integration.conformance.subject import TARGET, Subject

ERRAND = "env_sync command"
"""The name of threads that send one command for the thread that started them, which waits for it."""
RENEWING = "env_sync lease"
"""The name of the threads that renew leases."""
ENGINES = "env_sync.engines"
PATIENCE = 60.0
"""Seconds until a session that does not end fails the test."""
_ENDING = re.compile(r"pg_terminate_backend|^KILL (?:CONNECTION )?(\d+)$")


@frozen(kw_only=True)
class Event:
    """One line of what was recorded. `thread` is "" for the one that does the step."""

    kind: str
    """`section`, `opened`, `sends`, `closed` or `note`."""
    process: int
    thread: str = ""
    session: str = ""
    name: str = ""
    target: str = ""
    number: int | None = None
    text: str = ""
    values: Any = None


@define
class Recorder(Watcher):
    """Writes what it is told into a file, line by line, so that what a killed process did is there."""

    subject: Subject
    file: Path
    folders: tuple[str, ...] = ()
    """Of calls on files, those below one of these are recorded."""
    renewals: bool = False
    """Whether leases are renewed, as they are when time passes."""
    environment: str = TARGET
    """Whose server the sessions of the section at hand are on."""
    _programs: Programs = field(factory=Programs)
    _sessions: dict[Session, str] = field(factory=dict)
    _numbers: Iterator[int] = field(factory=itertools.count)
    _over: dict[tuple[int, str], Callable[[int], bool]] = field(factory=dict)

    @contextlib.contextmanager
    def section(self, title: str, environment: str = TARGET) -> Iterator[None]:
        """Record what Env Sync does within the block, in this process and in those that it starts."""
        self.environment = environment
        self._write(Event(kind="section", process=os.getpid(), text=title))
        with pytest.MonkeyPatch.context() as patched, contextlib.ExitStack() as stack:
            patched.setattr(time, "monotonic", _standing_clock(time.monotonic))
            patched.setattr(threading.Thread, "start", _with_starter(threading.Thread.start))
            if not self.renewals:
                patched.setattr(threading.Event, "wait", _without_renewals(threading.Event.wait))
            for driver in (self.subject.driver, self._programs):
                stack.callback(driver.watch(self))
            yield
        self._wait_for_those_left()

    def note(self, text: str) -> None:
        """Write down how it ended."""
        self._write(Event(kind="note", process=os.getpid(), text=text))

    def events(self) -> list[Event]:
        """All that was recorded, in its order."""
        return [Event(**json.loads(line)) for line in self.file.read_text().splitlines()]

    def wait_for_renewal(self) -> None:
        """Wait until the lease was renewed, and is about to be renewed again."""
        deadline = _now() + PATIENCE
        while len(_renewals(self.events())) < 2:
            assert _now() < deadline, f"no thread called {RENEWING!r} renews the lease"
            time.sleep(0.02)

    # As a watcher

    def opened(self, session: Session) -> None:
        """See Watcher."""
        self._tell("opened", session)

    def sends(self, session: Session, text: str, values: object) -> None:
        """See Watcher."""
        self._tell("sends", session, text, values)

    def sent(self, session: Session, text: str, values: object) -> None:
        """See Watcher."""
        self._wait_until(lambda: self.subject.is_done(text), f"what was begun does not end: {text}")
        ending = _ENDING.search(text)
        if ending is None:
            return
        numbers = [ending.group(1)] if ending.group(1) else values
        for number in numbers if isinstance(numbers, Sequence) else ():
            self._wait_for(int(number))

    def closed(self, session: Session) -> None:
        """See Watcher."""
        self._tell("closed", session)
        if session.number is not None:
            self._wait_for(session.number)

    def _tell(self, kind: str, session: Session, text: str = "", values: object = None) -> None:
        thread = _thread()
        if session.name == FILES and not any(folder in text for folder in self.folders):
            return
        # A forked process goes on counting where this one was: its number tells them apart.
        key = self._sessions.setdefault(session, f"{os.getpid()}-{next(self._numbers)}")
        self._write(
            Event(
                kind=kind,
                process=os.getpid(),
                thread=thread,
                session=key,
                name=session.name,
                target=session.target,
                number=session.number,
                text=text,
                values=_plain(values),
            )
        )

    def _write(self, event: Event) -> None:
        line = json.dumps(asdict(event)).encode() + b"\n"
        # One write to a file that is appended to is whole, whoever else writes.
        descriptor = _open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    # Waiting

    def _wait_for(self, number: int) -> None:
        """Wait until the server has noticed that a session is over."""
        # A process that was forked must not talk over its parent's connection.
        place = os.getpid(), self.environment
        if place not in self._over:
            self._over[place] = self.subject.sessions_over(self.environment)
        over = self._over[place]
        self._wait_until(lambda: over(number), f"session {number} of {self.environment} does not end")

    def _wait_until(self, condition: Callable[[], bool], problem: str) -> None:
        deadline = _now() + PATIENCE
        while not condition():
            assert _now() < deadline, problem
            time.sleep(0.005)

    def _wait_for_those_left(self) -> None:
        """The same for those of processes that were killed."""
        left = {}
        for event in self.events():
            if event.kind == "opened" and event.process != os.getpid():
                left[event.session] = event.number
            elif event.kind == "closed":
                left.pop(event.session, None)
        for number in left.values():
            if number is not None:
                self._wait_for(number)


def renewal(events: Sequence[Event]) -> list[Event]:
    """One renewal of several, whose events follow one another: all are the same."""
    starts = _renewals(events)
    told = [event for event in events if event.thread == RENEWING]
    return told[: starts[1]] if len(starts) > 1 else told


def _renewals(events: Sequence[Event]) -> list[int]:
    """Where each of them begins, among those events: as the first one begins."""
    told = [(event.kind, event.name, event.text) for event in events if event.thread == RENEWING]
    return [place for place, event in enumerate(told) if event == told[0]]


_open, _now = os.open, time.monotonic


def _standing_clock(real: Callable[[], float]) -> Callable[[], float]:
    """A clock that moves by a millisecond with each look of an engine, and for all others as it does."""
    began, looks = real(), itertools.count()

    def monotonic() -> float:
        if str(sys._getframe(1).f_globals.get("__name__")).startswith(ENGINES):
            return began + next(looks) / 1000
        return real()

    return monotonic


def _without_renewals(
    wait: Callable[[threading.Event, float | None], bool],
) -> Callable[[threading.Event, float | None], bool]:
    """The threads that renew leases wait for the end of their step, however long that takes."""

    def waiting(event: threading.Event, timeout: float | None = None) -> bool:
        return wait(event, None if threading.current_thread().name == RENEWING else timeout)

    return waiting


def _with_starter(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    def started(thread: threading.Thread) -> None:
        thread.__dict__["starter"] = threading.current_thread()
        start(thread)

    return started


def _thread() -> str:
    """For whom the current thread works: "" for the one that does the step."""
    thread = threading.current_thread()
    while thread.name == ERRAND:
        thread = thread.__dict__["starter"]
    if thread is threading.main_thread():
        return ""
    return RENEWING if thread.name == RENEWING else f"{os.getpid()}-{thread.ident}"


def _plain(value: object) -> Any:
    """A value that goes with a statement, as JSON has it."""
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 100 else {"number": value}
    if isinstance(value, dt.datetime):
        return {"time": str(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)
