"""Stops what would come down, go out, or be live again raw, because nothing says that it is sanitised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from env_sync.config.sync_fields import NO_POSTPROCESS, SAY_NO_RULES, SAY_NONE, SAY_NONE_OF_PUSH
from env_sync.core.errors import DumpDamaged, NotSanitised, StampUnreadable
from env_sync.domain.manifest import Manifest, Transformation
from env_sync.domain.sanitising import Badge, badge_of_data, is_rule, says_above, ways_in, ways_of
from env_sync.domain.settings import Settings
from env_sync.domain.sync import Sync
from env_sync.engines.base.contract import CopyState, Stamp
from env_sync.pipeline.session import Session
from env_sync.planning.request import RAW

SHOWN = 20
"""How many indices are named."""


def check_pull(session: Session) -> None:
    """Raises NotSanitised where the last pull into live was transformed in a way in which this one is not.

    Called with the lease, before anything is fetched or restored, in every environment. Raises
    StampUnreadable where live does not tell, unless this pull sanitises or says why not.
    """
    sync = session.sync
    if not asks_live(sync):
        return
    try:
        stamps = session.engine.live_stamps()
    except StampUnreadable as unreadable:
        if not may_fill_anew(sync):
            raise
        why = "has a transformation" if sync.sanitises else "says that it needs none"
        session.log.warning("%s This pull %s, so it goes on.", unreadable, why)
        return
    if found := lost_in_pull(sync, stamps):
        raise NotSanitised(f"{found} Nothing was restored, and live is untouched.")


def check_push(session: Session) -> None:
    """Raises NotSanitised where nothing says that what goes out was, or need not be, sanitised.

    Where the environment must sanitise, that is a live that came down raw; in every environment, a dump that
    is not sanitised where the one before it, under the same path, was. Called with the lease, before anything
    leaves live. Raises StampUnreadable, and what the store's newest_manifest raises.
    """
    sync, settings, engine = session.sync, session.settings, session.engine
    if settings.must_sanitise and (
        found := raw_in_push(sync, settings, engine.live_stamps(), engine.unstamped())
    ):
        raise NotSanitised(f"{found} Nothing was uploaded.")
    if not asks_path(sync):
        return
    try:
        before = session.store.newest_manifest(sync.url, sync.path, sync.database)
    except DumpDamaged as damage:
        raise NotSanitised(f"{damage}: {unreadable_path(sync)} Nothing was uploaded.") from None
    if before is not None and (found := lost_in_push(sync, engine.live_stamps, before)):
        raise NotSanitised(f"{found} Nothing was uploaded.")


def check_undo(session: Session, previous: Stamp | None) -> None:
    """Raises NotSanitised where an undo would make a `previous` live that, as it says itself, is raw.

    Only where the environment must sanitise and the run does not confirm it. Called with the lease, right
    before the swap.
    """
    sync = session.sync
    if session.request.confirm == RAW.format(sync.database):
        return
    if found := raw_in_undo(sync, session.settings, previous):
        raise NotSanitised(f"{found} Live is untouched.")


def contradicted(sync: Sync, manifest: Manifest | None) -> str | None:
    """What is wrong where a pull says that its data was sanitised above, and the dump's manifest says not.

    None where all is well. A manifest of an earlier version does not say.
    """
    if manifest is None or not says_above(sync) or manifest.sanitised != Badge.NOT:
        return None
    return (
        f"{Badge.NOT}: {sync.name} says that what it brings was sanitised above ({sync.place}), but the "
        f"manifest of {manifest.key} in {sync.url} says that it was not. See that {manifest.sync} of "
        f"{manifest.environment} is sanitised again, ask for an older dump by its timestamp, or write a "
        "transformation or another reason into the sync."
    )


def unsupported(sync: Sync, manifest: Manifest | None) -> str | None:
    """What is to be told where a pull says that its data was sanitised above, and nothing else says so."""
    if not says_above(sync):
        return None
    if manifest is None:
        told = "has no manifest"
    elif (
        badge_of_data(manifest.transformations, (), manifest.parents) is Badge.NOT and not manifest.sanitised
    ):
        told = "has a manifest of an earlier version, which tells of no transformation"
    else:
        return None
    return f"{sync.name} says that what it brings was sanitised above, but nothing else does: the dump {told}"


def asks_live(sync: Sync) -> bool:
    """Whether a pull has to do what the last one did: not where a recovery, or a reason, says otherwise.

    That no file is needed was said of the file alone: a rule that is lost later is missed all the same.
    """
    return not (sync.recovery or (sync.none_said and sync.no_rules_said))


def may_fill_anew(sync: Sync) -> bool:
    """Whether a pull may replace a live of which nobody knows what filled it."""
    return sync.sanitises or sync.none_said


def lost_in_pull(sync: Sync, stamps: Iterable[Stamp]) -> str | None:
    """Why a pull may not go into a live with these stamps, and what to do; None where it may.

    It does all that sanitised before, and where anything transformed before, something does now. One file may
    take the place of another, for nobody can tell what either does.
    """
    if not asks_live(sync):
        return None
    kept = ways_of(sync)
    transforms = sync.transformation is not None or bool(sync.postprocess)
    for stamp in stamps:
        lost = [one for one in stamp.transformations if not transforms or ways_in([one]) - kept]
        lost = [one for one in lost if not (sync.no_rules_said if is_rule(one) else sync.none_said)]
        if lost:
            return _pull_message(sync, stamp, lost)
    return None


def raw_in_push(
    sync: Sync, settings: Settings, stamps: Sequence[Stamp], unstamped: Sequence[str] = ()
) -> str | None:
    """Why a live with these stamps may not go out, and what to do; None where it may.

    `unstamped` are the indices of a cluster of which no stamp tells, beside those that a pull brought.
    What was born here, or a recovery brought back, did not come down. What a push itself transforms does not
    make live another: nobody said that it would be enough.
    """
    if not settings.must_sanitise:
        return None
    if not stamps and sync.filled_by:
        return (
            f"{sync.filled_by} fills {sync.database}, but live does not say that a pull of Env Sync made it: "
            f"nobody knows whether it is sanitised, and {_required(sync)} {_PULL_FIRST}"
        )
    for stamp in stamps:
        if raw := _raw(stamp, sync, settings):
            return f"{Badge.NOT}: {raw}, and {_required(sync)} {_PULL_FIRST}"
    if unstamped and sync.filled_by:
        more = f" and {len(unstamped) - SHOWN} more" if len(unstamped) > SHOWN else ""
        return (
            f"{sync.filled_by} fills {sync.database}, but no pull of Env Sync brought "
            f"{', '.join(unstamped[:SHOWN])}{more}: nobody knows whether that is sanitised, and "
            f"{_required(sync)} Pull it, or, if it is not to go out, write it into `excluded_indices` of "
            f"{sync.name} ({sync.place})."
        )
    return None


def asks_path(sync: Sync) -> bool:
    """Whether the dump before, under the same path, tells what a push has to do.

    Not where a transformation, or a reason, says so. Snapshots of clusters have no manifests.
    """
    return not (sync.is_cluster or sync.pre_dump_transformation or sync.none_said)


def lost_in_push(sync: Sync, stamps: Callable[[], Sequence[Stamp]], before: Manifest) -> str | None:
    """Why a push that transforms nothing may not follow a dump with this manifest, and what to do; else None.

    `stamps` gives those of live, and is called only where they matter. Whoever reads that path expects what
    is sanitised. A manifest of an earlier version tells only what ran before its dump was taken.
    """
    if not asks_path(sync):
        return None
    ran = ", ".join(one.name for one in before.transformations)
    if ways_in(before.transformations):
        was = f"was sanitised by {ran} before it was taken"
    elif before.sanitised in (Badge.SANITISED, Badge.ABOVE) and not any(map(_may_go_out, stamps())):
        was = f"was {before.sanitised}"
    else:
        return None
    return (
        f"{Badge.NOT}: the dump before, {before.key} in {sync.url}, {was}, and nothing would sanitise that "
        f"of {sync.name} under the same path. Write the transformation back into the sync ({sync.place}), "
        f"see that the pull that fills {sync.database} has its own, or, where nothing has to be sanitised "
        f"any more, {SAY_NONE_OF_PUSH}."
    )


def _may_go_out(stamp: Stamp) -> bool:
    """Whether the pull that left this stamp sanitised, brought what was sanitised, or said why not."""
    badge = badge_of_data(stamp.transformations, stamp.above, stamp.parents)
    return badge is not Badge.NOT or bool(stamp.reason)


def unreadable_path(sync: Sync) -> str:
    """What follows from a newest manifest that cannot be read, and what to do."""
    return (
        f"so nobody knows whether the dumps under {sync.path} of {sync.url} are sanitised. Remove it, or "
        f"give {sync.name} ({sync.place}) a transformation, or {SAY_NONE_OF_PUSH}."
    )


def raw_in_undo(sync: Sync, settings: Settings, previous: Stamp | None) -> str | None:
    """Why a previous with this stamp may not be live again, and what to do; None where it may.

    One without a stamp is what live was before the first pull: nobody knows what that was.
    """
    if not settings.must_sanitise or sync.recovery or sync.none_said:
        return None
    before = f"previous is what {sync.database} was before the first pull, and may well not be sanitised"
    raw = before if previous is None else _raw(previous, sync, settings)
    if not raw:
        return None
    return (
        f"{Badge.NOT}: {raw}, and {_required(sync)} To go back, pull an older dump by its `timestamp`, which "
        f"sanitises it. To make previous live all the same, type {RAW.format(sync.database)!r} in `confirm`."
    )


def _raw(stamp: Stamp, sync: Sync, settings: Settings) -> str | None:
    """What filled a copy with this stamp, where that is raw data that came down; None where it is not."""
    # A copy of a cluster is born where its source's connection says, which may by mistake be here. Into a
    # protected environment nothing is copied: there a recovery brought back what is its own.
    may_be_own = settings.protected or not sync.is_cluster
    own = may_be_own and stamp.born_in == stamp.source_environment == sync.environment
    clean = stamp.state is CopyState.SANITISED and (ways_in(stamp.transformations) or stamp.reason)
    if own or clean:
        return None
    return (
        f"{stamp.sync} filled {sync.database} from {stamp.dump_key} of {stamp.source_environment} without a "
        "transformation and without saying why"
    )


_PULL_FIRST = f"See that the pull has a transformation, or says {SAY_NONE}; run the pull, then the push."


def _required(sync: Sync) -> str:
    return f"{sync.environment} must sanitise what comes down (`govuk_env_sync::sanitise: required`)."


def _pull_message(sync: Sync, stamp: Stamp, lost: Sequence[Transformation]) -> str:
    names = ", ".join(one.name for one in lost)
    done = "sanitised" if ways_in(lost) else "transformed"
    if all(map(is_rule, lost)):
        say = SAY_NO_RULES
    elif any(map(is_rule, lost)):
        say = f"{SAY_NONE} and `postprocess: {NO_POSTPROCESS}`"
    else:
        say = SAY_NONE
    return (
        f"{Badge.NOT}: live of {sync.database} was {done} by {names} when {stamp.sync} filled it, and "
        f"{sync.name} would not do that. Write it back into the sync ({sync.place}), or, where nothing has "
        f"to be {done} any more, {say}."
    )
