"""Pausing one sync: the record, its key, and how it reads.

A record is the JSON of one Airflow Variable per sync, so that it can be read and edited in the
Airflow UI as it is:

    env_sync_pause_<environment>_<sync>  =  {"by": "...", "why": "...", "until": "2026-12-01T09:00"}
"""

from __future__ import annotations

import datetime as dt
import json

from attrs import frozen

PREFIX = "env_sync_pause_"
UNREADABLE = "nobody (the record cannot be read)"


@frozen(kw_only=True)
class Pause:
    """Who paused a sync, why, since when, and until when (UTC; None: until it is resumed)."""

    by: str
    why: str
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    readable: bool = True

    def active(self, now: dt.datetime) -> bool:
        """Whether the pause holds at `now` (UTC); it ends by itself."""
        return self.until is None or now < self.until

    def __str__(self) -> str:
        end = f"until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else "until it is resumed"
        return f"paused by {self.by} {end}: {self.why}"


def pause_key(environment: str, sync: str) -> str:
    """The name of the Variable that holds the pause of a sync."""
    return f"{PREFIX}{environment}_{sync}"


def read_pause(text: str | None) -> Pause | None:
    """The pause in a Variable's text; None where there is none.

    A record that cannot be read (edited by hand, say) counts as a pause without an end: a sync that
    somebody meant to stop must not run because of a typing error.
    """
    if text is None or not text.strip():
        return None
    try:
        record = json.loads(text)
        if not isinstance(record, dict):
            raise TypeError("it is not an object")
        return Pause(
            by=str(record.get("by") or "somebody"),
            why=str(record.get("why") or "no reason given"),
            since=_moment(record.get("since")),
            until=_moment(record.get("until")),
        )
    except (ValueError, TypeError, OverflowError, RecursionError) as problem:
        return Pause(
            by=UNREADABLE,
            why=f'the pause record cannot be read ({problem}); write {{"by": ..., "why": ..., '
            '"until": "2026-12-01T09:00"} or delete the Variable',
            readable=False,
        )


def write_pause(pause: Pause) -> str:
    """The text of the Variable for a pause."""
    record = {"by": pause.by, "why": pause.why}
    for name, moment in (("since", pause.since), ("until", pause.until)):
        if moment is not None:
            record[name] = moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps(record, indent=2)


def _moment(value: object) -> dt.datetime | None:
    if value in (None, ""):
        return None
    moment = dt.datetime.fromisoformat(str(value))
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
