"""Dumps live."""

from __future__ import annotations

from airflow.sdk import Context

from env_sync.airflow.operators.step import StepOperator
from env_sync.pipeline.dump import dump
from env_sync.pipeline.results import Dumped
from env_sync.pipeline.session import Session


class DumpOperator(StepOperator):
    """Dumps live into the work folder, whole and consistent, with the manifest of its life story."""

    def work(self, session: Session, context: Context) -> Dumped:
        """Dump live."""
        return dump(session)
