"""Starting a server, waiting until it answers, and ending it for certain."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

GUARD = Path(__file__).with_name("guard.py")
TAIL = 30  # lines of a log that an error shows
PATIENCE = 600.0
"""Seconds for which a server's start or a program's end is awaited: the machine may have much else to do."""
MEMORY = Path("/dev/shm")
ROOM = 6_000_000_000  # bytes

T = TypeVar("T")


class SandboxError(Exception):
    """A server of the sandbox did not start, or did not do what was awaited."""


class ServerMissing(SandboxError):
    """A server's program is not on this machine; the message says how to get it."""


class Process:
    """A server process, with a guard that lets nothing of it outlive this Python process.

    It is in a session of its own: Ctrl-C in a terminal reaches this process only, which then ends its
    servers in order. Both output streams go to the end of the log.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: pwd.struct_passwd | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace: float = 15,
    ) -> None:
        """`env` is the whole environment (default: this process's); `grace` seconds pass before SIGKILL."""
        self.name = name
        self.log = log
        self.pid = 0
        self._command = [str(part) for part in command]
        self._env = None if env is None else dict(env)
        self._cwd = cwd
        self._ids = ["-1", "-1"] if user is None else [str(user.pw_uid), str(user.pw_gid)]
        self._stop_signal = stop_signal
        self._grace = grace
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Its exit code, or 128 plus the signal that ended it; None while it runs or before it is started."""
        return None if self._guard is None else self._guard.poll()

    def start(self) -> None:
        """Starts it, without waiting until it is ready."""
        if self.running:
            raise SandboxError(f"{self.name} runs already, as process {self.pid}")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        guard = [sys.executable, "-I", "-S", str(GUARD), self._stop_signal.name, str(self._grace), *self._ids]
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                guard + self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
            )
        output = self._guard.stdout
        line = output.readline() if output else b""
        if not line.strip().isdigit():
            self.stop()
            raise SandboxError(f"the guard of {self.name} did not start it{tail(self.log)}")
        self.pid = int(line)

    def wait_until(self, ready: Callable[[], T], seconds: float = PATIENCE) -> T:
        """Waits until `ready` gives something true, and gives that.

        SandboxError, with the end of the log, when the server ends first or is not ready in so many
        seconds; it is stopped then.
        """

        def ready_or_ended() -> T | None:
            if not self.running:
                raise SandboxError(f"{self.name} ended with exit code {self.exit_code}{tail(self.log)}")
            return ready()

        try:
            found = wait_for(ready_or_ended, f"{self.name} to be ready", seconds, log=self.log)
        except BaseException:
            self.stop()
            raise
        if found is None:
            raise SandboxError(f"{self.name} is not ready")
        return found

    def ask_to_stop(self) -> None:
        """Asks it to end, to be killed after its grace, without waiting; `stop` then waits."""
        for pipe in (self._guard.stdin, self._guard.stdout) if self._guard else ():
            if pipe is not None:
                pipe.close()

    def stop(self) -> None:
        """Asks it to end, kills it after its grace, and waits until nothing of it is left."""
        self.ask_to_stop()
        self._wait()

    def kill(self) -> None:
        """Kills it at once, as a crash would, and waits until nothing of it is left."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def _wait(self) -> None:
        if self._guard is None:
            return
        try:
            self._guard.wait(self._grace + 15)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
            raise SandboxError(
                f"{self.name}, process {self.pid}, did not end; its guard was killed{tail(self.log)}"
            ) from None


def wait_for(
    condition: Callable[[], T], what: str, seconds: float = 60, *, every: float = 0.1, log: Path | None = None
) -> T:
    """Calls the condition until what it gives is true, and gives that.

    After so many seconds: SandboxError with what was awaited, what was last seen and the end of the log.
    An exception of the condition is raised at once.
    """
    end = time.monotonic() + seconds
    while True:
        seen = condition()
        if seen:
            return seen
        if time.monotonic() >= end:
            raise SandboxError(f"waited {seconds:g} s in vain for {what}; last seen: {seen!r}{tail(log)}")
        time.sleep(every)


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    user: pwd.struct_passwd | None = None,
    cwd: Path | None = None,
    seconds: float = PATIENCE,
) -> str:
    """Runs a program to its end and gives its output; SandboxError with both streams when it fails."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env=None if env is None else dict(env),
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise SandboxError(f"{command[0]} could not be run to its end: {problem}") from problem
    if done.returncode != 0:
        raise SandboxError(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}".strip())
    return done.stdout


def tail(log: Path | None, lines: int = TAIL) -> str:
    """The end of a log, for an error's message; empty where there is no log."""
    if log is None or not log.exists():
        return ""
    return f"\nthe end of {log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many different TCP ports of 127.0.0.1 that nothing listens on."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def choose_port(folder: Path, asked: int = 0) -> int:
    """The asked port, else the folder's last one if nothing has it, else a free one; noted in the folder."""
    note = folder / "port"
    last = int(note.read_text()) if note.exists() else 0
    port = asked or (last if last and not listens(last) else free_port())
    note.write_text(str(port))
    return port


