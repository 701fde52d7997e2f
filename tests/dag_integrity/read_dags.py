"""Reads the DAG file as the dag-processor does, in a process of its own, and tells what it found as JSON.

Reading may use no network, no Variable and no Connection: each raises here.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any


def _refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("not while DAGs are read")


def read(dags: Path) -> dict[str, Any]:
    """What the DAG file holds: errors, and for each DAG its tasks, edges, groups and serialised form."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import BaseHook, Variable
    from airflow.serialization.serialized_objects import DagSerialization

    socket.socket.connect = _refuse  # type: ignore[method-assign]
    socket.getaddrinfo = _refuse
    Variable.get = _refuse  # type: ignore[method-assign]
    BaseHook.get_connection = _refuse  # type: ignore[method-assign]
    bag = DagBag(dag_folder=str(dags))
    found: dict[str, Any] = {"errors": dict(bag.import_errors), "dags": {}}
    for dag_id, dag in bag.dags.items():
        dag.check_cycle()
        serialised = DagSerialization.to_dict(dag)
        again = DagSerialization.from_dict(serialised)
        found["dags"][dag_id] = {
            "tags": sorted(dag.tags),
            "doc": dag.doc_md,
            "bytes": len(json.dumps(serialised)),
            "again": sorted(task.task_id for task in again.tasks),
            "only": again.params.get_param("only").schema,
            "groups": {
                name: group.doc_md for name, group in dag.task_group.get_task_group_dict().items() if name
            },
            "tasks": {
                task.task_id: {
                    "after": sorted(task.upstream_task_ids),
                    "rule": task.trigger_rule.value,
                    "setup": task.is_setup,
                    "teardown": task.is_teardown,
                    "fails_run": task.on_failure_fail_dagrun,
                    "queue": task.queue,
                    "retries": task.retries,
                }
                for task in dag.tasks
            },
        }
    return found


if __name__ == "__main__":
    json.dump(read(Path(sys.argv[1])), sys.stdout)
