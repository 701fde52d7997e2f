"""The results of tasks, which a cluster keeps in its index `.tasks`: failures in them may quote documents."""

from __future__ import annotations

from env_sync.core.errors import AccessRefused, NoRoom, RequestRefused, ServerUnreachable, WriteBlocked
from env_sync.engines.elasticsearch.session import Cluster, quoted

RESULTS = ".tasks"


def forget_result(cluster: Cluster, task: str) -> None:
    """Remove the result of a task, once it was read; where that cannot be, the log says so."""
    try:
        cluster.find_and_delete(f"/{RESULTS}/_doc/{quoted(task)}")
    except (AccessRefused, NoRoom, RequestRefused, ServerUnreachable, WriteBlocked) as problem:
        cluster.log.warning(
            "The result of the task %s stays in %s, and may quote documents if it failed: %s",
            task,
            RESULTS,
            problem,
        )
