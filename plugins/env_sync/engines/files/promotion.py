"""Promoting: incoming becomes live, live becomes previous; and undo, which changes those two back."""

from __future__ import annotations

import datetime as dt
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import evolve, frozen

from env_sync.core.errors import EnvSyncError, NoPrevious, NoSuchDatabase, PromoteFailed, ProofMissing
from env_sync.domain.manifest import Transformation
from env_sync.engines.base.contract import Holder, Promotion, Stamp
from env_sync.engines.base.history import Promoted, Returned, WasLive, check_was_live
from env_sync.engines.base.proof import AGAIN, check_stamp
from env_sync.engines.files.lease import Hold
from env_sync.engines.files.metadata import Record, forget_others, read_record, sync_folder, write_record
from env_sync.engines.files.names import Place, check_folder, check_live, plain_errors
from env_sync.engines.files.swap import is_there, keep_as_previous, remove, swap
from env_sync.engines.files.syscalls import identity, rename_to_new


@frozen(kw_only=True)
class Promoting:
    """All that a promotion works with."""

    place: Place
    hold: Hold
    holder: Holder
    environment: str
    keep_previous: bool
    check: Callable[[], None]
    """Raises Cancelled."""
    log: logging.Logger


def promote(
    work: Promoting, transformations: Sequence[Transformation], last_look: Callable[[], None]
) -> Promotion:
    """Swap incoming with live. See `Engine.promote`. Raises OSError for what nobody foresaw."""
    place = work.place
    if (done := _done_before(work, transformations)) is not None:
        return done
    stamp = check_proof(work, transformations)
    check_folder(place)
    proven = identity(place.incoming)
    if not check_live(place):
        return _promote_first(work, stamp, last_look)
    before = identity(place.live)

    def look() -> None:
        work.check()
        last_look()
        work.hold.check()
        if (identity(place.incoming), identity(place.live)) != (proven, before) or not check_live(place):
            raise PromoteFailed(
                f"{place} was replaced by somebody else while the swap was prepared. Live is as they left "
                "it; run the step again."
            )

    # A pull that was paused meanwhile removes nothing.
    look()
    if remove(place, place.replaced):
        work.log.info("Removed %s, which an earlier promotion left.", place.replaced)
    look()
    _dress(place.incoming, place.live)
    _note_was_live(work)
    now = dt.datetime.now(dt.UTC)
    write_record(
        place, place.incoming, Record(stamp=stamp, promoted=Promoted(at=now, unavailable=0.0, first=False))
    )
    began = time.monotonic()
    swap(place, place.incoming)
    work.log.info("%s was swapped within %.3f s.", place, time.monotonic() - began)
    keep_as_previous(place)
    return _finish(work, Promotion(unavailable=0.0, first=False, previous_kept=True, warnings=()))


def restore_previous(work: Promoting, last_look: Callable[[Stamp | None], None]) -> Promotion:
    """Swap live and previous. See `Engine.restore_previous`. Raises OSError for what nobody foresaw."""
    place = work.place
    if (done := _returned_before(work)) is not None:
        return done
    record = _check_previous(work)
    if not check_live(place):
        raise NoSuchDatabase(
            f"There is no {place}, so {place.previous} cannot change places with it. To make it live by "
            f"hand: mv '{place.previous}' '{place.live}'."
        )
    before = (identity(place.live), identity(place.previous))
    work.check()
    last_look(record.stamp)
    work.hold.check()
    if before != (identity(place.live), identity(place.previous)) or not check_live(place):
        raise PromoteFailed(
            f"{place} or {place.previous} was replaced by somebody else meanwhile. Live is as they left it; "
            "run the step again."
        )
    _note_was_live(work)
    returned = Returned(holder=work.holder, at=dt.datetime.now(dt.UTC), unavailable=0.0)
    write_record(place, place.previous, evolve(record, returned=returned))
    swap(place, place.previous)
    work.log.info("%s is what %s was.", place, place.previous)
    return Promotion(unavailable=0.0, first=False, previous_kept=True, warnings=())


def check_proof(work: Promoting, transformations: Sequence[Transformation]) -> Stamp:
    """The proof that incoming carries. Raises ProofMissing, saying what does not fit."""
    where = str(work.place.incoming)
    record = read_record(work.place, work.place.incoming)
    if record is None:
        raise ProofMissing(f"There is no directory {where}, so nothing to promote. {AGAIN}")
    return check_stamp(
        record.stamp,
        where,
        holder=work.holder,
        environment=work.environment,
        transformations=transformations,
    )


