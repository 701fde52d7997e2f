"""Restores a dump into incoming."""

from __future__ import annotations

from airflow.sdk import Context

from env_sync.airflow.operators.step import StepOperator
from env_sync.pipeline.restore import restore
from env_sync.pipeline.results import Downloaded, Restored
from env_sync.pipeline.session import Session


class RestoreOperator(StepOperator):
    """Restores the dump into incoming, which only the sync's own role can connect to; live is not touched."""

    def work(self, session: Session, context: Context) -> Restored:
        """Restore into incoming."""
        return restore(session, self.result_of(context, "download", Downloaded))
