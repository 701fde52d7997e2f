"""The start gate's decision: run now, wait, or skip and why. Pure."""

from __future__ import annotations

import datetime as dt

from attrs import frozen

from env_sync.domain.pause import Pause
from env_sync.domain.report import Result, Skip
from env_sync.domain.sync import Action
from env_sync.planning.plan import Group, Plan
from env_sync.planning.request import Request
from env_sync.planning.schedule import closing, due


@frozen
class Wait:
    """Wait until this moment (UTC), then decide again."""

    until: dt.datetime


@frozen(kw_only=True)
class Tonight:
    """Which dump a pull waits for: one that was begun at `opened` (when the window opened) or later.

    The wait began at `due`, when the sync was to start, and is over at `until`. All are UTC.
    """

    opened: dt.datetime
    due: dt.datetime
    until: dt.datetime


@frozen
class Go:
    """Start now; where `tonight` says which, once that dump is there."""

    tonight: Tonight | None = None


def decide(
    *,
    group: Group,
    plan: Plan,
    request: Request,
    pause: Pause | None,
    run_after: dt.datetime,
    rerun: bool,
    now: dt.datetime,
) -> Skip | Wait | Go:
    """Decide for one group at `now` (UTC).

    `run_after` is when the night began; `rerun` is true where somebody cleared the group when it was due:
    it waits for nothing then, and is never too late. One that was cleared before (Airflow's dialog clears
    what is downstream as well) still waits for its time. A pause that ends before the sync is due does not
    stop it.
    """
    if (reason := request.why_not(group, plan)) is not None:
        return Skip(reason=reason, quiet=not request.nightly)
    moment = due(run_after, group.time, plan.settings.window, plan.settings.timezone)
    starts = max(moment, now) if request.nightly else now
    if pause is not None and not request.ignore_pauses and pause.active(starts):
        return Skip(reason=str(pause), result=Result.OK if pause.readable else Result.WARNING)
    if not request.nightly:
        return Go()
    if now < moment:
        return Wait(moment)
    if rerun:
        return Go()
    if (late := _too_late(group, plan, run_after, moment, now)) is not None:
        return Skip(
            reason=f"it was due at {moment:%Y-%m-%d %H:%M} UTC and could start only at {now:%Y-%m-%d %H:%M} "
            f"UTC, {late}: live is as it was. Clear the group to run it now",
            result=Result.WARNING,
        )
    wait = group.sync.options.wait_for_dump
    if wait is None or not group.sync.pulls_dump:
        return Go()
    return Go(Tonight(opened=run_after, due=moment, until=moment + wait))


def _too_late(
    group: Group, plan: Plan, run_after: dt.datetime, moment: dt.datetime, now: dt.datetime
) -> str | None:
    """Why a sync that was due at `moment` may not start by itself any more; None where it may.

    What replaces data under people at work starts in the window or not at all, unless its own time is
    outside of it. A push only reads.
    """
    deadline = group.sync.options.start_deadline
    if now > moment + deadline:
        return f"more than start_deadline ({deadline}) late"
    closed = closing(run_after, plan.settings.window, plan.settings.timezone)
    if group.sync.action is not Action.PUSH and moment <= closed < now:
        return f"after the window closed at {closed:%H:%M} UTC"
    return None
