"""Undo: make previous live again."""

from __future__ import annotations

from collections.abc import Callable

from env_sync.hieradata.sync import Sync
from env_sync.steps.results import LiveAgain
from env_sync.steps.session import Session


def restore_previous(session: Session, last_look: Callable[[], None]) -> LiveAgain:
    """Swap live and previous back, and tell what live holds now. `last_look` as for the engine."""
    sync = session.sync
    with session.engine.at_work():
        promotion = session.engine.restore_previous(last_look)
        stamp = session.engine.live_stamp()
    for warning in promotion.warnings:
        session.log.warning(warning)
    session.log.info("Live was unavailable for %.3f s", promotion.unavailable)
    held = "" if stamp else f"{sync.database} holds what was live before the first pull. "
    return LiveAgain(
        unavailable=promotion.unavailable,
        dump_key=stamp.dump_key if stamp else None,
        source_environment=stamp.source_environment if stamp else None,
        data_time=stamp.data_time if stamp else None,
        advice=held + _advice(sync),
        warnings=promotion.warnings,
    )


def _advice(sync: Sync) -> str:
    return (
        "what was live is previous now: doing this once more changes them back. The next pull replaces both; "
        f"to hold it off: env-sync pause {sync.environment} {sync.database} --pull-only "
        '--why "..." --until 2d'
    )
