"""The steps of the groups of clusters."""

from __future__ import annotations

from airflow.sdk import Context

from env_sync.airflow.operators.waiting import WaitingOperator
from env_sync.engines.base.contract import Filled, Snapshot, Waiting
from env_sync.pipeline.indices import fill_incoming, sanitise_indices, take_snapshot
from env_sync.pipeline.results import Sanitised
from env_sync.pipeline.session import Session


class SnapshotOperator(WaitingOperator):
    """Takes a snapshot of the indices, or takes part in one that runs already for the same sync."""

    def look(self, session: Session, context: Context) -> Snapshot | Waiting:
        """Begin it, or look how far it is."""
        return take_snapshot(session)


class FillOperator(WaitingOperator):
    """Makes incoming, hidden indices beside live, of a snapshot or of another cluster."""

    def look(self, session: Session, context: Context) -> Filled | Waiting:
        """Begin it, or look how far it is."""
        return fill_incoming(session)


class SanitiseIndicesOperator(WaitingOperator):
    """Runs the transformation on incoming and leaves the proof beside it."""

    def look(self, session: Session, context: Context) -> Sanitised | Waiting:
        """Run the transformation; where incoming is gone, have it made again first."""
        return sanitise_indices(session)
