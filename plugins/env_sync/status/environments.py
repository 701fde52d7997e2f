"""The status of an environment, of its plan and what Airflow knows. Pure: values in, values out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from env_sync.planning.plan import Group, Plan
from env_sync.planning.schedule import closing
from env_sync.status.attempts import find_attempts
from env_sync.status.replacing import find_replacing
from env_sync.status.rows import Rows
from env_sync.status.seen import Seen
from env_sync.status.syncs import sync_status
from env_sync.status.values import Attempt, Disks, EnvironmentStatus, Night, Replacing, SyncStatus

LATE = dt.timedelta(minutes=10)
"""How long after the opening of the window its run is missed."""
RECENT = dt.timedelta(days=1)
"""How long what could not be removed from a worker is taken to lie there."""


def make_status(plan: Plan, rows: Rows, now: dt.datetime) -> EnvironmentStatus:
    """The status of an environment at `now` (UTC)."""
    seen = Seen(plan=plan, rows=rows, now=now)
    attempts = find_attempts(seen)
    syncs: dict[str, list[Group]] = {}
    for group in plan.groups:
        syncs.setdefault(group.sync.name, []).append(group)
    statuses = tuple(sync_status(seen, groups, attempts) for groups in syncs.values())
    return EnvironmentStatus(
        environment=plan.environment,
        at=now,
        protected=plan.settings.protected,
        must_sanitise=plan.settings.must_sanitise,
        switched_off=rows.switched_off,
        notes=(*_missing(seen), *_failed_hooks(seen), *_undelivered_alerts(statuses)),
        problems=(*map(str, plan.problems), *map(str, plan.left_out)),
        unusable=tuple(sorted({problem.sync for problem in plan.problems if problem.sync})),
        syncs=statuses,
        night=_night(seen, attempts),
        replacing=find_replacing(seen, attempts),
        disks=_disks(seen),
    )


def replacing_at(plan: Plan, rows: Rows, now: dt.datetime) -> Replacing:
    """Whether data of an environment is being replaced at `now` (UTC); needs no reports in `rows`."""
    seen = Seen(plan=plan, rows=rows, now=now)
    return find_replacing(seen, find_attempts(seen))


def _disks(seen: Seen) -> Disks:
    found = sorted((each for each in seen.rows.reports if each.swept), key=lambda each: each.reported)
    last = next((each for each in reversed(found) if each.swept and each.swept.removed), None)
    # Somebody may have removed it since; whoever reported in the last day would say so.
    recent = [each.swept.left for each in found if each.swept and seen.now - each.reported < RECENT]
    return Disks(
        at=last.reported if last else None,
        group=last.group if last else None,
        folders=len(last.swept.removed) if last and last.swept else 0,
        size=last.swept.size if last and last.swept else 0,
        left=tuple(dict.fromkeys(line for left in recent for line in left)),
    )


def _failed_hooks(seen: Seen) -> Iterator[str]:
    for task in seen.rows.tasks:
        if not task.group and task.state == "failed":
            yield f"{task.step} failed in run {task.run}, so others were not notified: see its log"


def _undelivered_alerts(syncs: Sequence[SyncStatus]) -> Iterator[str]:
    """Monitors that did not take the last report of a sync: each once, however many reports that were."""
    untaken: dict[str, list[str]] = {}
    for sync in syncs:
        for line in sync.last.unsent if sync.last else ():
            untaken.setdefault(line, []).append(sync.sync)
    for line, (first, *others) in untaken.items():
        more = f", and those of {len(others)} more" if others else ""
        yield f"the last report of {first}{more}: {line}"


def _missing(seen: Seen) -> tuple[str, ...]:
    dag = f"the DAG env_sync_{seen.plan.environment}"
    if seen.rows.switched_off is None:
        return (f"Airflow does not have {dag}: check its import errors and ENV_SYNC_ENVIRONMENTS",)
    if seen.rows.switched_off:
        return (f"{dag} is switched off: no night runs until it is switched on",)
    if seen.night is None and seen.now - seen.opened > LATE and any(run.nightly for run in seen.rows.runs):
        missed = f"{seen.opened:%Y-%m-%d %H:%M} UTC"
        return (f"no run was started when the window opened at {missed}: is the scheduler running?",)
    return ()


def _night(seen: Seen, attempts: Sequence[Attempt]) -> Night:
    closes = closing(seen.opened, seen.settings.window, seen.settings.timezone)
    ends = [each.ended or each.ends for each in attempts if each.nightly]
    end = max((moment for moment in ends if moment is not None), default=None)
    return Night(
        run=seen.night.run if seen.night else None,
        state=seen.night.state if seen.night else None,
        opened=seen.opened,
        closes=closes,
        attempts=tuple(attempts),
        ends=end,
        late=end is not None and end > closes,
    )
