"""What the servers of the sandbox have in common: one process, with its files in one folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from sandbox.process import Process


class Server(ABC):
    """A server on this machine; as a context it runs for the length of the block."""

    host = "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        """`folder` is the server's own, made by the first start; its log is in there."""
        self.folder = folder.resolve()
        self.log = self.folder / "server.log"
        self._process: Process | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id; 0 before the first start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.running

    @abstractmethod
    def start(self) -> Self:
        """Start it, and wait until it answers."""

    def stop(self) -> None:
        """End it in order, with the sessions that are open."""
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        """Kill it as a crash would; the next start recovers."""
        if self._process:
            self._process.kill()
