"""What a report task keeps over its tries: the report that it sends, and who took it.

XComs of a task are gone when its next try starts; its state store is not:
https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/task-and-asset-store.html
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from typing import Any, Self

from airflow.sdk import Context
from attrs import define, field, frozen

from env_sync.core.serialization import from_plain, to_plain
from env_sync.domain.monitors import Monitor
from env_sync.domain.report import Report

KEY = "report"
KEPT_FOR = dt.timedelta(days=2)
"""Longer than a task is tried again."""


@frozen(kw_only=True)
class _Kept:
    round: int
    """Which run of the task it is of: tries of one run share it, and one that was cleared has another."""
    report: Report
    taken: Sequence[str]


@define(kw_only=True)
class Outbox:
    """The report that is being sent, and who took it. A store that fails is warned of, and never raises."""

    _store: Any
    _round: int
    _log: logging.Logger
    report: Report | None = None
    """What an earlier try of this run of the task made; None where none came that far."""
    _taken: list[str] = field(factory=list)

    @classmethod
    def open(cls, context: Context, log: Any) -> Self:
        """The outbox of a task."""
        # Clearing a task raises its `max_tries`; trying it again does not.
        outbox = cls(store=context["task_state_store"], round=context["ti"].max_tries or 0, log=log)
        try:
            plain = outbox._store.get(KEY)
            kept = from_plain(_Kept, plain) if plain else None
        except Exception as problem:  # noqa: BLE001 - without it a report may come twice, and never not at all
            outbox._warn(problem)
            return outbox
        if kept is not None and kept.round == outbox._round:
            outbox.report, outbox._taken = kept.report, list(kept.taken)
        return outbox

    def keep(self, report: Report) -> None:
        """Keep the report that is about to be sent."""
        self.report = report
        self._write()

    def take(self, monitor: Monitor) -> None:
        """Keep that a monitor took it."""
        self._taken.append(repr(monitor))
        self._write()

    def taken_by(self, monitor: Monitor) -> bool:
        """Whether a monitor took it."""
        return repr(monitor) in self._taken

    def _write(self) -> None:
        if self.report is None:
            return
        kept = _Kept(round=self._round, report=self.report, taken=tuple(self._taken))
        try:
            self._store.set(KEY, to_plain(kept), retention=KEPT_FOR)
        except Exception as problem:  # noqa: BLE001 - the same
            self._warn(problem)

    def _warn(self, problem: Exception) -> None:
        self._log.warning(
            "Airflow's task state store failed (%s): if this task is killed and retried, monitors may be "
            "notified twice",
            type(problem).__name__,
        )
