"""The one place that runs an outside program.

The program runs below a guard (guard.py), which ends it when this process asks, and kills it and
everything that it started when this process is gone, however it went.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from attrs import frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import ToolFailed, ToolMissing

GUARD = Path(__file__).with_name("guard.py")
GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL: Airflow kills a task about five after it asked it to end."""
TAIL = 40
"""How many lines of stderr an error shows."""
LONGEST_LINE = 65_536
"""Characters of one line that are kept; what is over is dropped."""
TICK = 1.0
"""Seconds between two calls of `on_tick`."""
LOCK_FOLDER = "ENV_SYNC_REBOOT_LOCK_FOLDER"
"""The environment variable that names a folder for lock files which keep the machine from rebooting."""

Stream = IO[bytes]


@frozen(kw_only=True)
class Result:
    """How a program ended. `exit_code` is negative where a signal ended it; `seconds` is how long it ran."""

    program: str
    exit_code: int
    seconds: float
    tail: tuple[str, ...]
    """The last lines of its stderr, after `redact`."""

    def failure(self, advice: str = "") -> ToolFailed:
        """The error for a program that failed: its name, how it ended, and what it said last."""
        return ToolFailed(f"{self.program} {self.how_it_ended}{f'. {advice}' if advice else ''}{self.said}")

    @property
    def how_it_ended(self) -> str:
        """E.g. "failed with exit code 1"."""
        if self.exit_code >= 0:
            return f"failed with exit code {self.exit_code}"
        try:
            name = signal.Signals(-self.exit_code).name
        except ValueError:
            name = f"signal {-self.exit_code}"
        out_of_memory = " (the machine may be out of memory)" if name == "SIGKILL" else ""
        return f"was ended by {name}{out_of_memory}"

    @property
    def said(self) -> str:
        """The tail as the end of a message; "" where there is none."""
        return f"; its last messages:\n{os.linesep.join(self.tail)}" if self.tail else "; it printed nothing"


def run(
    argv: Sequence[str | Path],
    *,
    cancellation: Cancellation,
    log: logging.Logger,
    env: Mapping[str, str] | None = None,
    stdin: Stream | None = None,
    stdout: Stream | Callable[[str], None] | None = None,
    on_line: Callable[[str], None] | None = None,
    on_tick: Callable[[], None] | None = None,
    redact: Callable[[str], str | None] | None = None,
    folder: Path | None = None,
    check: bool = True,
    accepted: Collection[int] = (0,),
) -> Result:
    """Run a program to its end, and give how it ended.

    `argv` must hold no secret: it is seen by every user of the machine. `env` is added to a minimal
    environment (PATH, HOME, TZ, LANG, and LC_ALL=C so that messages can be understood). `stdin` and
    `stdout` are files with a descriptor, or nothing; `stdout` may be a function that is given each line,
    as `on_line` is given each line of stderr, in this thread, raw: what it holds must not be logged as
    it is. `redact` turns a line of stderr into what may be shown, None to drop it. `on_tick` is called
    about once a second. Any error raised by these functions ends the program.

    Raises ToolMissing where there is no such program; ToolFailed where its exit code is not among
    `accepted` (unless `check` is off) or its guard is gone; Cancelled, after at most GRACE seconds,
    where the step was cancelled. Whatever is raised, no process of it is left.
    """
    cancellation.check()
    environment = minimal_environment() | dict(env or {})
    program = shutil.which(str(argv[0]), path=environment["PATH"])
    if program is None:
        raise ToolMissing(f"There is no program {argv[0]}: install it on this worker, or put it on its PATH.")
    command = [*_low_priority(), program, *(str(part) for part in argv[1:])]
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(
            _started(command, environment, stdin, stdout, folder, os.environ.get(LOCK_FOLDER, ""))
        )
        # Within the block above, so that this callback is gone before the descriptors are closed.
        stack.enter_context(cancellation.calling(running.wake))
        log.debug("%s runs, guarded by process %d", Path(program).name, running.guard.pid)
        tail: deque[str] = deque(maxlen=TAIL)

        def hear(line: str) -> None:
            shown = redact(line) if redact else line
            if shown is not None:
                tail.append(shown)
            if on_line:
                on_line(line)

        began = time.monotonic()
        running.follow(cancellation, hear, stdout if callable(stdout) else None, on_tick)
        seconds = time.monotonic() - began
        cancellation.check()
        exit_code = running.exit_code(Path(program).name)
    result = Result(program=Path(program).name, exit_code=exit_code, seconds=seconds, tail=tuple(tail))
    log.debug("%s ended with %d after %.1f s", result.program, exit_code, seconds)
    if check and exit_code not in accepted:
        raise result.failure()
    return result


def minimal_environment() -> dict[str, str]:
    """What every program is given: no variable of this process that could change what it does."""
    kept = {name: os.environ[name] for name in ("HOME", "TZ") if name in os.environ}
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "LC_ALL": "C", **kept}


def _low_priority() -> list[str]:
    """The prefix that lets the disk serve others first: "best effort", lowest level (see ionice(1))."""
    ionice = shutil.which("ionice")
    return [ionice, "-c2", "-n7"] if ionice else []