def _promote_first(work: Promoting, stamp: Stamp, last_look: Callable[[], None]) -> Promotion:
    """Make incoming live where there is none: nobody but the sync's user gets in until somebody opens it."""
    place = work.place
    work.check()
    last_look()
    work.hold.check()
    now = dt.datetime.now(dt.UTC)
    write_record(
        place, place.incoming, Record(stamp=stamp, promoted=Promoted(at=now, unavailable=0.0, first=True))
    )
    rename_to_new(place.incoming, place.live)
    sync_folder(place.root)
    warning = (
        f"{place} is new: only the user of this worker can enter it. Let applications in with chown and "
        f"chmod of {place.live} itself; later pulls keep that."
    )
    return _finish(work, Promotion(unavailable=0.0, first=True, previous_kept=False, warnings=(warning,)))


def _done_before(work: Promoting, transformations: Sequence[Transformation]) -> Promotion | None:
    """What an earlier try of this attempt did, if it was killed after the swap."""
    record = read_record(work.place, work.place.live)
    if record is None or record.stamp is None or record.promoted is None:
        return None
    if record.stamp.holder != work.holder or record.stamp.transformations != tuple(transformations):
        return None
    work.log.info("%s was promoted by an earlier try of this step.", work.place)
    first = record.promoted.first
    kept = not first and is_there(work.place.previous)
    return _finish(work, Promotion(unavailable=0.0, first=first, previous_kept=kept, warnings=()))


def _returned_before(work: Promoting) -> Promotion | None:
    """What an earlier try or attempt of this run and group did: it must not be undone by a rerun."""
    place = work.place
    record = read_record(place, place.live)
    returned = record.returned if record else None
    if record is None or returned is None:
        return None
    if (returned.holder.run, returned.holder.group) != (work.holder.run, work.holder.group):
        return None
    work.log.info(
        "This run has made %s live before, at %s: nothing is done. To change them back, start another run.",
        place.previous,
        f"{returned.at:%Y-%m-%d %H:%M:%SZ}",
    )
    write_record(place, place.live, evolve(record, returned=evolve(returned, holder=work.holder)))
    return Promotion(unavailable=0.0, first=False, previous_kept=is_there(place.previous), warnings=())


def _check_previous(work: Promoting) -> Record:
    """Raises NoPrevious where there is none, PreviousRefused where it does not prove that it was live."""
    place = work.place
    record = read_record(place, place.previous)
    if record is None:
        reason = (
            "no pull has replaced live yet, or somebody removed it"
            if work.keep_previous
            else "keep_previous is false for this sync, so a pull removes what it replaces"
        )
        raise NoPrevious(
            f"There is no {place.previous}: {reason}. Live is untouched; to go back further, pull an older "
            "dump by its timestamp."
        )
    check_was_live(
        record.was_live,
        record.stamp,
        str(place.previous),
        database=place.database,
        environment=work.environment,
        unsaid="nothing says that it was ever live",
    )
    return record


def _note_was_live(work: Promoting) -> None:
    """Let live say, before it is swapped, that it was live here: by this it is known for undo."""
    place = work.place
    record = read_record(place, place.live) or Record()
    now = dt.datetime.now(dt.UTC)
    was_live = WasLive(database=place.database, environment=work.environment, until=now)
    write_record(place, place.live, evolve(record, was_live=was_live))


def _dress(incoming: Path, live: Path) -> None:
    """Give incoming live's owner and mode; above it stands a directory that only this user can enter."""
    status = live.stat()
    ours = incoming.stat()
    if (status.st_uid, status.st_gid) != (ours.st_uid, ours.st_gid):
        os.chown(incoming, status.st_uid, status.st_gid, follow_symlinks=False)
    incoming.chmod(status.st_mode & 0o7777)
    os.utime(incoming, ns=(ours.st_atime_ns, ours.st_mtime_ns))


def _finish(work: Promoting, promotion: Promotion) -> Promotion:
    """Remove what the swap replaced, and previous where it is not to be kept.

    What fails there is a warning, for the swap is done.
    """
    place = work.place
    try:
        with plain_errors(f"Tidying up {place.folder}"):
            remove(place, place.replaced)
            if promotion.previous_kept and not work.keep_previous:
                remove(place, place.previous)
                promotion = evolve(promotion, previous_kept=False)
            forget_others(place)
    except EnvSyncError as problem:
        promotion = evolve(promotion, warnings=(*promotion.warnings, f"Live is the new data, but: {problem}"))
    return promotion
