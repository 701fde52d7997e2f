"""Sanitising incoming: each statement of a transformation on each index that it is for."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from env_sync.core.errors import EnvSyncError, RequestRefused, ServerUnreachable, TransformationFailed
from env_sync.core.progress import Progress
from env_sync.domain.changed_rows import Changed, ChangedRows, new_names, new_warning
from env_sync.engines.base.command_file import NOTHING_DONE
from env_sync.engines.base.contract import CopyState, Stamp, Work
from env_sync.engines.base.proof import check_raw
from env_sync.engines.elasticsearch.access.readers import refuse_readers
from env_sync.engines.elasticsearch.contents import Contents
from env_sync.engines.elasticsearch.copy_strategy import has_api
from env_sync.engines.elasticsearch.incoming import closed, counted
from env_sync.engines.elasticsearch.metadata import Copied, Incoming, Live, read_record, write_record
from env_sync.engines.elasticsearch.names import matches
from env_sync.engines.elasticsearch.pipelines import NONE
from env_sync.engines.elasticsearch.session import Cluster, quoted
from env_sync.engines.elasticsearch.slow_logs import give_back, silence
from env_sync.engines.elasticsearch.sync_indices import indices_about
from env_sync.engines.elasticsearch.task_results import forget_result
from env_sync.engines.elasticsearch.transformation import Read, Statement, read_transformations, without_index

POLL = 0.5
"""Seconds between two looks at a task."""
PATIENCE = 120
"""How many looks in a row may find no answer."""


def raw_incoming(work: Work, target: Cluster) -> Incoming:
    """Incoming, where this attempt restored it and nothing was done to it since. Raises ProofMissing."""
    incoming = read_record(target, Incoming, work.sync.name)
    where = f"Incoming of {work.sync.name} on {target}"
    check_raw(incoming.stamp if incoming else None, where, work)
    if incoming is None:
        raise EnvSyncError(f"{where} went away while it was looked at.")
    return incoming


def sanitise(work: Work, target: Cluster, incoming: Incoming, transformations: Sequence[Path]) -> Stamp:
    """Run the transformations on a raw incoming, and write the proof. See the contract."""
    sync = work.sync.name
    read = read_transformations(transformations)
    there = closed(target, incoming.indices)
    write_record(target, sync, evolve(incoming, stamp=_now(target, incoming.stamp, CopyState.SANITISING)))
    had = silence(target, there, incoming.token) if read else {}
    with work.stopwatch.part("transformations"):
        run_transformations(target, incoming.indices, read, work.progress, work.changed_rows)
    # Before a first pull live may have an index, and what is new cannot be told.
    if read and read_record(target, Live, sync) is not None:
        live = {each.name for each in indices_about(target, work.sync)}
        brought = {each.name for each in incoming.indices}
        work.changed_rows.warn(new_indices(live, brought, read))
    if had:
        give_back(target, had, incoming.token)
    refuse_readers(work, target, "incoming was dropped and live is untouched.")
    indices = counted(target, incoming.indices, _uncounted(incoming.contents))
    stamp = evolve(
        _now(target, incoming.stamp, CopyState.SANITISED), transformations=tuple(one.said for one in read)
    )
    write_record(target, sync, evolve(incoming, stamp=stamp, indices=indices))
    return stamp


def run_transformations(
    cluster: Cluster,
    indices: Sequence[Copied],
    read: Sequence[Read],
    progress: Progress,
    changed_rows: ChangedRows,
) -> None:
    """Run all statements, in order; `changed_rows` is told the documents of each.

    Raises TransformationFailed.
    """
    statements = [statement for each in read for statement in each.statements]
    if not statements:
        return
    for missing in without_index(read, [each.name for each in indices]):
        raise TransformationFailed(
            f"{missing}: incoming has no index of this name, so nothing would be sanitised. {NOTHING_DONE}"
        )
    check_api(cluster, read)
    progress.start("statements of the transformation", len(statements), "items")
    for done, statement in enumerate(statements, start=1):
        documents = sum(
            _run(cluster, each, statement) for each in indices if matches(each.name, [statement.pattern])
        )
        what = f"{statement.api} {statement.pattern}"
        changed_rows.add(Changed(file=statement.file, line=statement.line, what=what, rows=documents))
        progress.advance(done)
    progress.finish()


def new_indices(live: Collection[str], incoming: Collection[str], read: Sequence[Read]) -> Iterator[str]:
    """Warnings of indices that live has not, and that are under no pattern of a statement; by their names."""
    patterns = [statement.pattern for each in read for statement in each.statements]
    for name in new_names(live, incoming):
        if not matches(name, patterns):
            yield new_warning("index", name)


def check_api(cluster: Cluster, read: Sequence[Read]) -> None:
    """Raises TransformationFailed where the cluster lacks what the statements need."""
    for api in sorted({statement.api for each in read for statement in each.statements}):
        if not has_api(cluster, f"/env-sync-none/_{api}"):
            raise TransformationFailed(
                f"{cluster} has no `_{api}` (its reindex module is not installed), so the transformation "
                f"cannot be run. {NOTHING_DONE}"
            )


def _run(cluster: Cluster, copied: Copied, statement: Statement) -> int:
    """How many documents it changed."""
    path = f"/{quoted(copied.index)}/_{statement.api}"
    # A delete passes no pipeline, and its request knows no such parameter.
    unpiped: dict[str, Any] = {"pipeline": NONE} if statement.api == "update_by_query" else {}
    try:
        task = cluster.ask(
            "POST",
            path,
            statement.body,
            conflicts="abort",
            refresh=True,
            wait_for_completion=False,
            expand_wildcards="all",
            **unpiped,
        )["task"]
    except RequestRefused as refused:
        raise _failed(statement, copied, f"{refused.kind} ({refused.status})") from None
    answer = _await(cluster, str(task), statement, copied)
    forget_result(cluster, str(task))
    if error := answer.get("error"):
        raise _failed(statement, copied, str(error.get("type")))
    said = answer["response"]
    done = said["updated"] + said["deleted"] + said["noops"]
    if said["failures"] or said["timed_out"] or said["version_conflicts"] or said.get("canceled"):
        kinds = sorted(
            {str((each.get("cause") or each.get("reason") or {}).get("type")) for each in said["failures"]}
        )
        raise _failed(statement, copied, ", ".join(kinds) or "it was not brought to its end")
    if done != said["total"]:
        raise _failed(statement, copied, f"{done} of {said['total']} documents were changed")
    return int(done)


def _await(cluster: Cluster, task: str, statement: Statement, copied: Copied) -> dict[str, Any]:
    unanswered = 0
    while True:
        try:
            found = cluster.find(f"/_tasks/{quoted(task)}")
        except ServerUnreachable:
            unanswered += 1
            if unanswered >= PATIENCE:
                raise
            found = {"completed": False}
        else:
            unanswered = 0
        if found is None:
            raise _failed(statement, copied, "its task is gone: a node was restarted")
        if found["completed"]:
            answer: dict[str, Any] = found
            return answer
        time.sleep(POLL)


def _failed(statement: Statement, copied: Copied, what: str) -> TransformationFailed:
    return TransformationFailed(f"{statement} failed on {copied.name}: {what}. {NOTHING_DONE}")


def _now(cluster: Cluster, stamp: Stamp, state: CopyState) -> Stamp:
    return evolve(stamp, state=state, changed=cluster.now())


def _uncounted(contents: Contents) -> Contents:
    """The same without numbers: a transformation may remove documents."""
    return evolve(
        contents, indices=tuple(evolve(held, documents=None, changes=None) for held in contents.indices)
    )
