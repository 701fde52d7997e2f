"""Promotes incoming to live."""

from __future__ import annotations

from airflow.sdk import Context

from env_sync.operators.step import StepOperator
from env_sync.steps.promote import promote
from env_sync.steps.results import Promoted
from env_sync.steps.session import Session


class PromoteOperator(StepOperator):
    """Swaps incoming and live, if incoming itself proves that it was sanitised in this attempt."""

    def work(self, session: Session, context: Context) -> Promoted:
        """Swap incoming and live."""
        return promote(session)
