"""Running outside programs: what comes back, and that nothing is ever left running."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from env_sync.core import command
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import Cancelled, ToolFailed, ToolMissing
from tests.lacking import lacks

LOG = logging.getLogger(__name__)

STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pids = [os.getpid()]
for session in (False, True):
    pid = os.fork()
    if pid == 0:
        if session:
            os.setsid()
        if os.fork() == 0:
            pass
        break
    time.sleep(0)
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
while True:
    time.sleep(60)
"""
"""Ignores SIGTERM, as do two children and their two children; one half is in a session of its own."""
FAMILY = 5


def run(*argv: str | Path, **options: Any) -> command.Result:
    return command.run(argv, cancellation=options.pop("cancellation", Cancellation()), log=LOG, **options)


def python(code: str, *arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-c", textwrap.dedent(code), *arguments]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def pids_in(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def threaded(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def body() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    return thread, errors


def test_output_and_exit_code_come_back() -> None:
    out: list[str] = []
    said: list[str] = []
    code = "import sys; print('one\\ntwo'); print('three', end='', file=sys.stderr)"
    result = run(*python(code), stdout=out.append, on_line=said.append)
    assert (out, said, result.exit_code, result.tail) == (["one", "two"], ["three"], 0, ("three",))
    assert result.program == Path(sys.executable).name


def test_files_are_stdin_and_stdout(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * 300_000)
    with (tmp_path / "in").open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        run("cat", stdin=stdin, stdout=stdout)
    assert (tmp_path / "out").stat().st_size == 300_000


def test_without_stdin_a_program_reads_nothing() -> None:
    out: list[str] = []
    run("cat", stdout=out.append)
    assert out == []


@pytest.mark.parametrize("code", [1, 3, 255])
def test_a_failure_tells_its_exit_code_and_last_messages(code: int) -> None:
    script = f"import sys; [print('line', n, file=sys.stderr) for n in range(100)]; sys.exit({code})"
    with pytest.raises(ToolFailed) as failed:
        run(*python(script, "an argument"))
    message = str(failed.value)
    assert f"failed with exit code {code}" in message
    assert "line 99" in message
    assert "line 60" in message
    assert "line 59" not in message
    assert "an argument" not in message


def test_accepted_exit_codes_and_unchecked_ones_do_not_raise() -> None:
    assert run(*python("raise SystemExit(3)"), accepted=(0, 3)).exit_code == 3
    assert run(*python("raise SystemExit(4)"), check=False).exit_code == 4


def test_a_signal_is_named() -> None:
    with pytest.raises(ToolFailed, match="was ended by SIGSEGV"):
        run(*python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"))
    with pytest.raises(ToolFailed, match=r"SIGKILL.*out of memory"):
        run(*python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))


def test_lines_are_redacted_in_the_error_but_not_for_the_callback() -> None:
    raw: list[str] = []
    code = "import sys; print('keep\\nsecret\\ndrop', file=sys.stderr); sys.exit(1)"

    def redact(line: str) -> str | None:
        return None if line == "drop" else line.replace("secret", "***")

    with pytest.raises(ToolFailed) as failed:
        run(*python(code), on_line=raw.append, redact=redact)
    assert str(failed.value).endswith("keep\n***")
    assert raw == ["keep", "secret", "drop"]


def test_much_output_bad_bytes_and_endless_lines_are_no_problem() -> None:
    count = 0
    longest = 0

    def hear(line: str) -> None:
        nonlocal count, longest
        count += 1
        longest = max(longest, len(line))

    code = """
        import sys
        out = sys.stderr.buffer
        for n in range(50_000):
            out.write(b"\\xff\\xfe caf\\xe9 %d\\n" % n)
        out.write(b"y" * 3_000_000 + b"\\n")
        out.write("é".encode())
    """
    result = run(*python(code), on_line=hear)
    assert count == 50_002
    assert longest == command.LONGEST_LINE
    assert result.tail[0].startswith("\ufffd\ufffd caf\ufffd")
    assert result.tail[-1] == "é"


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ToolMissing, match="no program env-sync-no-such-tool"):
        run("env-sync-no-such-tool", "x")
    with pytest.raises(ToolMissing):
        run("/no/such/tool")


def test_a_program_that_cannot_be_executed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x00not a program")
    broken.chmod(0o755)
    monkeypatch.setattr(command, "_low_priority", list)
    with pytest.raises(ToolFailed, match="could not be started: Exec format error"):
        run(broken)


