"""All steps of one group in this process, one after another, with the same end as in Airflow."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from env_sync.core.core_dumps import no_core_dumps
from env_sync.core.errors import Cancelled, PauseActive
from env_sync.core.failure import described
from env_sync.core.serialization import to_plain
from env_sync.core.stopwatch import Spent
from env_sync.domain.leftovers import Swept
from env_sync.domain.report import Outcome, Report, Skip, make_report
from env_sync.domain.sync import Action
from env_sync.pipeline.bucket_sync import bucket_sync
from env_sync.pipeline.clean_up import finish
from env_sync.pipeline.download import download
from env_sync.pipeline.dump import dump
from env_sync.pipeline.indices import fill_incoming, sanitise_indices, take_snapshot
from env_sync.pipeline.polling import wait_here
from env_sync.pipeline.promote import make_live
from env_sync.pipeline.restore import restore
from env_sync.pipeline.sanitise import sanitise
from env_sync.pipeline.session import Session
from env_sync.pipeline.upload import upload

Results = dict[str, Any]

STEP_WORK: Mapping[str, Callable[[Session, Results], object]] = {
    "start_gate": lambda session, results: _take_lease(session),
    "dump": lambda session, results: dump(session),
    "upload": lambda session, results: upload(session, results["dump"]),
    "download": lambda session, results: download(session),
    "restore": lambda session, results: restore(session, results["download"]),
    "sanitise": lambda session, results: sanitise(session, results["download"], results.get("restore")),
    "promote": lambda session, results: make_live(session, results.get("sanitise")),
    "bucket_sync": lambda session, results: bucket_sync(session),
}
CLUSTER_STEP_WORK: Mapping[str, Callable[[Session, Results], object]] = {
    **STEP_WORK,
    "snapshot": lambda session, results: wait_here(session, "snapshot", lambda: take_snapshot(session)),
    "restore": lambda session, results: wait_here(session, "restore", lambda: fill_incoming(session)),
    "copy": lambda session, results: wait_here(session, "copy", lambda: fill_incoming(session)),
    "sanitise": lambda session, results: wait_here(session, "sanitise", lambda: sanitise_indices(session)),
}
"""The same for a database that is a cluster."""


def run_group(session: Session, say: Callable[[str], None], swept: Swept | None = None) -> Report:
    """Do the group's steps, those that the request asks for, and its end whatever happens; gives the report.

    `say` is told the name of each step as it starts. A cancel ends the step at work, then cleans up. `swept`
    is what was found on this worker before.
    """
    # The folder is this process's between its steps as well: nobody else knows whether it goes on.
    with no_core_dumps(), session.hold.kept():
        return _run_group(session, say, swept or Swept())


def _run_group(session: Session, say: Callable[[str], None], swept: Swept) -> Report:
    began = dt.datetime.now(dt.UTC)
    steps = [step for step in session.request.steps(session.group) if step != "report"]
    states: dict[str, str | None] = dict.fromkeys(steps)
    results: Results = {}
    errors: dict[str, str] = {}
    spent: dict[str, Spent] = {}
    skip: Skip | None = None
    sync = session.group.sync
    work = CLUSTER_STEP_WORK if sync.is_cluster else STEP_WORK
    for step in steps:
        say(step)
        session.stopwatch.take()
        try:
            results[step] = work[step](session, results)
            states[step] = "success"
        except PauseActive as pause:
            states[step], skip = "skipped", Skip(reason=str(pause))
            break
        except Exception as problem:  # noqa: BLE001 - told in the report; whatever happened, the end must come
            cancelled = session.cancellation.cancelled and not isinstance(problem, Cancelled)
            states[step], errors[step] = "failed", described(Cancelled() if cancelled else problem)
            break
        finally:
            spent[step] = session.stopwatch.take()
    session.cancellation.reset()
    say("report")
    finished = finish(session)
    return make_report(
        environment=sync.environment,
        sync=sync.name,
        group=session.group.id,
        run=session.holder.run,
        action=sync.action,
        database=sync.database,
        max_dump_age=sync.options.max_dump_age,
        outcome=Outcome(
            states=states,
            results={step: to_plain(result) for step, result in results.items() if result is not None},
            errors=errors,
            skip=skip,
            started=began,
            spent={step: each for step, each in spent.items() if step != "start_gate"},
            promoted=finished.promoted,
            notes=finished.notes,
            failures=finished.failures,
            undo=session.request.restore_previous is not None,
            swept=swept,
        ),
        now=dt.datetime.now(dt.UTC),
    )


def _take_lease(session: Session) -> None:
    if session.group.sync.action is Action.BUCKET_SYNC:
        return
    settings = session.settings
    session.engine.check_startable(undo=session.request.restore_previous is not None)
    session.engine.take_lease(at_most=settings.pool_sizes.get(session.sync.server, settings.pool_size))
