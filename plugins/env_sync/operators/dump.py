"""Dumps live."""

from __future__ import annotations

from airflow.sdk import Context

from env_sync.operators.step import StepOperator
from env_sync.steps.dump import dump
from env_sync.steps.results import Dumped
from env_sync.steps.session import Session


class DumpOperator(StepOperator):
    """Dumps live into the work folder, whole and consistent, with the manifest of its life story."""

    def work(self, session: Session, context: Context) -> Dumped:
        """Dump live."""
        return dump(session)
