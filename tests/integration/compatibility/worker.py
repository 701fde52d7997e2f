"""Does single steps of a group with the code of one commit, each in a process of its own. A program.

    python worker.py PRODUCT DESCRIPTOR

`env_sync` is whatever PYTHONPATH has. PRODUCT is the file with the functions that know its modules; see
`product.py` for what they are. DESCRIPTOR is the number of an inherited socket of whole messages
(SOCK_SEQPACKET), each a JSON object.

A commit of the repository is tested with its own copy of this file and of `product.py`, so the messages must
mean the same for all of them. This is protocol 1:

The worker begins with {"protocol": 1, "package": "<folder of env_sync>"}. Then, for each job that it is sent:

    do        "step" (a step of a group, "report" included) or "read"
    environ   variables of the environment that are set for the job
    log       a file to which all logs and all output of the job are appended
    below     folders; what is done to files below them counts as moments

and for a step:

    environment, sync   the group: of this environment, of the sync of this name
    conf                what the run was asked for, as in the trigger form
    run, attempt        who holds the lease
    began               when the group began (ISO 8601)
    lease_lifetime      seconds after which its lease lapses, or null for what is configured
    step                its name
    results             step -> the plain value of its result, for the steps that succeeded
    states              step -> "success" or "failed", for those that were done
    errors              step -> its message, for those that failed
    at                  null, or {"moment": number, "then": "kill" or "wait"}; a step that has fewer moments
                        is killed at its end, its result lost

Its answers are, in this order:

    {"waiting": true}   where it was to wait at a moment; it goes on when it is sent any message
    {"result": plain, "error": null or message, "moments": count}
    {"exit": code}      always; -9 where it was killed: without a result, or, at its end, with null for one

The result of "report" is {"report": plain, "line": text}. "read" is given `values`, {kind: plain}, of the
kinds that are stored or passed between steps; its result has each as it is written anew after it was read:
{kind: {"plain": plain} or {"error": text}}, without kinds that this commit does not know.

A moment is something that can be seen from outside of env_sync, so that it is the same for each commit: a
request to a server right before it is sent, a call that changes a file, a line of the log, a move of the
progress. They are counted from 0 within one step.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PROTOCOL = 1
LARGEST = 1_000_000
"""Bytes of a message."""
FILE_CALLS = frozenset(
    {
        *("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "os.symlink"),
        *("os.chmod", "os.chown", "os.utime", "os.truncate", "os.setxattr"),
    }
)
LIBRARY_CALL = "ctypes.dlsym"
"""How a call of the C library is seen, which Python's own modules do not have."""


class Moments:
    """Counts the moments of one step, and at one of them kills this process, or waits."""

    def __init__(self, wanted: Mapping[str, Any] | None, wait: Callable[[], None]) -> None:
        self._wanted = wanted
        self._wait = wait
        self._lock = threading.Lock()
        self.count = 0

    @property
    def kills(self) -> bool:
        """Whether this process is not to outlive the step."""
        return self._wanted is not None and self._wanted["then"] == "kill"

    def happens(self) -> None:
        """One more."""
        with self._lock:
            number = self.count
            self.count += 1
        if self._wanted is None or number < self._wanted["moment"]:
            return
        if self.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        # Only the step itself waits: what keeps its lease alive must go on.
        if threading.current_thread() is threading.main_thread():
            self._wanted = None
            self._wait()

    # As a progress of env_sync

    def start(self, what: str, total: int | None, unit: str) -> None:
        """Work began."""
        self.happens()

    def advance(self, done: int) -> None:
        """Work went on."""
        self.happens()

    def finish(self) -> None:
        """Work ended."""
        self.happens()


