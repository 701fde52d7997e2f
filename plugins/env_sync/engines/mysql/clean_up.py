"""The clean-up after a group: nothing of it runs on, and no copy that is not live or previous is left."""

from __future__ import annotations

import logging

from env_sync.engines.base.contract import CleanUp, Holder
from env_sync.engines.mysql.copy_ownership import is_copy
from env_sync.engines.mysql.incoming import drop_copy, end_earlier_sessions
from env_sync.engines.mysql.lease import Hold
from env_sync.engines.mysql.metadata import read_told
from env_sync.engines.mysql.names import Copies
from env_sync.engines.mysql.session import Session, exists
from env_sync.engines.mysql.stash import put_back


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
        dropped = _drop(session, holder, copies.incoming, notes)
        _drop(session, holder, copies.outgoing, notes)
        if settled := put_back(session, copies):
            notes.append(settled)
    for note in notes:
        log.info("Clean-up of %s: %s.", database, note)
    return CleanUp(live_reopened=False, incoming_dropped=dropped, notes=tuple(notes))


def _drop(session: Session, holder: Holder, copy: str, notes: list[str]) -> bool:
    """Drop a copy where it is this group's, or empty and without a stamp; says so in `notes`."""
    if not exists(session, copy) or not is_copy(session, copy):
        return False
    stamp = read_told(session, copy).stamp
    if stamp is not None and (stamp.holder.run, stamp.holder.group) != (holder.run, holder.group):
        notes.append(f"{copy} belongs to {stamp.holder} and was left alone")
        return False
    if dropped := drop_copy(session, copy):
        notes.append(f"dropped {copy}, which was {stamp.state if stamp else 'without a stamp'}")
    return dropped
