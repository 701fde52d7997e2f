"""What Prometheus scrapes: /env-sync/metrics, with a token of Airflow's as for the API."""

from __future__ import annotations

import datetime as dt

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from env_sync.alerts.metrics import status_metrics
from env_sync.board.access import readable_environments
from env_sync.board.overview import read_statuses

metrics = APIRouter()


@metrics.get("/metrics", tags=["status"], response_class=Response)
def scrape(session: SessionDep, user: GetUserDep) -> Response:
    """The metrics of every environment that you may see, in Prometheus' text format."""
    statuses = read_statuses(session, readable_environments(user), dt.datetime.now(dt.UTC))
    return Response(
        status_metrics(statuses), media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"}
    )
