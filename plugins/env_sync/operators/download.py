"""Downloads a dump."""

from __future__ import annotations

from airflow.sdk import Context

from env_sync.operators.step import StepOperator
from env_sync.steps.download import download
from env_sync.steps.results import Downloaded
from env_sync.steps.session import Session


class DownloadOperator(StepOperator):
    """Chooses the dump (exact database, newest or the asked timestamp), fetches it and reads it through."""

    def work(self, session: Session, context: Context) -> Downloaded:
        """Choose, fetch and read through."""
        return download(session)
