from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable, GetVariableKeys, VariableKeysResult
from attrs import define, field

from env_sync.airflow.connections import server_connection, server_connection_ids
from env_sync.airflow.variables import stored_pause
from env_sync.core.errors import AirflowUnreachable, ConnectionMissing
from env_sync.domain.pause import pause_key
from tests.unit.values import a_sync

BROKEN = ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 502})
NOT_THERE = ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND, detail={})
KEY = pause_key("integration", "pull_signon")


@define
class Supervisor:
    """What a task asks Airflow through; it has no connection and gives no Variable."""

    keys: list[str] | None = None
    """Of Variables; None where Airflow does not answer."""
    asked: list[str] = field(factory=list)

    def send(self, message: Any) -> Any:
        self.asked.append(type(message).__name__)
        if self.keys is None:
            return BROKEN
        if isinstance(message, GetVariableKeys):
            return VariableKeysResult(keys=self.keys, total_entries=len(self.keys))
        return NOT_THERE if isinstance(message, GetVariable) else BROKEN


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


def test_a_pause_that_cannot_be_asked_for_is_no_permission_to_go_on(supervisor: Supervisor) -> None:
    with pytest.raises(AirflowUnreachable, match="api-server") as refused:
        stored_pause("integration", "pull_signon")
    assert refused.value.passing
    supervisor.keys = []
    assert stored_pause("integration", "pull_signon") is None
    # It failed once, and answers by now.
    supervisor.keys = [KEY]
    with pytest.raises(AirflowUnreachable, match="did not give it"):
        stored_pause("integration", "pull_signon")


def test_a_connection_that_cannot_be_asked_for_is_not_called_missing(supervisor: Supervisor) -> None:
    with pytest.raises(AirflowUnreachable, match="api-server"):
        server_connection(a_sync())
    supervisor.keys = []
    with pytest.raises(ConnectionMissing):
        server_connection(a_sync())


def test_one_that_was_not_given_at_first_is_found_before_the_next_is_looked_for(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor.keys = []
    both = [f"AIRFLOW_CONN_{name.upper()}" for name in server_connection_ids(a_sync())]
    extra = json.dumps({"environment": "integration"})

    def send(message: Any) -> Any:
        # Airflow answers from its second question on.
        for name in both:
            monkeypatch.setenv(name, json.dumps({"conn_type": "postgres", "host": name, "extra": extra}))
        return supervisor.send(message)

    late = type("Late", (), {"send": staticmethod(send)})
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", late)
    assert server_connection(a_sync()).host == both[0]
