"""The code of one commit at work: a process that does single steps with it, and tells how they went."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from tests.integration.compatibility.bases import Sources

PROTOCOL = 1
LARGEST = 1_000_000
"""Bytes of a message."""
CONFIGURATION = ("AIRFLOW_CONN_", "AIRFLOW_VAR_", "ENV_SYNC_")
"""How variables of the environment begin that each job brings itself."""
OWN = ("ENV_SYNC_TEST", "ENV_SYNC_CACHE")
"""Those of them that configure the tests."""
COVERAGE = "COVERAGE_"
"""How variables begin by which a process would be measured; what is forked and killed tells nothing."""


class WorkerError(Exception):
    """A worker did not do what the protocol says."""


@frozen
class Done:
    """How a job ended. `moments` is None where it was killed before its end."""

    result: Any
    error: str | None
    moments: int | None
    killed: bool


@frozen
class _Worker:
    """A worker that runs."""

    process: subprocess.Popen[bytes]
    messages: socket.socket

    def send(self, message: Mapping[str, Any]) -> None:
        self.messages.send(json.dumps(message).encode())

    def receive(self) -> Mapping[str, Any]:
        message = self.messages.recv(LARGEST)
        if not message:
            raise WorkerError(f"it is gone, with exit code {self.process.wait()}")
        received: Mapping[str, Any] = json.loads(message)
        return received

    def end(self) -> None:
        """End it, and whatever it is doing."""
        self.messages.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@define
class Code:
    """The code of one commit, in a worker of its own; after a WorkerError a new one is started."""

    _sources: Sources
    _log: Path
    """Gets what the worker says beside its jobs."""
    _worker: _Worker | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """Names the commit."""
        return self._sources.name

    def do(self, job: Mapping[str, Any]) -> Done:
        """Do one job to its end."""
        with self._at_work() as worker:
            worker.send(job)
            return self._end(worker)

    @contextlib.contextmanager
    def waiting(self, job: Mapping[str, Any], ended: list[Done]) -> Iterator[None]:
        """Do one job, which waits at its moment for the length of the block; `ended` gets how it ended."""
        with self._at_work() as worker:
            worker.send(job)
            if (said := worker.receive()) != {"waiting": True}:
                raise WorkerError(f"{self.name} did not wait: {said}")
            yield
            worker.send({})
            ended.append(self._end(worker))

    def stop(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[_Worker]:
        """The worker; where the block does not come to its end, nobody knows what it would say next."""
        if self._worker is None:
            self._worker = _start(self._sources, self._log)
        try:
            yield self._worker
        except BaseException:
            self.stop()
            raise

    def _end(self, worker: _Worker) -> Done:
        said: Mapping[str, Any] = {}
        while "exit" not in (message := worker.receive()):
            said = message
        killed = message["exit"] == -signal.SIGKILL
        if not killed and (message["exit"] != 0 or not said):
            raise WorkerError(f"{self.name} failed with {message['exit']}: see the log of the job")
        return Done(said.get("result"), said.get("error"), said.get("moments"), killed)


def _start(sources: Sources, log: Path) -> _Worker:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environ = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(OWN) or not name.startswith((*CONFIGURATION, COVERAGE))
    }
    with there, log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", sources.worker, sources.product, str(there.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**environ, "PYTHONPATH": str(sources.plugins)},
            pass_fds=[there.fileno()],
            start_new_session=True,
        )
    worker = _Worker(process, here)
    expected = {"protocol": PROTOCOL, "package": str(sources.plugins / "env_sync")}
    try:
        hello = worker.receive()
    except WorkerError:
        raise WorkerError(f"{sources.name} did not start:\n{log.read_text()[-3000:]}") from None
    if hello != expected:
        worker.end()
        raise WorkerError(f"{sources.name} is not the code that it is to be: {hello}, not {expected}")
    return worker
