"""All steps of one group in this process, one after another, with the same end as in Airflow."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from env_sync.core.core_dumps import no_core_dumps
from env_sync.core.errors import Cancelled, PauseActive
from env_sync.core.failure import described
from env_sync.core.serialization import to_plain
from env_sync.core.stopwatch import Spent
from env_sync.domain.leftovers import Swept
from env_sync.domain.report import Outcome, Report, Skip, make_report
from env_sync.pipeline.clean_up import finish
from env_sync.pipeline.session import Session
from env_sync.pipeline.steps import do_here, step_of


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
    results: dict[str, Any] = {}
    errors: dict[str, str] = {}
    spent: dict[str, Spent] = {}
    skip: Skip | None = None
    sync = session.group.sync
    for step in steps:
        say(step)
        session.stopwatch.take()
        try:
            results[step] = do_here(step_of(sync, step), session, results)
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
