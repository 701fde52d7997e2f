"""Stops what would come down raw, or go out raw, because nothing says any more that it is to be sanitised."""

from __future__ import annotations

from env_sync.engines.contract import Stamp
from env_sync.errors import NotSanitised
from env_sync.hieradata.settings import Sanitise
from env_sync.hieradata.sync import Sync
from env_sync.hieradata.sync_fields import NO_POSTPROCESS, SAY_NONE
from env_sync.sanitising import FILE, ways_in, ways_of
from env_sync.steps.session import Session


def check_pull(session: Session) -> None:
    """Raises NotSanitised where the last pull into live sanitised in a way in which this one would not.

    Called with the lease, before anything is fetched or restored, in every environment. A transformation may
    take the place of another one, for nobody can tell what either does.
    """
    sync = session.sync
    if sync.recovery or sync.none_said:
        return
    kept = ways_of(sync)
    for stamp in session.engine.live_stamps():
        lost = ways_in(stamp.transformations) - kept
        if sync.reason:
            # Without `transformation_sql_filename: none` it stands beside `postprocess: none`.
            lost &= {FILE}
        if lost:
            raise NotSanitised(_pull_message(sync, stamp, lost))


def check_push(session: Session) -> None:
    """Raises NotSanitised where live came down and nothing says that it was, or need not be, sanitised.

    Only where the environment must sanitise. Called with the lease, before anything leaves live. What was
    born here, or a recovery brought back, did not come down.
    """
    sync = session.sync
    if session.settings.sanitise is not Sanitise.REQUIRED or sync.pre_dump_transformation is not None:
        return
    stamps = session.engine.live_stamps()
    if not stamps and sync.filled_by:
        raise NotSanitised(
            f"{sync.filled_by} fills {sync.database}, but live does not say that a pull of Env Sync made it: "
            f"nobody knows whether it is sanitised, and {_required(sync)} {_AFTER_PULL}"
        )
    for stamp in stamps:
        own = stamp.born_in == stamp.source_environment == sync.environment
        if not own and not ways_in(stamp.transformations) and not stamp.reason:
            raise NotSanitised(
                f"NOT SANITISED: {stamp.sync} filled {sync.database} from {stamp.dump_key} of "
                f"{stamp.source_environment} without a transformation and without saying why, and "
                f"{_required(sync)} {_AFTER_PULL}"
            )


_AFTER_PULL = (
    f"Nothing was uploaded. See that the pull has a transformation, or says {SAY_NONE}; run the pull, then "
    "the push."
)


def _required(sync: Sync) -> str:
    return f"{sync.environment} must sanitise what comes down (`govuk_env_sync::sanitise: required`)."


def _pull_message(sync: Sync, stamp: Stamp, lost: frozenset[str]) -> str:
    names = ", ".join(one.name for one in stamp.transformations if ways_in([one]) & lost)
    say = SAY_NONE if FILE in lost else f"{SAY_NONE}, or `postprocess: {NO_POSTPROCESS}` with one"
    return (
        f"NOT SANITISED: live of {sync.database} was sanitised by {names} when {stamp.sync} filled it, and "
        f"{sync.name} would not do that. Nothing was restored, and live is untouched. Write it back into the "
        f"sync ({sync.place}), or, where nothing has to be sanitised any more, {say}."
    )