def listens(port: int) -> bool:
    """Whether something accepts connections at this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def unprivileged_user() -> pwd.struct_passwd | None:
    """The user for servers that refuse root: `postgres` or else `nobody`; None when this is not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise SandboxError("PostgreSQL refuses root, and there is neither a user postgres nor nobody: add one")


def cache_folder() -> Path:
    """Where what is downloaded or built once is kept: `ENV_SYNC_CACHE`, by default ~/.cache/env-sync."""
    folder = Path(os.environ.get("ENV_SYNC_CACHE") or Path.home() / ".cache" / "env-sync")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def state_folder(name: str) -> Path:
    """A folder of this name that is still there next time, for servers and their data.

    In ~/.local/state/env-sync; for root in /var/tmp, as another user runs some of the servers and cannot
    enter root's home.
    """
    if os.geteuid() != 0:
        home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "env-sync"
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    else:
        home = _own_folder(Path("/var/tmp/env-sync-root"))
    folder = home / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def temporary_folder() -> Path:
    """A new folder that every user may enter but only this one may write to or list.

    It is in memory where there is room for the servers of all tests: some of them wait for their disk at
    every table, whatever they are told.
    """
    folder = Path(tempfile.mkdtemp(prefix="env-sync-", dir=MEMORY if _has_room(MEMORY) else None))
    folder.chmod(0o711)
    return folder


def _has_room(place: Path) -> bool:
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        return False
    return free >= ROOM and os.access(place, os.W_OK | os.X_OK)


def can_enter(path: Path, user: pwd.struct_passwd | None) -> bool:
    """Whether the user may read the file or folder and enter all folders above it; None is this process."""
    if user is None:
        return os.access(path, os.R_OK)

    def allowed(place: Path, bits: int) -> bool:
        found = place.stat()
        shift = 6 if found.st_uid == user.pw_uid else 3 if found.st_gid == user.pw_gid else 0
        return (found.st_mode >> shift) & bits == bits

    path = path.resolve()
    return allowed(path, 5 if path.is_dir() else 4) and all(allowed(folder, 1) for folder in path.parents)


def readable_copy(base: Path, parts: Sequence[str], name: str, user: pwd.struct_passwd | None) -> Path:
    """The base folder itself where the user can read its parts, else a copy of them, made once per name."""
    if all(can_enter(base / part, user) for part in parts):
        return base
    copy = _own_folder(Path("/var/tmp/env-sync-root")) / "programs" / name
    if not copy.exists():
        copy.parent.mkdir(exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=copy.parent))
        try:
            for part in parts:
                shutil.copytree(base / part, making / "copy" / part, symlinks=True)
            # Another process may have been quicker; its copy is as good.
            with contextlib.suppress(OSError):
                (making / "copy").rename(copy)
        finally:
            shutil.rmtree(making)
    return copy


def give_folder(folder: Path, user: pwd.struct_passwd | None) -> None:
    """Makes a private folder for the user; SandboxError where he could not reach it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    if not can_enter(folder, user):
        who = user.pw_name if user else "this user"
        raise SandboxError(f"{who} cannot enter {folder}: use a folder from state_folder or temporary_folder")


def write_private(path: Path, text: str) -> None:
    """Writes a file that only this user can read, whole or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)


def _own_folder(folder: Path) -> Path:
    """Makes the folder, or refuses one that someone else has put there."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o711)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise SandboxError(f"{folder} belongs to someone else: remove it")
    folder.chmod(0o711)
    return folder
