"""The end of a group: put right what a killed step left, give the lease back, remove the dump."""

from __future__ import annotations

import time

from attrs import frozen

from env_sync.errors import EnvSyncError
from env_sync.steps.session import Session, remove_folder

ATTEMPTS = 3
BETWEEN_ATTEMPTS = 10.0


@frozen(kw_only=True)
class Finished:
    """What the end of a group found. `promoted`: live says that it is this attempt's."""

    promoted: bool
    notes: tuple[str, ...]
    failures: tuple[str, ...]


def finish(session: Session) -> Finished:
    """Clean up after a group, whatever became of its steps; never raises for what it could not do."""
    notes: list[str] = []
    failures: list[str] = []
    promoted = False
    try:
        remove_folder(session.folder)
    except OSError as problem:
        failures.append(f"the work folder {session.folder} could not be removed ({problem.strerror}): remove it by hand")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            clean_up = session.engine.clean_up()
            stamp = session.engine.live_stamp()
            promoted = stamp is not None and stamp.holder == session.holder
            session.engine.release_lease()
        except EnvSyncError as problem:
            session.log.warning("Cleaning up failed (attempt %s of %s): %s", attempt, ATTEMPTS, problem)
            if attempt == ATTEMPTS:
                failures.append(
                    f"the server could not be cleaned up: {problem} A copy that is not promoted may still stand there, "
                    "closed to everybody else; the next run of this sync removes it"
                )
            else:
                time.sleep(BETWEEN_ATTEMPTS)
            continue
        if clean_up.live_reopened:
            notes.append("live was found closed by a promote that did not finish, and was reopened")
        notes += clean_up.notes
        break
    return Finished(promoted=promoted, notes=tuple(notes), failures=tuple(failures))