def test_environment_is_minimal_and_signals_are_as_at_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    out: list[str] = []
    code = """
        import os, signal
        print(sorted(os.environ))
        print(os.environ["LC_ALL"], os.environ["PGUSER"])
        print([n for n in range(1, 32) if signal.getsignal(n) is signal.SIG_IGN])
        print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        print(sorted(int(f) for f in os.listdir("/proc/self/fd"))[:-1])
    """
    old = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        run(*python(code), env={"PGUSER": "me"}, stdout=out.append)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
        signal.signal(signal.SIGUSR1, old)
    names = {name for name in ("HOME", "TZ") if name in os.environ} | {"LANG", "LC_ALL", "PATH", "PGUSER"}
    assert set(re.findall(r"'(\w+)'", out[0])) - {"LC_CTYPE"} == names
    assert out[1] == "C me"
    # Python itself ignores SIGPIPE and SIGXFSZ.
    assert out[2] == str([int(signal.SIGPIPE), int(signal.SIGXFSZ)])
    assert out[3] == "set()"
    assert out[4] == "[0, 1, 2]"


def test_cancel_ends_a_willing_program_at_once() -> None:
    cancellation = Cancellation()
    said: list[str] = []
    code = """
        import os, signal, sys, time
        def end(*_):
            os.write(2, b"asked")
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        print("ready", file=sys.stderr, flush=True)
        time.sleep(60)
    """

    def hear(line: str) -> None:
        said.append(line)
        if line == "ready":
            cancellation.cancel()
            cancellation.cancel()

    with pytest.raises(Cancelled):
        run(*python(code), on_line=hear, cancellation=cancellation)
    assert said == ["ready", "asked"]


def test_cancelled_before_it_starts_nothing_runs(tmp_path: Path) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        run("touch", tmp_path / "ran", cancellation=cancellation)
    assert not (tmp_path / "ran").exists()


