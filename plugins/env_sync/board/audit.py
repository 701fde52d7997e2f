"""What people did on the board, in Airflow's own audit log (Browse, Audit Log)."""

from __future__ import annotations

import json

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.models.log import Log
from sqlalchemy.orm import Session

from env_sync.board.nights import dag_id


def write_audit(
    session: Session,
    user: BaseUser,
    action: str,
    environment: str,
    *,
    run: str | None = None,
    **details: object,
) -> None:
    """Write who did what, in the transaction that does it: neither stands without the other."""
    name = user.get_name()
    session.add(
        Log(
            event=f"env_sync_{action}",
            owner=name,
            owner_display_name=name,
            dag_id=dag_id(environment),
            run_id=run,
            extra=json.dumps({name: value for name, value in details.items() if value not in (None, "", [])}),
        )
    )
