"""Mirrors a bucket."""

from __future__ import annotations

from airflow.sdk import Context

from env_sync.airflow.operators.step import StepOperator
from env_sync.pipeline.results import BucketSynced
from env_sync.pipeline.session import Session


class BucketSyncOperator(StepOperator):
    """Copies what differs, and deletes what the source lacks, where the sync is to."""

    def work(self, session: Session, context: Context) -> BucketSynced:
        """Mirror."""
        # boto3 is imported by this task, not by every one that reads the DAG file.
        from env_sync.pipeline.bucket_sync import bucket_sync

        return bucket_sync(session)
