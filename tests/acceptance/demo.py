"""bin/demo, as a newcomer runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from sandbox.airflow import REPOSITORY

SERVING = "The UI stays up until Ctrl-C"


class Demo:
    """One that was started. A thread reads what it says, so that it never waits for its reader."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        """Start it in its folder: it goes on with what an earlier one left there."""
        self.folder = folder
        self._lines: list[str] = []
        self._serves = threading.Event()
        self._running = subprocess.Popen(
            ["bash", REPOSITORY / "bin" / "demo", *arguments],
            env={**os.environ, "ENV_SYNC_DEMO": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        """What it has said so far."""
        return "".join(self._lines)

    def wait_until_it_serves(self) -> None:
        """Wait until its UI stays up, or until it is over without that."""
        self._serves.wait()

    def stop(self) -> None:
        """Ask it to end."""
        self._running.send_signal(signal.SIGTERM)

    def end(self) -> int:
        """Wait until it is over; its exit code."""
        code = self._running.wait()
        self._reader.join()
        return code

    def _read(self) -> None:
        output: Iterator[str] = self._running.stdout or iter(())
        for line in output:
            self._lines.append(line)
            if SERVING in line:
                self._serves.set()
        self._serves.set()
