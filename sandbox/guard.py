"""Runs one server and sees to it that nothing of it is left: a program of its own, standard library only.

    python guard.py SIGNAL GRACE UID GID COMMAND [ARGUMENT ...]

The guard starts the command as its child and writes the child's pid to stdout. It ends the server when its
stdin closes: then whoever started the guard has called `stop`, or is gone, even by SIGKILL. It sends SIGNAL,
waits GRACE seconds, then kills. As the "subreaper" of all its descendants it also finds those that left the
server's process group or session. UID and GID are -1 where the user stays as it is.

Exit code: that of the server, or 128 plus the signal that ended it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1  # both from linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """Sets an attribute of this process; raises OSError where it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def start(command: list[str], uid: int, gid: int) -> int:
    """Forks and executes the command as leader of a process group; gives its pid."""
    guard = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        if uid >= 0:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        # After setuid, which clears it: the server dies with its guard.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(126)
        for changed in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and that is inherited
            signal.signal(changed, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.execvp(command[0], command)
    except OSError as problem:
        os.write(2, f"{command[0]}: {problem}\n".encode())
    os._exit(127)


def descendants() -> list[int]:
    """The pids of all living descendants of this process."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                # The name, in brackets, may itself hold spaces and brackets.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    children.setdefault(int(fields[1]), []).append(int(folder.name))
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def reap(server: int) -> int | None:
    """Collects children that have ended; the server's exit code if it is among them."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == server:
                ended = os.waitstatus_to_exitcode(status)
                code = ended if ended >= 0 else 128 - ended
    return code


def wait(server: int, wakeup: int, seconds: float | None, stdin: bool) -> int | None:
    """Waits for the server's end, at most so long; None when time is up or stdin has closed."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        code = reap(server)
        if code is not None:
            return code
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            return None
        ready = select.select([wakeup, 0] if stdin else [wakeup], [], [], left)[0]
        if wakeup in ready:
            os.read(wakeup, 1024)
        if stdin and 0 in ready and not os.read(0, 1024):
            return None


def main() -> int:
    """Runs the server until it ends or stdin closes; leaves no process of it behind."""
    wakeup, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    for survived in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(
            survived, lambda _signal, _frame: None
        )  # a handler, for the server would inherit SIG_IGN
    prctl(PR_SET_CHILD_SUBREAPER, 1)

    name, grace, uid, gid, *command = sys.argv[1:]
    server = start(command, int(uid), int(gid))
    os.write(1, f"{server}\n".encode())
    os.close(1)

    code = wait(server, wakeup, None, stdin=True)
    if code is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server, signal.Signals[name])
        code = wait(server, wakeup, float(grace), stdin=False)
    while left := descendants():
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended = reap(server)
        code = ended if code is None else code
        time.sleep(0.01)
    if code is None:
        code = reap(server)
    return 128 + signal.SIGKILL if code is None else code


if __name__ == "__main__":
    sys.exit(main())