class _Running:
    """A program that runs, with its guard, and what this process holds to talk to both."""

    def __init__(
        self,
        guard: subprocess.Popen[bytes],
        control: socket.socket,
        wakeup: int,
        wake: int,
        lock: Path | None,
    ) -> None:
        self.guard = guard
        self._control = control
        self._wakeup = wakeup
        self._wake = wake
        self._lock = lock
        self._told = b""

    def wake(self) -> None:
        """Make `follow` look at the cancellation; safe in a signal handler."""
        # A full pipe wakes as well.
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"!")

    def follow(
        self,
        cancellation: Cancellation,
        on_stderr: Callable[[str], None],
        on_stdout: Callable[[str], None] | None,
        on_tick: Callable[[], None] | None,
    ) -> None:
        """Hand on what the program writes until nothing of it is left."""
        lines: dict[int, _Lines] = {}
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._wakeup, selectors.EVENT_READ)
            for pipe, heard in ((self.guard.stderr, on_stderr), (self.guard.stdout, on_stdout)):
                if pipe is not None and heard is not None:
                    os.set_blocking(pipe.fileno(), False)
                    lines[pipe.fileno()] = _Lines(heard)
                    selector.register(pipe, selectors.EVENT_READ)
            asked = gone = False
            next_tick = time.monotonic() + TICK
            while not gone:
                if cancellation.cancelled and not asked:
                    asked = True
                    self._ask_to_end()
                wait = max(next_tick - time.monotonic(), 0) if on_tick else None
                for key, _ in selector.select(wait):
                    if key.fd == self._wakeup:
                        os.read(self._wakeup, 1024)
                    elif key.fd == self._control.fileno():
                        gone = not self._hear_guard()
                    elif lines[key.fd].read(key.fd) == 0:
                        selector.unregister(key.fileobj)
                if on_tick and time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + TICK
                    on_tick()
        for descriptor, heard_lines in lines.items():
            while heard_lines.read(descriptor) > 0:
                pass
            heard_lines.end()

    def end(self) -> None:
        """End the program if it still runs, and wait until nothing of it is left."""
        self._ask_to_end()
        while self._hear_guard():
            pass
        self.guard.wait()
        if b"ended " in self._told:
            return
        # The guard itself was killed. The program died with it (PR_SET_PDEATHSIG), not so what it started.
        started = self._word("started")
        if started is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(started, signal.SIGKILL)
        if self._lock:
            self._lock.unlink(missing_ok=True)

    def exit_code(self, program: str) -> int:
        """The program's exit code. Raises ToolFailed where it was not started, or its guard was killed."""
        if (problem := self._word("unlocked")) is not None:
            raise ToolFailed(
                f"{program} was not started: its lock file could not be written to the folder that "
                f"{LOCK_FOLDER} names, {os.environ.get(LOCK_FOLDER)}: {os.strerror(problem)}."
            )
        if (problem := self._word("failed")) is not None:
            raise ToolFailed(f"{program} could not be started: {os.strerror(problem)}.")
        if (code := self._word("ended")) is None:
            raise ToolFailed(f"{program} was killed, for the process that guards it was: run the step again.")
        return code

    def _ask_to_end(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(b"T")

    def _hear_guard(self) -> bool:
        """Read what the guard tells; False once it is gone."""
        try:
            told = self._control.recv(1024)
        except ConnectionResetError:
            return False
        self._told += told
        return bool(told)

    def _word(self, name: str) -> int | None:
        for line in self._told.decode().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
        return None


@contextlib.contextmanager
def _started(
    command: Sequence[str],
    environment: Mapping[str, str],
    stdin: Stream | None,
    stdout: Stream | Callable[[str], None] | None,
    folder: Path | None,
    lock_folder: str,
) -> Iterator[_Running]:
    """Start a program below a guard; at the end of the block nothing of it is left."""
    with contextlib.ExitStack() as stack:
        ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
        wakeup, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        stack.callback(os.close, wakeup)
        stack.callback(os.close, wake)
        output = subprocess.PIPE if callable(stdout) else stdout or subprocess.DEVNULL
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), str(theirs.fileno()), str(GRACE), lock_folder, *command],
            stdin=stdin or subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=folder,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        for pipe in (guard.stdout, guard.stderr):
            if pipe is not None:
                stack.enter_context(pipe)
        lock = Path(lock_folder) / f"env_sync-{guard.pid}" if lock_folder else None
        running = _Running(guard, ours, wakeup, wake, lock)
        stack.callback(running.end)
        yield running


class _Lines:
    """Cuts a stream of bytes into lines of text."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        self._rest = bytearray()

    def read(self, descriptor: int) -> int:
        """Read what is there: how many bytes that was, 0 at end of file, -1 where nothing is there yet."""
        try:
            read = os.read(descriptor, 65_536)
        except BlockingIOError:
            return -1
        self._rest += read
        *whole, rest = bytes(self._rest).split(b"\n")
        # A line without an end must not fill the memory.
        self._rest = bytearray(rest[: 4 * LONGEST_LINE])
        for line in whole:
            self._tell(line)
        return len(read)

    def end(self) -> None:
        """Hand on a last line that had no end."""
        if self._rest:
            self._tell(bytes(self._rest))

    def _tell(self, line: bytes) -> None:
        self._heard(line.decode("utf-8", "replace").rstrip("\r")[:LONGEST_LINE])
