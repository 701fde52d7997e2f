"""Incoming by reindex from remote: the target fetches the documents itself, one task for each index."""

from __future__ import annotations

from typing import Any

from env_sync.core.errors import RestoreFailed
from env_sync.engines.elasticsearch.contents import Held
from env_sync.engines.elasticsearch.metadata import Copied
from env_sync.engines.elasticsearch.pipelines import NONE
from env_sync.engines.elasticsearch.session import Cluster, quoted
from env_sync.engines.elasticsearch.task_results import forget_result

BATCH = 1000


def begin_reindex(source: Cluster, target: Cluster, held: Held, copied: Copied) -> str:
    """Have the documents of one index fetched; gives the name of the task."""
    remote: dict[str, Any] = {"host": source.url, "socket_timeout": "60s", "connect_timeout": "10s"}
    if source.connection.login:
        # In the body of one request to the target, which keeps it out of the tasks that it tells of.
        remote |= {"username": source.connection.login, "password": source.connection.password.reveal()}
    # A name with a percent sign goes into the address of the source as it is; any other is quoted there.
    index = quoted(held.index) if "%" in held.index else held.index
    body = {
        "conflicts": "abort",
        "source": {"remote": remote, "index": index, "size": BATCH},
        "dest": {"index": copied.index, "pipeline": NONE},
    }
    return str(target.ask("POST", "/_reindex", body, wait_for_completion=False)["task"])


def look_at_reindex(target: Cluster, task: str, name: str) -> int | None:
    """How many documents the source had; None while the task is at work. Raises RestoreFailed.

    The result of one that failed is removed: it may quote documents.
    """
    found = target.find(f"/_tasks/{task}")
    if found is None:
        raise RestoreFailed(
            f"The task that fetched {name} is gone: its node was restarted. Run the group again."
        )
    if not found["completed"]:
        return None
    if error := found.get("error"):
        forget_result(target, task)
        raise RestoreFailed(
            f"The index {name} could not be fetched ({error.get('type')}): look whether the target reaches "
            "the source, and in its log. Live is untouched."
        )
    answer = found["response"]
    written = answer["created"] + answer["updated"]
    if answer["failures"] or answer.get("timed_out") or answer.get("canceled") or written != answer["total"]:
        forget_result(target, task)
        kinds = sorted({str((each.get("cause") or {}).get("type")) for each in answer["failures"]})
        raise RestoreFailed(
            f"Of the {answer['total']} documents of {name} {written} were written"
            f"{f' ({chr(44).join(kinds)})' if kinds else ''}: a mapping that the target cannot use, a lack "
            "of room, or a cancel. Live is untouched."
        )
    return int(answer["total"])
