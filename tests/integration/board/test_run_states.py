"""What the command line asks Airflow's metadata database before it removes what lies on a disk."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from env_sync.airflow import run_states
from env_sync.airflow.run_states import RunStates
from env_sync.planning.installation import HIERADATA, TRANSFORMATIONS, read_plan
from tests.integration.board.conftest import History

DAG = "env_sync_integration"


@pytest.fixture(autouse=True)
def _this_database(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HIERADATA, str(history.folder))
    monkeypatch.setenv(TRANSFORMATIONS, str(history.folder))
    monkeypatch.setattr(run_states, "create_session", lambda: Session(history.engine))


def test_states_and_counts_are_those_of_the_tables() -> None:
    """The last night is running, and those before it are over."""
    states, nights = RunStates(), [f"scheduled__2026-11-{day}T22:00:00+00:00" for day in (23, 24)]
    task = f"{read_plan('integration').groups[0].id}.report"
    found = states.get_task_states(dag_id=DAG, task_ids=[task, "no.report"], run_ids=[*nights, "no run"])
    assert found[nights[0]].keys() == {task}
    assert found[nights[0]][task] in ("success", "failed")
    assert "no run" not in found
    for runs, some, count in (
        (nights, ["queued", "running"], 1),
        (nights[:1], ["queued", "running"], 0),
        (nights[:1], ["success"], 1),
        (["no run"], ["queued", "running", "success", "failed"], 0),
    ):
        assert states.get_dr_count(dag_id=DAG, run_ids=runs, states=some) == count
    assert states.get_dr_count(dag_id="no dag", run_ids=nights, states=["running"]) == 0
