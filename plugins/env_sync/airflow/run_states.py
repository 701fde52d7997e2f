"""States of tasks and runs in Airflow's metadata database, for the command line: tasks ask the Task SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import func, select


class RunStates:
    """Answers as `airflow.sdk.types.RuntimeTaskInstanceProtocol` does in a task."""

    def get_task_states(
        self, *, dag_id: str, task_ids: list[str], run_ids: list[str]
    ) -> Mapping[str, Mapping[str, Any]]:
        """The states of tasks, by run and task; without those that are not there."""
        wanted = select(TaskInstance.run_id, TaskInstance.task_id, TaskInstance.state).where(
            TaskInstance.dag_id == dag_id,
            TaskInstance.task_id.in_(task_ids),
            TaskInstance.run_id.in_(run_ids),
        )
        states: dict[str, dict[str, Any]] = {}
        with create_session() as session:
            for run, task, state in session.execute(wanted):
                states.setdefault(run, {})[task] = state
        return states

    def get_dr_count(self, *, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        """How many of these runs are there, in one of these states."""
        wanted = (
            select(func.count())
            .select_from(DagRun)
            .where(DagRun.dag_id == dag_id, DagRun.run_id.in_(run_ids), DagRun.state.in_(states))
        )
        with create_session() as session:
            return session.scalar(wanted) or 0
