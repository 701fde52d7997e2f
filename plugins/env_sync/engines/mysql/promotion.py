"""Promoting: incoming becomes live, live becomes previous; and undo, where they change back."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Callable, Sequence

from attrs import evolve, frozen

from env_sync.core.errors import EnvSyncError, NoSuchDatabase, PromoteFailed, ProofMissing
from env_sync.domain.manifest import Transformation
from env_sync.engines.base.contract import Holder, Promotion, Stamp
from env_sync.engines.base.history import check_was_live, no_previous
from env_sync.engines.base.proof import AGAIN, check_stamp
from env_sync.engines.mysql.access.indirect_readers import check_watchers
from env_sync.engines.mysql.access.readers import check_closed
from env_sync.engines.mysql.copy_ownership import is_empty
from env_sync.engines.mysql.incoming import drop_copy
from env_sync.engines.mysql.lease import Hold, Leases
from env_sync.engines.mysql.metadata import Told, has_table, make_table, read_objects, read_told, write_told
from env_sync.engines.mysql.names import Copies
from env_sync.engines.mysql.objects import Object
from env_sync.engines.mysql.renaming import both_tables
from env_sync.engines.mysql.replaceable import check_replaceable
from env_sync.engines.mysql.session import Server, clock, drop_database, exists, plain_errors
from env_sync.engines.mysql.stash import put_aside, put_back
from env_sync.engines.mysql.swap import Plan, Swapped, begin, finish, make_like, objects_of, rename


@frozen(kw_only=True)
class Promoting:
    """All that a promotion works with."""

    server: Server
    hold: Hold
    leases: Leases
    copies: Copies
    holder: Holder
    environment: str
    guards: bool
    keep_previous: bool
    wait: dt.timedelta
    log: logging.Logger


def promote(
    work: Promoting, transformations: Sequence[Transformation], last_look: Callable[[], None]
) -> Promotion:
    """Swap the copies. See `Engine.promote`. Raises MySQLError for what nobody foresaw."""
    session, copies = work.hold.session, work.copies
    # A step that was killed right after the swap may have left incoming without its tables.
    if is_empty(session, copies.incoming) and (done := _done_before(work, transformations)):
        drop_database(session, copies.incoming)
        return done
    check_proof(work, transformations)
    check_closed(session, copies.incoming, PromoteFailed)
    if work.guards:
        check_watchers(session, work.server, copies.incoming, PromoteFailed)
    check_replaceable(session, work.server, copies, PromoteFailed)
    first = not exists(session, copies.live)
    # A pull that was paused meanwhile prepares nothing.
    last_look()
    old = () if first else objects_of(work.server, copies.live)
    put_back(session, copies)
    if not first:
        put_aside(session, copies)
    last_look()
    plan = _plan(work, copies.incoming, old, first=first)
    begin(session, plan)
    if first:
        make_like(session, copies.live, copies.incoming)
    swapped = _swap(work, plan)
    drop_database(session, copies.incoming)
    warnings = swapped.warnings
    if first:
        warnings = (
            *warnings,
            (
                f"{copies.live} is new on {work.server}: only accounts whose grants name it can read it. "
                f"Let others in with GRANT ... ON `{copies.live}`.* TO ...; later pulls keep that."
            ),
        )
    return _finish(
        work,
        Promotion(
            unavailable=0.0 if first else swapped.unavailable,
            first=first,
            previous_kept=not first,
            warnings=warnings,
        ),
    )


def restore_previous(work: Promoting, last_look: Callable[[Stamp | None], None]) -> Promotion:
    """Swap live and previous. See `Engine.restore_previous`. Raises MySQLError for what nobody foresaw."""
    session, copies = work.hold.session, work.copies
    if (done := _returned_before(work)) is not None:
        return done
    put_back(session, copies)
    told = check_previous(work)
    if not exists(session, copies.live):
        raise NoSuchDatabase(
            f"There is no database {work.leases.where}, so {copies.previous} cannot change places with it. "
            "Make an empty database of that name, and run this again."
        )
    old = objects_of(work.server, copies.live)
    if not has_table(session, copies.live):
        make_table(session, copies.live)
    check_replaceable(session, work.server, copies, PromoteFailed)
    last_look(told.stamp)
    make_like(session, copies.replaced, copies.live)
    plan = _plan(work, copies.previous, old, undo=True)
    begin(session, plan)
    swapped = _swap(work, plan)
    return Promotion(
        unavailable=swapped.unavailable,
        first=False,
        previous_kept=True,
        warnings=(*swapped.warnings, *_dropped(work, copies.replaced)),
    )


def check_proof(work: Promoting, transformations: Sequence[Transformation]) -> Stamp:
    """The proof that incoming carries. Raises ProofMissing, saying what does not fit."""
    session = work.hold.session
    where = f"{work.copies.incoming} on {work.server}"
    if not exists(session, work.copies.incoming):
        raise ProofMissing(f"There is no database {where}, so nothing to promote. {AGAIN}")
    return check_stamp(
        read_told(session, work.copies.incoming).stamp,
        where,
        holder=work.holder,
        environment=work.environment,
        transformations=transformations,
    )


def check_previous(work: Promoting) -> Told:
    """What previous says about itself, after it has shown that it was live here.

    Raises NoPrevious where there is none, PreviousRefused where it does not show that.
    """
    session, where = work.hold.session, f"{work.copies.previous} on {work.server}"
    if not exists(session, work.copies.previous):
        raise no_previous(where, keep_previous=work.keep_previous)
    told = read_told(session, work.copies.previous)
    was = told.was_live
    known = session.value("SELECT token FROM was_live WHERE `database` = %s", [work.copies.live])
    check_was_live(
        was,
        told.stamp,
        where,
        database=work.copies.live,
        environment=work.environment,
        is_another=was is not None and was.token != known,
    )
    return told


def _plan(
    work: Promoting, other: str, old: tuple[Object, ...], *, first: bool = False, undo: bool = False
) -> Plan:
    """The swap of live, which has `old` beside its tables, with the copy that is to be live."""
    session, copies = work.hold.session, work.copies
    return Plan(
        holder=work.holder,
        environment=work.environment,
        live=copies.live,
        other=other,
        previous=copies.previous,
        token=uuid.uuid4().hex,
        first=first,
        began=clock(session),
        undo=undo,
        old=old,
        new=read_objects(session, other),
        tables=both_tables(session, copies.live, other),
    )


def _swap(work: Promoting, plan: Plan) -> Swapped:
    session = work.hold.session
    seconds = rename(session, work.server, plan, work.wait, work.hold.check)
    with session.uninterrupted():
        swapped = finish(session, work.server, plan, seconds)
    work.log.info("The tables of %s were swapped within %.3f s.", work.leases.where, seconds)
    for warning in swapped.warnings:
        work.log.warning("%s", warning)
    return swapped


def _done_before(work: Promoting, transformations: Sequence[Transformation]) -> Promotion | None:
    """What an earlier try of this attempt did, if it was killed after the swap."""
    session, copies = work.hold.session, work.copies
    told = read_told(session, copies.live) if exists(session, copies.live) else Told()
    if told.stamp is None or told.promoted is None:
        return None
    if told.stamp.holder != work.holder or told.stamp.transformations != tuple(transformations):
        return None
    work.log.info("%s was promoted by an earlier try of this step.", work.leases.where)
    kept = exists(session, copies.previous)
    return _finish(
        work,
        Promotion(
            unavailable=told.promoted.unavailable,
            first=told.promoted.first,
            previous_kept=kept and not told.promoted.first,
            warnings=(),
        ),
    )


def _returned_before(work: Promoting) -> Promotion | None:
    """What an earlier try or attempt of this run and group did: it must not be undone by a rerun."""
    session, copies = work.hold.session, work.copies
    told = read_told(session, copies.live) if exists(session, copies.live) else Told()
    returned = told.returned
    if returned is None:
        return None
    if (returned.holder.run, returned.holder.group) != (work.holder.run, work.holder.group):
        return None
    work.log.info(
        "This run has made %s live before, at %s: nothing is done. To change them back, start another run.",
        copies.previous,
        f"{returned.at:%Y-%m-%d %H:%M:%SZ}",
    )
    if returned.holder != work.holder:
        write_told(session, copies.live, evolve(told, returned=evolve(returned, holder=work.holder)))
    return Promotion(
        unavailable=returned.unavailable,
        first=False,
        previous_kept=exists(session, copies.previous),
        warnings=(),
    )


def _finish(work: Promoting, promotion: Promotion) -> Promotion:
    """Drop what the swap replaced, and previous where it is not to be kept.

    What fails there is a warning, for the swap is done.
    """
    copies, kept = work.copies, promotion.previous_kept
    warnings = [*promotion.warnings, *_dropped(work, copies.replaced)]
    if kept and not work.keep_previous:
        left = _dropped(work, copies.previous)
        kept = bool(left)
        warnings += left
    return evolve(promotion, previous_kept=kept, warnings=tuple(warnings))


def _dropped(work: Promoting, name: str) -> list[str]:
    """Drop a copy; the warning where that fails."""
    try:
        with plain_errors(f"Dropping {name} on {work.server}"):
            drop_copy(work.hold.session, name)
    except EnvSyncError as problem:
        return [f"{name} is still there: {problem}"]
    return []
