"""Where each group is: in the night that is running or was last, and in runs by hand since it began."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from attrs import evolve

from env_sync.domain.report import Result
from env_sync.planning.plan import Group
from env_sync.status.rows import RUN_OVER, RunRow, TaskRow
from env_sync.status.seen import Seen
from env_sync.status.values import Attempt, Phase

TASK_OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
LONGEST = dt.timedelta(days=1)
"""A group that has been at work for longer died with its Airflow: no step may take that long."""


def find_attempts(seen: Seen) -> tuple[Attempt, ...]:
    """Every group of the night in the plan's order, then those of runs by hand, and older ones at work."""
    likely: dict[str, dt.datetime] = {}
    attempts = []
    for group in seen.plan.groups:
        if group.by_hand_only:
            continue
        attempt = _of_night(seen, group, likely)
        if end := attempt.ended or attempt.ends:
            likely[group.id] = end
        attempts.append(attempt)
    known = {group.id: group for group in seen.plan.groups}
    for (run, group_id), tasks in seen.tasks.items():
        row = seen.runs.get(run)
        if row is None or row is seen.night or group_id not in known:
            continue
        found = _in_run(seen, known[group_id], row, tasks)
        if found is not None and (not row.nightly or found.phase in (Phase.RUNNING, Phase.WAITING)):
            attempts.append(found)
    return tuple(attempts)


def _of_night(seen: Seen, group: Group, likely: Mapping[str, dt.datetime]) -> Attempt:
    """`likely`: when the groups before it ended, or are likely to."""
    night = seen.night
    found = None
    if night is not None:
        found = _in_run(seen, group, night, seen.tasks.get((night.run, group.id), {}))
    if found is not None and found.phase not in (Phase.PLANNED, Phase.WAITING):
        return found
    attempt = found or Attempt(
        group=group.id,
        run=night.run if night is not None else None,
        nightly=True,
        phase=Phase.PLANNED,
        planned=seen.planned(group),
    )
    if night is None or night.state in RUN_OVER:
        return attempt
    # What follows another sync of its database begins when that has ended, at the soonest.
    starts = max([attempt.planned, seen.now, *(likely[each] for each in group.after if each in likely)])
    usual = seen.usual(group.id)
    return evolve(attempt, starts=starts, ends=starts + usual if usual is not None else None)


def _in_run(seen: Seen, group: Group, run: RunRow, tasks: Mapping[str, TaskRow]) -> Attempt | None:
    """The group in a run; None where the run was not about it, or has not come to it."""
    summary = seen.summaries.get((run.run, group.id))
    gate, report = tasks.get("start_gate"), tasks.get("report")
    attempt = Attempt(
        group=group.id,
        run=run.run,
        nightly=run.nightly,
        phase=Phase.WAITING,
        planned=seen.planned(group) if run.nightly else run.run_after,
        begun=gate.ended if gate is not None and gate.state == "success" else None,
    )
    # Until the report of a group that was cleared starts again, the one of the attempt before is still there.
    if report is None or report.state in TASK_OVER:
        if summary is not None:
            ended = report.ended if report is not None and report.ended else summary.reported
            over = evolve(
                attempt, phase=Phase.OVER, ended=ended, result=summary.result, skipped=summary.skipped
            )
            return None if summary.quiet else over
        if report is not None and report.state in ("success", "failed"):
            return evolve(attempt, phase=Phase.LOST, ended=report.ended, result=Result.CRITICAL)
    if run.state in RUN_OVER or not tasks:
        return None
    if attempt.begun is None:
        return attempt
    if seen.now - attempt.begun > LONGEST:
        return evolve(attempt, phase=Phase.LOST, result=Result.CRITICAL)
    usual = seen.usual(group.id)
    return evolve(
        attempt,
        phase=Phase.RUNNING,
        step=_step(group, tasks),
        # One that takes longer than usual may end at any moment.
        ends=max(attempt.begun + usual, seen.now) if usual is not None else None,
    )


def _step(group: Group, tasks: Mapping[str, TaskRow]) -> str:
    """The step that is at work, else the one that comes next; its report at the latest."""
    unfinished = [step for step in group.steps if step in tasks and tasks[step].state not in TASK_OVER]
    return next((step for step in unfinished if tasks[step].state == "running"), unfinished[0])