def test_cancel_from_another_thread_leaves_nothing_of_a_stubborn_family(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    cancellation = Cancellation()
    thread, errors = threaded(lambda: run(*python(STUBBORN, file), cancellation=cancellation))
    wait_until(lambda: len(pids_in(file)) == FAMILY)
    assert all(alive(pid) for pid in pids_in(file))
    cancellation.cancel()
    thread.join()
    assert [type(error) for error in errors] == [Cancelled]
    assert [pid for pid in pids_in(file) if alive(pid)] == []


def test_cancel_by_a_signal_handler_in_the_main_thread(tmp_path: Path) -> None:
    cancellation = Cancellation()
    old = signal.signal(signal.SIGUSR1, lambda *_: cancellation.cancel())
    code = "import os, signal, sys, time; os.kill(int(sys.argv[1]), signal.SIGUSR1); time.sleep(60)"
    try:
        with pytest.raises(Cancelled):
            run(*python(code, str(os.getpid())), cancellation=cancellation)
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_an_error_of_a_callback_or_a_signal_handler_ends_the_program(tmp_path: Path) -> None:
    """As Airflow's execution timeout does: it raises out of a signal handler."""
    file = tmp_path / "pids"

    def timeout(*_: object) -> None:
        raise TimeoutError("the step took too long")

    def tick() -> None:
        if len(pids_in(file)) == FAMILY:
            os.kill(os.getpid(), signal.SIGUSR1)

    old = signal.signal(signal.SIGUSR1, timeout)
    try:
        with pytest.raises(TimeoutError):
            run(*python(STUBBORN, file), on_tick=tick)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert len(pids_in(file)) == FAMILY
    assert [pid for pid in pids_in(file) if alive(pid)] == []


def test_stragglers_of_a_program_that_ended_are_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = """
        import os, sys, time
        ready, done = os.pipe()
        if os.fork() == 0:
            os.setsid()
            with open(sys.argv[1], "w") as file:
                file.write(str(os.getpid()))
            os.write(done, b"x")
            time.sleep(60)
        os.read(ready, 1)
    """
    assert run(*python(code, file)).exit_code == 0
    [pid] = pids_in(file)
    assert not alive(pid)


TASK = """
import logging, sys
from env_sync.core import command
from env_sync.core.cancellation import Cancellation
argv = [sys.executable, "-c", sys.argv[1], sys.argv[2]]
command.run(argv, cancellation=Cancellation(), log=logging.getLogger())
"""


def start_task(file: Path, **environment: str) -> subprocess.Popen[bytes]:
    plugins = str(Path(command.__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", TASK, STUBBORN, str(file)],
        env={**os.environ, "PYTHONPATH": plugins, **environment},
    )


def test_nothing_outlives_a_task_that_was_killed(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    locks = tmp_path / "locks"
    locks.mkdir()
    task = start_task(file, ENV_SYNC_REBOOT_LOCK_FOLDER=str(locks))
    wait_until(lambda: len(pids_in(file)) == FAMILY)
    [lock] = locks.iterdir()
    guard = int(lock.name.removeprefix("env_sync-"))
    assert alive(guard)
    task.kill()
    task.wait()
    wait_until(lambda: not alive(guard))
    assert [pid for pid in pids_in(file) if alive(pid)] == []
    assert list(locks.iterdir()) == []


def test_a_guard_does_not_heed_the_signals_of_its_task(tmp_path: Path) -> None:
    """Whoever signals every process of a task must not take its guard away."""
    file = tmp_path / "pids"
    locks = tmp_path / "locks"
    locks.mkdir()
    task = start_task(file, ENV_SYNC_REBOOT_LOCK_FOLDER=str(locks))
    wait_until(lambda: len(pids_in(file)) == FAMILY)
    [lock] = locks.iterdir()
    guard = int(lock.name.removeprefix("env_sync-"))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(guard, number)
    task.terminate()
    task.wait()
    wait_until(lambda: not alive(guard))
    assert [pid for pid in pids_in(file) if alive(pid)] == []


def test_a_guard_that_was_killed_is_an_error_and_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(command.LOCK_FOLDER, str(tmp_path))
    pids: list[int] = []

    def hear(line: str) -> None:
        pids.append(int(line))
        os.kill(int(next(tmp_path.iterdir()).name.removeprefix("env_sync-")), signal.SIGKILL)

    code = "import os, sys, time; print(os.getpid(), file=sys.stderr, flush=True); time.sleep(60)"
    with pytest.raises(ToolFailed, match="the process that guards it was"):
        run(*python(code), on_line=hear)
    wait_until(lambda: not alive(pids[0]))
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_is_there_while_the_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(command.LOCK_FOLDER, str(tmp_path))
    seen: list[str] = []
    run("ls", tmp_path, stdout=seen.append)
    assert re.fullmatch(r"env_sync-\d+", seen[0])
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_a_crash_left_goes_and_a_strangers_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(command.LOCK_FOLDER, str(tmp_path))
    gone = subprocess.Popen(["true"])
    gone.wait()
    ours = tmp_path / f"env_sync-{gone.pid}"
    seen: list[str] = []
    run("cat", "-", stdout=seen.append)
    run("sh", "-c", f"cat {tmp_path}/env_sync-*", stdout=seen.append)
    ours.write_text(seen[0])
    other = tmp_path / "env_sync-4194303"
    other.write_text("another-host pid:[1]\n")
    run("true")
    assert list(tmp_path.iterdir()) == [other]


def test_a_lock_folder_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(command.LOCK_FOLDER, "/no/such/folder")
    with pytest.raises(ToolFailed, match="ENV_SYNC_REBOOT_LOCK_FOLDER names, /no/such/folder"):
        run("true")


def test_disk_priority_is_low_where_it_can_be() -> None:
    out: list[str] = []
    run("sh", "-c", "command -v ionice && ionice -p $$", stdout=out.append, check=False)
    if not out:
        lacks("ionice is not installed")
    assert out[-1] == "best-effort: prio 7"


def test_two_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    """The first one's end must not wait for a descriptor that the second one holds."""
    second = Cancellation()
    thread, errors = threaded(lambda: run("sleep", "60", cancellation=second))
    for _ in range(20):
        run("true")
    second.cancel()
    thread.join()
    assert [type(error) for error in errors] == [Cancelled]


def test_no_descriptor_is_left_open() -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    for _ in range(5):
        run("true", stdout=lambda line: None)
        with pytest.raises(ToolFailed):
            run("false")
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208


def test_a_program_and_its_guard_leave_no_core_dump() -> None:
    """Nor can the program allow itself one: the limit is also the highest that it may set."""
    lines: list[str] = []
    script = """
        import os
        from pathlib import Path
        for pid in (os.getpid(), os.getppid()):
            print(Path(f"/proc/{pid}/limits").read_text())
        """
    run(*python(script), stdout=lines.append)
    limits = [line.split()[4:6] for line in lines if line.startswith("Max core file size")]
    assert limits == [["0", "0"], ["0", "0"]]
