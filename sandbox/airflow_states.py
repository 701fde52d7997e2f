"""States of runs and tasks, read from Airflow's metadata database.

Whoever waits for a state asks often. Over REST each answer about a run takes the api-server a query per task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandbox.postgresql import KeptConnection, PostgreSQLServer

NONE = "none"
"""The state of what is not there, or of a task that Airflow has not looked at yet."""


class AirflowStates:
    """The states in one metadata database; any thread may ask."""

    def __init__(self, server: PostgreSQLServer, database: str) -> None:
        """`database` is the metadata database on this server."""
        self._connection = KeptConnection(lambda: server.connect(database))

    def close(self) -> None:
        """Close the connection that is kept."""
        self._connection.close()

    def run(self, dag_id: str, run_id: str) -> str:
        """The state of a run; `none` where there is no such run."""
        found = self._ask(
            "SELECT run_id, state FROM dag_run WHERE dag_id = %s AND run_id = %s", [dag_id, run_id]
        )
        return found.get(run_id, NONE)

    def tasks(self, dag_id: str, run_id: str) -> Mapping[str, str]:
        """The states of all tasks of a run, by their ids."""
        return self._ask(
            "SELECT task_id, coalesce(state, %s) FROM task_instance WHERE dag_id = %s AND run_id = %s",
            [NONE, dag_id, run_id],
        )

    def _ask(self, statement: str, values: Sequence[str]) -> Mapping[str, str]:
        with self._connection.taken() as connection:
            return dict(connection.execute(statement, values).fetchall())
