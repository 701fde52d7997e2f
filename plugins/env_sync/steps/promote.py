"""Swap incoming and live."""

from __future__ import annotations

import datetime as dt

from env_sync.errors import PauseActive
from env_sync.steps.results import Promoted
from env_sync.steps.sanitise import transformations_of
from env_sync.steps.session import Session


def promote(session: Session) -> Promoted:
    """Make incoming live, if it proves that it was sanitised; looks at the pause once more right before.

    Raises PauseActive where the sync was paused meanwhile; live is untouched then.
    """

    def last_look() -> None:
        pause = session.pause()
        if pause is not None and not session.request.ignore_pauses and pause.active(dt.datetime.now(dt.UTC)):
            raise PauseActive(f"{pause}; live is untouched")

    with session.engine.at_work():
        promotion = session.engine.promote(transformations_of(session.sync), last_look)
    for warning in promotion.warnings:
        session.log.warning(warning)
    session.log.info("Live was unavailable for %.3f s", promotion.unavailable)
    return Promoted(
        unavailable=promotion.unavailable,
        first=promotion.first,
        previous_kept=promotion.previous_kept,
        warnings=promotion.warnings,
    )
