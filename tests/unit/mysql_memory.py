"""Sessions on MySQL 8 and 9 whose tables are in memory, with rows as the server's manual says they look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from env_sync.engines.mysql.session import Session
from env_sync.engines.mysql.version import read_version

OURS = "env_sync@%"
Answers = Mapping[str, Sequence[tuple[Any, ...]]]


class MemorySession:
    """Each statement gives the rows of the first text that it holds; a value is that of a setting."""

    def __init__(
        self,
        version: str,
        answers: Answers,
        settings: Mapping[str, object],
        accepted: Mapping[str, Sequence[str]],
    ) -> None:
        self.version = read_version(version)
        self._answers = answers
        self._settings = settings
        self._accepted = accepted

    def execute(self, statement: str, _: object = None) -> list[tuple[Any, ...]]:
        return next((list(rows) for text, rows in self._answers.items() if text in statement), [])

    def accepted_names(self, key: str) -> frozenset[str]:
        return frozenset(self._accepted.get(key, ()))

    def value(self, statement: str, _: object = None) -> object:
        if "CURRENT_USER" in statement:
            return OURS
        return next((value for name, value in self._settings.items() if name in statement), "")


def session(
    answers: Answers | None = None,
    version: str = "8.4.0",
    settings: Mapping[str, object] | None = None,
    accepted: Mapping[str, Sequence[str]] | None = None,
) -> Session:
    """One that answers so, of a connection whose extra accepts these names."""
    return cast(Session, MemorySession(version, answers or {}, settings or {}, accepted or {}))
