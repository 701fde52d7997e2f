"""What Airflow's context says of the run that a task belongs to, as our own values."""

from __future__ import annotations

from airflow.sdk import Context

from env_sync.core.serialization import from_plain
from env_sync.engines.base.contract import Holder
from env_sync.pipeline.results import Started
from env_sync.planning.plan import Group, Plan
from env_sync.planning.request import NIGHTLY, Request, read_request


def request_of(context: Context, plan: Plan) -> Request:
    """The request of this run. Raises InvalidRequest.

    Only the schedule makes a nightly run; whatever else makes one (a person, REST, a backfill) must
    say what it wants.
    """
    dag_run = context["dag_run"]
    if dag_run.run_type == "scheduled":
        return NIGHTLY
    conf = dict(dag_run.conf or {})
    return read_request(conf, plan)


def run_name(context: Context) -> str:
    """Names the run among all runs that may work on the same server."""
    dag_run = context["dag_run"]
    return f"{dag_run.dag_id}/{dag_run.run_id}"


def task_id(group: Group, step: str) -> str:
    """The id of the task of a group's step."""
    return f"{group.id}.{step}"


def started(context: Context, group: Group) -> Started | None:
    """What the group's start gate left; None where it let nothing through."""
    left = context["ti"].xcom_pull(task_ids=task_id(group, "start_gate"), key="started")
    return from_plain(Started, left) if left else None


def holder_of(context: Context, group: Group, attempt: str) -> Holder:
    """Who this attempt at a group is."""
    return Holder(run=run_name(context), group=group.id, attempt=attempt)
