"""Uploads a dump."""

from __future__ import annotations

from airflow.sdk import Context

from env_sync.airflow.operators.step import StepOperator
from env_sync.pipeline.results import Dumped, Uploaded
from env_sync.pipeline.session import Session
from env_sync.pipeline.upload import upload


class UploadOperator(StepOperator):
    """Uploads the dump, then its manifest, then moves the pointer to it."""

    def work(self, session: Session, context: Context) -> Uploaded:
        """Upload."""
        return upload(session, self.result_of(context, "dump", Dumped))
