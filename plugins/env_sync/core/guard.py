"""Runs one program for a task and lets nothing of it outlive the task.

A program of its own, with the standard library only:

    python -I -S guard.py CONTROL GRACE LOCK_FOLDER COMMAND [ARGUMENT ...]

CONTROL is the number of an inherited stream socket whose other end the task alone holds. The task writes
`T` to have the program ended: SIGTERM to its process group, GRACE seconds, then SIGKILL. At end of file the
task is gone, even by SIGKILL, and everything is killed at once. The guard writes lines: `started PID`, then
`ended CODE` (negative: the signal that ended it), or `failed ERRNO` where the program could not be
executed, or `unlocked ERRNO` where no lock file could be made; it closes the socket when nothing of the
program is left.

Neither the guard nor the program ever leaves a core dump.

The guard is the "subreaper" of everything below it, so that it also finds what left the process group.
A LOCK_FOLDER that is not empty gets a file `env_sync-<pid of the guard>` for as long as the program runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1  # all from linux/prctl.h
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
LOCK_PREFIX = "env_sync-"


def prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    """Change how the kernel treats this process. Raises OSError."""
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def start(command: list[str], control: int, libc: ctypes.CDLL) -> int:
    """Fork and execute the command as leader of a process group of its own; gives its pid."""
    guard = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        prctl(libc, PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(126)
        # What a parent ignores or blocks stays so across exec: a program that ignores SIGTERM or SIGPIPE.
        for number in range(1, signal.NSIG):
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.execvp(command[0], command)
    except OSError as problem:
        os.write(control, f"failed {problem.errno}\n".encode())
    os._exit(127)


def has_children() -> bool:
    """Whether this process has children, also such as it inherited; zombies count."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def children() -> list[int]:
    """The pids of this process's children, also of those that it inherited; zombies are among them."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - importing pathlib takes longer than all the rest
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as stat:  # noqa: PTH123
                # The program's name, in brackets, may itself hold spaces and brackets.
                if int(stat.read().rpartition(")")[2].split()[1]) == os.getpid():
                    found.append(int(name))
    return found


def kill_all(program: int) -> None:
    """Kill the program's group and everything below this process, and wait until nothing is left.

    The program itself must not have been waited for: until then its group's number cannot be another's.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(program, signal.SIGKILL)
    # By its own number as well: it may have moved to another group, and is waited for without end.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(program, signal.SIGKILL)
    os.waitpid(program, 0)
    # Only now what it left behind is this process's. Nearly always that is nothing, and to read all of /proc
    # takes longer than everything else here.
    while has_children():
        for pid in children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        # A killed child's own children come to this process, and are found the next time round.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def wait(program: int, control: int, wakeup: int, grace: float) -> None:
    """Wait until the program has ended, or must be killed now."""
    kill_at: float | None = None
    watched = [control, wakeup]
    while os.waitid(os.P_PID, program, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        left = None if kill_at is None else kill_at - time.monotonic()
        if left is not None and left <= 0:
            return
        ready = select.select(watched, [], [], left)[0]
        if wakeup in ready:
            os.read(wakeup, 1024)
        if control in ready:
            try:
                asked = os.read(control, 1024)
            except ConnectionResetError:
                return
            if not asked:
                return
            if kill_at is None:
                kill_at = time.monotonic() + grace
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(program, signal.SIGTERM)
                    os.killpg(program, signal.SIGCONT)  # a stopped program could not end


def machine() -> str:
    """Names this machine and the namespace in which its pids mean something."""
    return f"{os.uname().nodename} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115


def lock(folder: str) -> str:
    """Make the lock file, after those that a crash of this machine left there are gone; gives its path."""
    for name in os.listdir(folder):  # noqa: PTH208
        pid = name.removeprefix(LOCK_PREFIX)
        if name.startswith(LOCK_PREFIX) and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):  # noqa: PTH110
            old = os.path.join(folder, name)  # noqa: PTH118
            with contextlib.suppress(OSError):
                with open(old) as file:  # noqa: PTH123
                    ours = file.read().strip() == machine()
                if ours:
                    os.unlink(old)  # noqa: PTH108
    path = os.path.join(folder, f"{LOCK_PREFIX}{os.getpid()}")  # noqa: PTH118
    with open(path, "w") as file:  # noqa: PTH123
        file.write(f"{machine()}\n")
    return path


def guard(control: int, grace: float, lock_folder: str, command: list[str]) -> None:
    """Run the command until it ends or the task wants it to; leaves no process of it."""
    os.set_inheritable(control, False)
    wakeup, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    for survived in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(survived, lambda _signal, _frame: None)
    libc = ctypes.CDLL(None, use_errno=True)
    prctl(libc, PR_SET_CHILD_SUBREAPER, 1)
    # Passwords are in this process's environment; rows are in the program's memory, which execve makes
    # dumpable again: for that one the limit, which it inherits and cannot raise.
    prctl(libc, PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    locked = ""
    if lock_folder:
        try:
            locked = lock(lock_folder)
        except OSError as problem:
            os.write(control, f"unlocked {problem.errno}\n".encode())
            return
    try:
        program = start(command, control, libc)
        # The program's pipes are its own: this process must not keep them open.
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        with contextlib.suppress(OSError):
            os.setpgid(program, program)  # the child does the same: whoever comes first
        tell(control, f"started {program}")
        wait(program, control, wakeup, grace)
        ended = os.waitid(os.P_PID, program, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(program, signal.SIGKILL)
            ended = os.waitid(os.P_PID, program, os.WEXITED | os.WNOWAIT)
        kill_all(program)
    finally:
        if locked:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(locked)  # noqa: PTH108
    if ended is not None:
        tell(control, f"ended {ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status}")


def tell(control: int, line: str) -> None:
    """Write a line to the task, which may be gone."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        os.write(control, f"{line}\n".encode())


if __name__ == "__main__":
    guard(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:])
