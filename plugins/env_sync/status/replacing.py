"""Whether data of an environment is being replaced now: what holds off traffic replay and load tests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from env_sync.domain.sync import Action, AnySync, Sync
from env_sync.planning.schedule import closing, last_opening, next_opening
from env_sync.status.seen import Seen
from env_sync.status.values import Attempt, Phase, Replacing


def replaces(sync: AnySync) -> bool:
    """Whether a sync replaces data in its environment: a pull, a bucket sync, or a push that changes live."""
    return sync.action is not Action.PUSH or (isinstance(sync, Sync) and sync.pre_dump_in_place)


def find_replacing(seen: Seen, attempts: Sequence[Attempt]) -> Replacing:
    """By where each group is.

    A database counts from when its start gate let the group through until its report, though it is only the
    promote that replaces it: a pull loads the server of live as well.
    """
    syncs = {group.id: group.sync for group in seen.plan.groups}
    at_work: dict[str, dt.datetime] = {}
    waiting: set[str] = set()
    for each in attempts:
        sync = syncs[each.group]
        if not replaces(sync):
            continue
        if each.phase is Phase.RUNNING and each.begun is not None:
            at_work[sync.database] = min(each.begun, at_work.get(sync.database, each.begun))
        elif each.starts is not None or each.phase is Phase.WAITING:
            waiting.add(sync.database)
    window, zone = seen.settings.window, seen.settings.timezone
    opened = last_opening(seen.now, window, zone)
    is_open = seen.now < closing(opened, window, zone)
    opens = opened if is_open else next_opening(seen.now, window, zone)
    return Replacing(
        replacing=bool(at_work),
        since=min(at_work.values(), default=None),
        databases=tuple(sorted(at_work)),
        waiting=tuple(sorted(waiting)),
        open=is_open,
        opens=opens,
        closes=closing(opens, window, zone),
        time_zone=zone,
    )
