"""Waiting for tonight's dump of a pull's source: what one look at the bucket decides. Pure."""

from __future__ import annotations

import datetime as dt

from attrs import frozen

from env_sync.core.errors import DumpNotThere
from env_sync.domain.duration import format_duration
from env_sync.domain.settings import FAIL, Settings
from env_sync.domain.sync import Sync
from env_sync.pipeline.results import Awaited
from env_sync.pipeline.start_gate import Tonight
from env_sync.store.dump_choice import Survey
from env_sync.store.dump_keys import folder, timestamp_text


@frozen
class NotYet:
    """It is not there, and the wait is not over; `what` says what was seen."""

    what: str


def judge(
    seen: Survey | str,
    *,
    sync: Sync,
    settings: Settings,
    tonight: Tonight,
    since: dt.datetime,
    now: dt.datetime,
) -> Awaited | NotYet:
    """Decide by what the bucket holds at `now`, or by the text of why it could not be asked.

    `since` is when this pull began to wait (UTC). A dump counts as soon as it may be restored, never while
    it is still being written. Raises DumpNotThere where the wait is over and the sync is to fail then.
    """
    awaited = f"a dump of {sync.database} begun at {_moment(tonight.opened)} UTC or later"
    waited = max((now - since).total_seconds(), 0.0)
    if isinstance(seen, Survey) and seen.whole and seen.whole[0].timestamp >= tonight.opened:
        return Awaited(awaited=awaited, waited=waited, found=seen.whole[0].key, warnings=())
    there = _what_is_there(seen, tonight, now)
    if now < tonight.until:
        return NotYet(f"{awaited} is not in {_place(sync)} yet ({there})")
    wait = format_duration(tonight.until - tonight.due)
    over = (
        f"{awaited} was awaited in {_place(sync)} from {_moment(since)} UTC and was not there at "
        f"{_moment(now)} UTC, when the wait was over (wait_for_dump {wait}, from {_moment(tonight.due)} "
        f"UTC): {there}. Look at {_its_push(sync, settings)}"
    )
    if sync.options.wait_for_dump_then == FAIL:
        raise DumpNotThere(
            f"{over}. Live is untouched (wait_for_dump_then {FAIL}). Clear the group to pull the newest dump "
            "that is there then, without waiting."
        )
    return Awaited(awaited=awaited, waited=waited, found=None, warnings=(over,))


def _what_is_there(seen: Survey | str, tonight: Tonight, now: dt.datetime) -> str:
    if isinstance(seen, str):
        return f"the bucket could not be asked: {seen}"
    newest = seen.whole[0] if seen.whole else None
    parts = [
        f"the newest whole one is {timestamp_text(newest.timestamp)}, begun {_age(now - newest.timestamp)} "
        "before"
        if newest
        else "no whole one is there"
    ]
    # One of tonight that may be restored would have ended the wait.
    unfinished = [dump.key for dump in seen.dumps if dump.timestamp >= tonight.opened]
    if unfinished:
        parts.append(
            f"{unfinished[0]} has neither manifest nor pointer: it is still being written, or was abandoned"
        )
    return "; ".join(parts)


def _its_push(sync: Sync, settings: Settings) -> str:
    source = settings.owner_of(sync.url)
    if source is None:
        return f"the push of {sync.database} to {_place(sync)}, in the Airflow of whoever owns that bucket"
    return f"the push of {sync.database} to {sync.path} in {source}'s own Airflow, DAG env_sync_{source}"


def _place(sync: Sync) -> str:
    return f"s3://{sync.url}/{folder(sync.path)}"


def _moment(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M}"


def _age(age: dt.timedelta) -> str:
    return format_duration(dt.timedelta(minutes=age // dt.timedelta(minutes=1)))
