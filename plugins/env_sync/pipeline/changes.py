"""What the transformations of a step changed, for its result and its log."""

from __future__ import annotations

from env_sync.domain.changed_rows import Changes
from env_sync.pipeline.session import Session


def changes_of(session: Session) -> Changes:
    """What the engine was told since the last time; the log tells it as well."""
    changes = session.changed_rows.take()
    for changed in changes.statements:
        session.log.info("%s", changed)
    for warning in changes.warnings:
        session.log.warning("%s", warning)
    return changes
