"""Promotes incoming to live."""

from __future__ import annotations

from airflow.sdk import Context

from env_sync.airflow.operators.step import StepOperator
from env_sync.pipeline.promote import make_live
from env_sync.pipeline.results import LiveAgain, Promoted, Sanitised
from env_sync.pipeline.session import Session


class PromoteOperator(StepOperator):
    """Swaps incoming and live, if incoming itself proves that it was sanitised in this attempt.

    In a run that makes previous live again it swaps those two.
    """

    def work(self, session: Session, context: Context) -> Promoted | LiveAgain:
        """Swap incoming, or previous, and live."""
        return make_live(session, self.left_by(context, "sanitise", Sanitised))
