"""Downloads a dump."""

from __future__ import annotations

from airflow.sdk import Context

from env_sync.airflow.operators.step import StepOperator
from env_sync.pipeline.download import download
from env_sync.pipeline.results import Downloaded
from env_sync.pipeline.session import Session


class DownloadOperator(StepOperator):
    """Chooses the dump (exact database, newest or the asked timestamp), fetches it and reads it through."""

    def work(self, session: Session, context: Context) -> Downloaded:
        """Choose, fetch and read through."""
        return download(session)
