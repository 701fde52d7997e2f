"""Sanitise incoming, so that it proves itself what was done to it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve

from env_sync.core.errors import TransformationFailed
from env_sync.domain.changed_rows import Changes
from env_sync.domain.manifest import Transformation
from env_sync.domain.sanitising import badge_of_data
from env_sync.domain.sync import Sync
from env_sync.engines.base.contract import CopyState, Stamp
from env_sync.pipeline.changes import changes_of
from env_sync.pipeline.dump_file import obtain
from env_sync.pipeline.private_folder import leave, using_up
from env_sync.pipeline.results import Downloaded, Restored, Sanitised
from env_sync.pipeline.session import Session
from env_sync.pipeline.unsanitised import check_pull

NOTHING_CHANGED = Changes()


def transformation_files(sync: Sync) -> tuple[Path, ...]:
    """The transformations of a pull, in the order in which they run."""
    return (sync.transformation,) if sync.transformation else ()


def transformations_of(sync: Sync) -> tuple[Transformation, ...]:
    """All that a pull does to incoming, in order, by name and hash; of files the text is read now.

    Raises TransformationFailed.
    """
    files = hashed(transformation_files(sync))
    return (*files, *(Transformation(name=one.name, sha256=one.sha256) for one in sync.postprocess))


def hashed(files: Sequence[Path]) -> tuple[Transformation, ...]:
    """Files by name and hash of their text as it is on disk now. Raises TransformationFailed."""
    return tuple(Transformation(name=file.name, sha256=_hash(file)) for file in files)


def _hash(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as problem:
        raise TransformationFailed(
            f"The transformation {file} cannot be read: {problem.strerror}. Put it there on every worker; "
            "live is untouched."
        ) from None


def sanitise(session: Session, downloaded: Downloaded, restored: Restored | None = None) -> Sanitised:
    """Run the transformations on incoming; a copy that was touched before is restored first.

    Without `restored`, as where that step was marked by hand, only incoming itself tells how it was made.
    """
    session.engine.closed = restored.closed if restored else ""
    with session.engine.at_work():
        # Once more, for the configuration may be another than when it was restored.
        check_pull(session)
        stamp = _our_copy(session, downloaded)
        state = stamp.state if stamp else None
        if stamp and state is CopyState.SANITISED:
            session.log.info("Incoming already proves that it was sanitised in this attempt")
            return evolve(told_of(stamp), closed=session.engine.closed)
        if state is not CopyState.RAW:
            session.log.info(
                "Incoming is not this attempt's raw copy of %s: restoring it again", downloaded.dump_key
            )
            with using_up(session):
                session.dump_engine.restore(obtain(session, downloaded))
        stamp = session.engine.sanitise(transformation_files(session.sync), session.sync.postprocess)
    # What a restore left that failed here, and was done again elsewhere.
    leave(session)
    return evolve(told_of(stamp, changes_of(session)), closed=session.engine.closed)


def told_of(stamp: Stamp, changes: Changes = NOTHING_CHANGED) -> Sanitised:
    """The result of a step that left this proof, and what its transformations changed."""
    return Sanitised(
        transformations=stamp.transformations,
        statements=changes.statements,
        warnings=changes.warnings,
        badge=badge_of_data(stamp.transformations, stamp.above, stamp.parents),
        reason=stamp.reason,
    )


def _our_copy(session: Session, downloaded: Downloaded) -> Stamp | None:
    """What incoming says, where it is this attempt's copy of this dump; None where it is not.

    A copy that was sanitised with other transformations than today's is not ours any more.
    """
    stamp = session.engine.incoming_stamp()
    if stamp is None or stamp.holder != session.holder or stamp.dump_sha256 != downloaded.sha256:
        return None
    if stamp.state is CopyState.SANITISED and stamp.transformations != transformations_of(session.sync):
        return None
    return stamp
