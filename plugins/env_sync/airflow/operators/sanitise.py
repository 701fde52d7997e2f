"""Sanitises incoming."""

from __future__ import annotations

from airflow.sdk import Context

from env_sync.airflow.operators.step import StepOperator
from env_sync.pipeline.results import Downloaded, Restored, Sanitised
from env_sync.pipeline.sanitise import sanitise
from env_sync.pipeline.session import Session


class SanitiseOperator(StepOperator):
    """Runs the transformation on incoming, whole or not at all, and leaves the proof in incoming itself."""

    def work(self, session: Session, context: Context) -> Sanitised:
        """Run the transformation."""
        downloaded = self.result_of(context, "download", Downloaded)
        return sanitise(session, downloaded, self.left_by(context, "restore", Restored))
