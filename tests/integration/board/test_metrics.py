"""The metrics of many syncs and nights, out of Airflow's tables."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.orm import Session

from env_sync.alerts.metrics import status_metrics
from env_sync.board.overview import read_statuses
from tests.integration.board.conftest import ENVIRONMENTS, NOW, History


def test_every_sync_has_its_metrics_and_every_environment(session: Session, history: History) -> None:
    text = status_metrics(read_statuses(session, list(ENVIRONMENTS), NOW)).decode()
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    assert len(families["env_sync_fresh"]) == history.syncs
    assert len(families["env_sync_last_result"]) == history.syncs
    assert {sample.labels["environment"] for sample in families["env_sync_replacing"]} == set(ENVIRONMENTS)
    # The last night is running.
    assert any(sample.value for sample in families["env_sync_replacing"])
