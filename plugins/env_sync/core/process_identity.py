"""Which process this is, told so that another one on the same machine can see whether it still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from attrs import frozen

START_TIME = 19
"""Of the fields of /proc/<pid>/stat that follow the program's name; see proc(5)."""


@frozen(kw_only=True)
class Process:
    """One process. `started` is in clock ticks since the machine's start; "" where nobody tells."""

    host: str
    pid: int
    namespace: str
    """Within which the pid counts: containers of one host may have the same."""
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def is_known_to_be_dead(self) -> bool:
        """Whether it ran where this process runs, and is gone; False where that cannot be told."""
        ours = this_process()
        if not self.namespace or (self.host, self.namespace) != (ours.host, ours.namespace):
            return False
        return _started(self.pid) != self.started


def this_process() -> Process:
    """The one that asks."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    pid = os.getpid()
    return Process(host=socket.gethostname(), pid=pid, namespace=namespace, started=_started(pid))


def _started(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[START_TIME]
