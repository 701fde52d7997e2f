"""The clean-up after a group: nothing of it runs on, and no copy that is not live or previous is left."""

from __future__ import annotations

import logging

from env_sync.engines.contract import CleanUp, Holder
from env_sync.engines.mysql.incoming import drop_left_outgoing, end_earlier_sessions
from env_sync.engines.mysql.lease import Hold
from env_sync.engines.mysql.names import Copies
from env_sync.engines.mysql.replaced import put_back
from env_sync.engines.mysql.session import Session, drop_database, exists
from env_sync.engines.mysql.stamp import read_told


def clean_up(
    hold: Hold,
    holder: Holder,
    database: str,
    copies: Copies | None,
    recovered: str,
    log: logging.Logger,
) -> CleanUp:
    """End what still runs, drop incoming and outgoing where they are this group's, and settle previous.

    `recovered` was put right before. Raises MySQLError.
    """
    session = hold.session
    notes = [recovered] if recovered else []
    worked_on = (copies.live, copies.incoming, copies.outgoing) if copies else (database,)
    notes += end_earlier_sessions(hold, worked_on)
    dropped = False
    if copies is not None:
        dropped = _drop(session, holder, copies, copies.incoming, notes)
        _drop(session, holder, copies, copies.outgoing, notes)
        if settled := put_back(session, copies):
            notes.append(settled)
    for note in notes:
        log.info("Clean-up of %s: %s.", database, note)
    return CleanUp(live_reopened=False, incoming_dropped=dropped, notes=tuple(notes))


def _drop(session: Session, holder: Holder, copies: Copies, copy: str, notes: list[str]) -> bool:
    """Drop a copy where it is this group's, or without a stamp; says so in `notes`."""
    if not exists(session, copy):
        return False
    stamp = read_told(session, copy).stamp
    if stamp is not None and (stamp.holder.run, stamp.holder.group) != (holder.run, holder.group):
        notes.append(f"{copy} belongs to {stamp.holder} and was left alone")
        return False
    ours = copy == copies.outgoing
    dropped = drop_left_outgoing(session, copies) if ours else drop_database(session, copy)
    if dropped:
        notes.append(f"dropped {copy}, which was {stamp.state if stamp else 'without a stamp'}")
    return dropped
