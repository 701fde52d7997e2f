"""Times of a night: when the window opens, when a sync is due.

All times of day are local to the environment's time zone; all moments are UTC.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from env_sync.domain.settings import DAY, Window


def opening_cron(window: Window) -> str:
    """The crontab line of the moment at which the window opens."""
    return f"{window.opens.minute} {window.opens.hour} * * *"


def due(run_after: dt.datetime, time: dt.time, window: Window, timezone: str) -> dt.datetime:
    """The moment (UTC) at which a sync is due in the night whose window opened at `run_after`.

    Where the clock jumps over the time, it is due as long after the jump as the time lies in it;
    where the clock shows it twice, it is due the first time (PEP 495, fold=0).
    """
    zone = ZoneInfo(timezone)
    evening = run_after.astimezone(zone).date()
    day = evening if time >= window.opens else evening + DAY
    return dt.datetime.combine(day, time, tzinfo=zone).astimezone(dt.UTC)


def last_opening(now: dt.datetime, window: Window, timezone: str) -> dt.datetime:
    """The moment (UTC) at which the window opened last, at or before `now` (UTC)."""
    zone = ZoneInfo(timezone)
    today = now.astimezone(zone).date()
    opened = (
        dt.datetime.combine(day, window.opens, tzinfo=zone).astimezone(dt.UTC)
        for day in (today + DAY, today, today - DAY, today - 2 * DAY)
    )
    return next(moment for moment in opened if moment <= now)


def next_opening(now: dt.datetime, window: Window, timezone: str) -> dt.datetime:
    """The moment (UTC) at which the window opens next, after `now` (UTC)."""
    evening = last_opening(now, window, timezone).astimezone(ZoneInfo(timezone)).date()
    opening = dt.datetime.combine(evening + DAY, window.opens, tzinfo=ZoneInfo(timezone))
    return opening.astimezone(dt.UTC)


def closing(opened: dt.datetime, window: Window, timezone: str) -> dt.datetime:
    """The moment (UTC) at which the window that opened at `opened` closes."""
    return due(opened, window.closes, window, timezone)
