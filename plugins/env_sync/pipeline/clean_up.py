"""The end of a group: put right what a killed step left, give the lease back, remove the dump."""

from __future__ import annotations

import time

from attrs import frozen

from env_sync.core.errors import EnvSyncError, LeaseLost
from env_sync.core.failure import described
from env_sync.domain.sync import Action
from env_sync.pipeline.session import Session, remove_folder

ATTEMPTS = 3
BETWEEN_ATTEMPTS = 10.0


@frozen(kw_only=True)
class Finished:
    """What the end of a group found.

    `promoted`: whether live says that this attempt made it what it is; None where nobody could look.
    """

    promoted: bool | None
    notes: tuple[str, ...]
    failures: tuple[str, ...]


def finish(session: Session) -> Finished:
    """Clean up after a group, whatever became of its steps; never raises for what it could not do.

    Whatever goes wrong is told in `failures`: a copy that is left behind must not be left quietly.
    """
    notes: list[str] = []
    failures: list[str] = []
    promoted = None
    if session.group.sync.action is Action.BUCKET_SYNC:
        # It has no lease, no copies, and no dump.
        return Finished(promoted=None, notes=(), failures=())
    try:
        remove_folder(session.folder)
    except OSError as problem:
        failures.append(
            f"the work folder {session.folder} could not be removed ({problem.strerror or problem}), and "
            "may hold a raw dump: remove it by hand"
        )
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with session.engine.at_work():
                clean_up = session.engine.clean_up()
                promoted = session.engine.made_live_by() == session.holder
            session.engine.release_lease()
        except LeaseLost as lost:
            # Whoever has the lease now cleans up before it writes; this group never had it, or lost it.
            session.log.info("Nothing to clean up on the server: %s", lost)
            break
        except Exception as problem:  # noqa: BLE001 - told in the report, which must come whatever happened
            session.log.warning(
                "Cleaning up failed (attempt %s of %s): %s", attempt, ATTEMPTS, described(problem)
            )
            if attempt == ATTEMPTS or (isinstance(problem, EnvSyncError) and not problem.passing):
                failures.append(
                    f"the server could not be cleaned up: {described(problem)} A copy that is not promoted "
                    "may still stand there, closed to everybody else; the next run of this sync removes it"
                )
                break
            time.sleep(BETWEEN_ATTEMPTS)
            continue
        if clean_up.live_reopened:
            notes.append("live was found closed by a promote that did not finish, and was reopened")
        notes += clean_up.notes
        break
    return Finished(promoted=promoted, notes=tuple(notes), failures=tuple(failures))
