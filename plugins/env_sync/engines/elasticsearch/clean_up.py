"""The end of a group: what a killed step left of incoming is dropped, and a swap that it made is told of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from env_sync.engines.base.contract import CleanUp
from env_sync.engines.elasticsearch.dropping import Dropping, drop_incoming
from env_sync.engines.elasticsearch.metadata import Incoming, read_record


def clean_up(dropping: Dropping, finished: Callable[[], Sequence[str] | None]) -> CleanUp:
    """Drop incoming where it is this group's.

    `finished` is asked in the end: it gives the warnings of a swap that was brought to its end, perhaps while
    incoming was to be dropped; None where there was none.
    """
    target, work = dropping.target, dropping.work
    notes: list[str] = []
    dropped = False
    with target.uninterrupted():
        incoming = read_record(target, Incoming, work.sync.name)
        if incoming is not None and incoming.stamp.holder.same_group_as(work.holder):
            count = drop_incoming(dropping, incoming)
            dropped = count is not None
            if dropped:
                notes.append(f"dropped {count} indices of incoming")
        elif incoming is not None:
            notes.append(f"incoming belongs to {incoming.stamp.holder} and was left alone")
    if (warnings := finished()) is not None:
        ended = f"a promotion of {work.sync.name} that did not end was brought to its end"
        notes = [ended, *notes, *warnings]
    for note in notes:
        work.log.info("Clean-up of %s: %s.", work.sync.name, note)
    return CleanUp(live_reopened=False, incoming_dropped=dropped, notes=tuple(notes))
