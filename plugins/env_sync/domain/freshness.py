"""Freshness: whether a sync has succeeded lately enough. Pure: values in, a verdict out.

It is judged by the last success alone, so that it holds also where a sync never ran, its DAG is switched off
or Airflow was down: nothing has to happen for a sync to become stale.
"""

from __future__ import annotations

import datetime as dt

from attrs import frozen

from env_sync.domain.duration import format_duration
from env_sync.domain.pause import Pause
from env_sync.domain.report import Result


@frozen(kw_only=True)
class Freshness:
    """The verdict on one sync. `last_success` is UTC, None where none is known; `limit` is `fresh_within`."""

    result: Result
    what: str
    """In one line, for people."""
    last_success: dt.datetime | None
    limit: dt.timedelta


def judge_freshness(
    *,
    limit: dt.timedelta,
    last_success: dt.datetime | None,
    disabled: bool,
    pause: Pause | None,
    now: dt.datetime,
) -> Freshness:
    """Judge a sync at `now` (UTC).

    CRITICAL where it went without success for longer than `limit`, a WARNING while it is paused. OK where it
    is `disabled`: no night runs it, so nothing is late.
    """
    result, what = _judge(limit, last_success, disabled, pause, now)
    return Freshness(result=result, what=what, last_success=last_success, limit=limit)


def _judge(
    limit: dt.timedelta,
    last_success: dt.datetime | None,
    disabled: bool,
    pause: Pause | None,
    now: dt.datetime,
) -> tuple[Result, str]:
    if disabled:
        return Result.OK, "disabled: runs by hand only"
    if last_success is not None and now - last_success <= limit:
        return Result.OK, f"last success at {last_success:%Y-%m-%d %H:%M} UTC"
    since = "no successful run on record"
    if last_success is not None:
        # Whole minutes: what is measured is hours.
        age = dt.timedelta(minutes=(now - last_success) // dt.timedelta(minutes=1))
        since = f"no successful run for {format_duration(age)}, since {last_success:%Y-%m-%d %H:%M} UTC"
    what = f"{since} (fresh_within {format_duration(limit)})"
    if pause is not None and pause.active(now):
        return Result.WARNING, f"{what}; {pause}"
    return Result.CRITICAL, what