class Watch(logging.Handler):
    """Tells the moments of this process, whoever makes them."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.moments: Moments | None = None
        self.below: tuple[str, ...] = ()

    def emit(self, record: logging.LogRecord) -> None:
        """A line of the log."""
        self.happens()

    def happens(self) -> None:
        """Tell it to the step that is done, if one is."""
        if self.moments is not None:
            self.moments.happens()

    def before(self, owner: type, name: str) -> None:
        """Have each call of a method be a moment, right before it."""
        method = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            self.happens()
            return method(*arguments, **named)

        setattr(owner, name, watched)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """See a call that changes a file below the folders that count."""
        if self.moments is None:
            return
        if event == LIBRARY_CALL or (event in FILE_CALLS and self._counts(arguments[0])):
            self.happens()

    def _counts(self, path: object) -> bool:
        try:
            name = os.fsdecode(path)  # type: ignore[arg-type]
        except TypeError:
            return False  # a descriptor
        # One without a folder is beside an open one.
        return not name.startswith("/") or name.startswith(self.below)


def watch_drivers(watch: Watch) -> None:
    """Let everything that goes to a server be a moment."""
    import botocore.httpsession
    import elastic_transport
    import psycopg
    import pymongo.monitoring
    import pymysql.connections

    watch.before(psycopg.Connection, "wait")
    watch.before(pymysql.connections.Connection, "_execute_command")
    watch.before(elastic_transport.Transport, "perform_request")
    watch.before(botocore.httpsession.URLLib3Session, "send")

    class Commands(pymongo.monitoring.CommandListener):
        def started(self, event: object) -> None:
            watch.happens()

        def succeeded(self, event: object) -> None:
            pass

        def failed(self, event: object) -> None:
            pass

    pymongo.monitoring.register(Commands())
    sys.addaudithook(watch.audit)


def do(job: Mapping[str, Any], product: Any, watch: Watch, messages: socket.socket) -> None:
    """Do one job and send its result."""
    if job["do"] != "step":
        result = product.read_all(job["values"])
        messages.send(json.dumps({"result": result, "error": None, "moments": 0}).encode())
        return

    def wait() -> None:
        messages.send(b'{"waiting": true}')
        if not messages.recv(LARGEST):
            os._exit(1)  # whoever let it wait is gone

    moments = Moments(job["at"], wait)
    watch.below = tuple(f"{folder}/" for folder in job["below"])
    result = error = None
    watch.moments = moments
    try:
        result = product.do(job, moments)
    except Exception as problem:  # noqa: BLE001 - told as a task's error is
        error = product.described(problem)
    watch.moments = None
    if moments.kills:
        result = error = None
    messages.send(json.dumps({"result": result, "error": error, "moments": moments.count}).encode())
    if moments.kills:
        os.kill(os.getpid(), signal.SIGKILL)


def child(job: Mapping[str, Any], product: Any, watch: Watch, messages: socket.socket) -> None:
    """Do one job in the process that was made for it; everything that it says goes to its log."""
    os.environ.update(job["environ"])
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    handler = logging.StreamHandler(os.fdopen(log, "a"))
    logging.getLogger().addHandler(handler)
    ours = logging.getLogger("env_sync")
    ours.setLevel(logging.DEBUG)
    ours.addHandler(watch)
    do(job, product, watch, messages)


def serve(product: Any, messages: socket.socket) -> None:
    """Do jobs until nobody is there to send any."""
    watch = Watch()
    watch_drivers(watch)
    # What is there now stays: no process that is made of this one looks through it for garbage.
    gc.freeze()
    gc.disable()
    messages.send(json.dumps({"protocol": PROTOCOL, "package": product.package()}).encode())
    while message := messages.recv(LARGEST):
        job = json.loads(message)
        product.prepare(job)
        pid = os.fork()
        if pid == 0:
            try:
                child(job, product, watch, messages)
            except BaseException:
                logging.exception("The worker failed")
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        messages.send(json.dumps({"exit": os.waitstatus_to_exitcode(status)}).encode())


def load(file: Path) -> Any:
    """The module of a file, whatever it is called."""
    specification = importlib.util.spec_from_file_location("product", file)
    if specification is None or specification.loader is None:
        raise ImportError(f"{file} is no module")
    module = importlib.util.module_from_spec(specification)
    # attrs looks a class's module up by its name.
    sys.modules["product"] = module
    specification.loader.exec_module(module)
    return module


if __name__ == "__main__":
    serve(load(Path(sys.argv[1])), socket.socket(fileno=int(sys.argv[2])))
