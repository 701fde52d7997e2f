"""Undo: make previous live again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from env_sync.core.errors import TransformationFailed
from env_sync.domain.manifest import Transformation
from env_sync.domain.sanitising import badge_of_data
from env_sync.domain.sync import Sync
from env_sync.engines.base.contract import Stamp
from env_sync.pipeline.results import LiveAgain
from env_sync.pipeline.sanitise import transformations_of
from env_sync.pipeline.session import Session
from env_sync.pipeline.unsanitised import check_undo


def restore_previous(session: Session, last_look: Callable[[], None]) -> LiveAgain:
    """Swap live and previous back, and tell what live holds now.

    `last_look` is called right before, and what it raises stops that. Raises NotSanitised where previous was
    not sanitised, and has to be.
    """

    def look(previous: Stamp | None) -> None:
        check_undo(session, previous)
        last_look()

    sync = session.sync
    with session.engine.at_work():
        promotion = session.engine.restore_previous(look)
        stamp = session.engine.live_stamp()
    how_clean = _how_clean(sync, stamp)
    warnings = (*promotion.warnings, *([how_clean] if how_clean else []))
    for warning in warnings:
        session.log.warning(warning)
    session.log.info("Live was unavailable for %.3f s", promotion.unavailable)
    return LiveAgain(
        unavailable=promotion.unavailable,
        dump_key=stamp.dump_key if stamp else None,
        source_environment=stamp.source_environment if stamp else None,
        data_time=stamp.data_time if stamp else None,
        advice=_advice(sync, stamp),
        warnings=warnings,
        badge=badge_of_data(stamp.transformations, stamp.above, stamp.parents) if stamp else "",
        reason=stamp.reason if stamp else "",
    )


def _how_clean(sync: Sync, stamp: Stamp | None) -> str | None:
    """What is to be known of what live holds: a pull of today might have sanitised it in another way."""
    if stamp is None:
        before = f"{sync.database} holds what was live before the first pull"
        asked = sync.transformation or sync.postprocess
        return f"{before}: no transformation of Env Sync ran on it" if asked else None
    if stamp.sync != sync.name:
        return None
    try:
        today = transformations_of(sync)
    except TransformationFailed:
        return (
            f"whether {sync.database} was sanitised as a pull of today would do it could not be seen: "
            f"{sync.transformation} cannot be read on this worker"
        )
    if stamp.transformations == today:
        return None
    return (
        f"{sync.database} was sanitised with {_named(stamp.transformations)}, and a pull of today would be "
        f"with {_named(today)}: look whether what was changed matters"
    )


def _named(transformations: Sequence[Transformation]) -> str:
    return ", ".join(f"{one.name} ({one.sha256[:12]})" for one in transformations) or "nothing"


def _advice(sync: Sync, stamp: Stamp | None) -> str:
    holds = "" if stamp else "live holds what it held before the first pull; "
    return holds + (
        "what was live is previous now: doing this once more changes them back. The next pull replaces both; "
        f"to hold it off: env-sync pause {sync.environment} {sync.database} --pull-only "
        '--why "..." --until 2d'
    )
