"""Make another copy live."""

from __future__ import annotations

import datetime as dt

from env_sync.core.errors import PauseActive
from env_sync.pipeline.private_folder import leave
from env_sync.pipeline.results import LiveAgain, Promoted, Sanitised
from env_sync.pipeline.sanitise import transformations_of
from env_sync.pipeline.session import Session
from env_sync.pipeline.undo import restore_previous


def make_live(session: Session, sanitised: Sanitised | None = None) -> Promoted | LiveAgain:
    """Make another copy live: previous, where the run was asked for that, else incoming. See each."""
    if session.request.restore_previous is not None:
        return restore_previous(session, lambda: _last_look(session))
    return promote(session, sanitised)


def promote(session: Session, sanitised: Sanitised | None = None) -> Promoted:
    """Make incoming live, if it proves that it was sanitised; looks at the pause once more right before.

    What `sanitised` tells is never believed in place of the proof: only how incoming was closed is compared.
    Raises PauseActive where the sync was paused meanwhile; live is untouched then.
    """
    session.engine.closed = sanitised.closed if sanitised else ""
    with session.engine.at_work():
        promotion = session.engine.promote(transformations_of(session.sync), lambda: _last_look(session))
    leave(session)
    for warning in promotion.warnings:
        session.log.warning(warning)
    session.log.info("Live was unavailable for %.3f s", promotion.unavailable)
    return Promoted(
        unavailable=promotion.unavailable,
        first=promotion.first,
        previous_kept=promotion.previous_kept,
        warnings=promotion.warnings,
    )


def _last_look(session: Session) -> None:
    pause = session.pause()
    if pause is not None and not session.request.ignore_pauses and pause.active(dt.datetime.now(dt.UTC)):
        raise PauseActive(f"{pause}; live is untouched")
