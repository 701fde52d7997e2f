"""The end of a group: what a killed step left is put right, and what is another group's is left alone."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from attrs import frozen

from env_sync.engines.base.contract import CleanUp, Holder, Stamp
from env_sync.engines.base.history import Said


@frozen(kw_only=True)
class Cleaning(ABC):
    """What cleaning up asks of an engine, while it holds the lease.

    Every method may raise what the engine's library raises.
    """

    dropped: ClassVar[str] = "dropped"
    """What is done to a copy, in words."""

    holder: Holder
    live_named: str
    incoming: str
    """Its name; "" where there are no copies."""
    outgoing: str = ""
    live_reopened: bool = False
    log: logging.Logger

    def begin(self) -> Sequence[str]:
        """Put right what comes before the copies; gives a note for each."""
        return ()

    @abstractmethod
    def read_copy(self, copy: str) -> Said | None:
        """What a copy says about itself; None where there is none that Env Sync made."""

    @abstractmethod
    def drop(self, copy: str) -> bool:
        """Drop it; whether there was one."""

    def settle(self) -> str:
        """Put right what is left of a swap; what was done, or ""."""
        return ""


def clean_up(work: Cleaning) -> CleanUp:
    """End what still runs, drop incoming and outgoing where they are this group's, settle a swap.

    See `Engine.clean_up`. Raises what the engine's library does as well.
    """
    notes = list(work.begin())
    dropped = False
    if work.incoming:
        dropped = _drop(work, work.incoming, notes)
        if work.outgoing:
            _drop(work, work.outgoing, notes)
        if settled := work.settle():
            notes.append(settled)
    for note in notes:
        work.log.info("Clean-up of %s: %s.", work.live_named, note)
    return CleanUp(live_reopened=work.live_reopened, incoming_dropped=dropped, notes=tuple(notes))


def left_alone(copy: str, stamp: Stamp | None, holder: Holder) -> str:
    """The note on a copy that another group works on; "" where it is this group's, or nobody's."""
    if stamp is None or stamp.holder.same_group_as(holder):
        return ""
    return f"{copy} belongs to {stamp.holder} and was left alone"


def _drop(work: Cleaning, copy: str, notes: list[str]) -> bool:
    """Drop a copy where it is this group's, or without a stamp; says so in `notes`."""
    if (said := work.read_copy(copy)) is None:
        # Where it is somebody else's, what would have dropped it did not start, and said so.
        return False
    stamp = said.stamp
    if note := left_alone(copy, stamp, work.holder):
        notes.append(note)
        return False
    if dropped := work.drop(copy):
        notes.append(f"{work.dropped} {copy}, which was {stamp.state if stamp else 'without a stamp'}")
    return dropped
