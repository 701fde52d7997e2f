"""Outside programs: each by its name and arguments, and the variables that its client library reads."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conformance.drivers.watching import Driver, Session

NAME = "env_sync programs"
VARIABLES = ("PG", "MYSQL")
"""How the variables begin that are told."""
SECRET = ("PASSWORD", "PWD")
GUARD, OF_THE_GUARD = "guard.py", 3
"""Env Sync runs each program below a guard; how many arguments are the guard's own."""
IDLY = ("ionice", "-c2", "-n7")
"""Stands before a program where the machine has it."""


class Programs(Driver):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self._session = Session(NAME)

    def patch(self, patched: pytest.MonkeyPatch) -> None:
        """See Driver."""
        start = subprocess.Popen.__init__

        def started(self_: Any, args: Any, *arguments: Any, **named: Any) -> None:
            with self.sending(self._session, _text(args, named.get("env"))):
                start(self_, args, *arguments, **named)

        patched.setattr(subprocess.Popen, "__init__", started)


def _text(args: str | Sequence[Any], variables: Mapping[str, str] | None) -> str:
    if isinstance(args, str):
        return args
    command = [str(each) for each in args]
    guard = next((place for place, each in enumerate(command) if Path(each).name == GUARD), None)
    if guard is not None:
        command = command[guard + OF_THE_GUARD + 1 :]
    if [Path(each).name for each in command[: len(IDLY)]] == list(IDLY):
        command = command[len(IDLY) :]
    told = [
        f"{name}={'<secret>' if name.endswith(SECRET) else value!r}"
        for name, value in sorted((variables or {}).items())
        if name.startswith(VARIABLES)
    ]
    below = ["guarded"] if guard is not None else []
    return " ".join([*below, Path(command[0]).name, *command[1:], *told])
