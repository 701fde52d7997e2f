"""Connections and Variables as a task finds them, and the difference between "not there" and "not answered".

Where Airflow does not answer, the Task SDK (airflow.sdk.execution_time.secrets) says that they are not there.
A listing of Variables tells which it was: it fails then.
"""

from __future__ import annotations

from airflow.sdk import BaseHook, Connection, Variable
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

from env_sync.airflow.malformed_connections import check_connection, check_variable
from env_sync.core.errors import AirflowUnreachable


def find_connection(connection_id: str) -> Connection | None:
    """The connection; None where there is none. Raises ConnectionMalformed, AirflowUnreachable."""
    check_variable(connection_id)
    for _ in range(2):
        try:
            found = BaseHook.get_connection(connection_id)
            check_connection(found)
            return found
        except AirflowNotFoundException:
            # It is looked for once more, now that Airflow is known to answer.
            _listed(connection_id)
    return None


def find_variable(key: str) -> str | None:
    """The Variable's text; None where there is none. Raises AirflowUnreachable."""
    found: str | None = Variable.get(key, default=None)
    if found is None and key in _listed(key):
        raise AirflowUnreachable(f"Airflow has a Variable {key}, but did not give it: try again.")
    return found


def _listed(prefix: str) -> list[str]:
    """The keys of Variables that begin so; none outside of a task, where nothing stands between."""
    try:
        return list(Variable.keys(prefix=prefix))
    except ImportError:
        return []
    except AirflowRuntimeError as problem:
        raise AirflowUnreachable(
            f"Airflow could not be asked for {prefix} ({problem.error.error.value}): see whether its "
            "api-server is well. Nothing was touched."
        ) from None
