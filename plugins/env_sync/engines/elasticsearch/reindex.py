"""Incoming by reindex from remote: the target fetches the documents itself, one task for each index."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from env_sync.core.errors import RestoreFailed
from env_sync.engines.base.contract import Waiting, Work
from env_sync.engines.elasticsearch.catalogue import read_indices
from env_sync.engines.elasticsearch.contents import Held
from env_sync.engines.elasticsearch.copied_documents import end_filling, expecting, still_there
from env_sync.engines.elasticsearch.incoming import make_index, tasks_of
from env_sync.engines.elasticsearch.metadata import Copied, Incoming, write_record
from env_sync.engines.elasticsearch.pipelines import NONE
from env_sync.engines.elasticsearch.session import Cluster, quoted
from env_sync.engines.elasticsearch.task_results import forget_result

BATCH = 1000


def reindex(work: Work, source: Cluster, target: Cluster, incoming: Incoming) -> Incoming | Waiting:
    """Have the target fetch the documents, a few indices at the same time. Raises RestoreFailed."""
    sources = {each.index: each for each in read_indices(source)}
    at_work = 0
    for held in incoming.contents.indices:
        task = incoming.tasks.get(held.index)
        if task is not None and held.index not in incoming.fetched:
            total = look_at_reindex(target, task, held.name)
            if total is None:
                at_work += 1
            else:
                incoming = evolve(incoming, fetched={**incoming.fetched, held.index: total})
                write_record(target, work.sync.name, incoming)
                forget_result(target, task)
    for held, copied in zip(incoming.contents.indices, incoming.indices, strict=True):
        if held.index in incoming.tasks or at_work >= work.sync.options.jobs:
            continue
        if any(copied.index in said for said in tasks_of(target, incoming.token).values()):
            raise RestoreFailed(f"{held.name} is fetched by a task that is not known. Run the group again.")
        make_index(target, copied, still_there(sources, held))
        task = begin_reindex(source, target, held, copied)
        incoming = evolve(incoming, tasks={**incoming.tasks, held.index: task})
        write_record(target, work.sync.name, incoming)
        at_work += 1
    if len(incoming.fetched) < len(incoming.indices):
        return Waiting(f"{len(incoming.fetched)} of {len(incoming.indices)} indices were fetched")
    for held, copied in zip(incoming.contents.indices, incoming.indices, strict=True):
        end_filling(target, copied.index, still_there(sources, held))
    return expecting(incoming, incoming.fetched)


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
