"""Promoting: collection by collection, each in one step, after a journal by which all is always done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen
from pymongo.errors import OperationFailure

from env_sync.core.errors import PromoteFailed, ProofMissing
from env_sync.core.progress import Progress
from env_sync.core.serialization import from_plain, to_plain
from env_sync.domain.manifest import Transformation
from env_sync.engines.base.contract import CopyState, Holder, Promotion, Stamp
from env_sync.engines.base.document_lease import Hold
from env_sync.engines.base.proof import AGAIN, check_stamp
from env_sync.engines.mongo.catalogue import Entry, read_catalogue
from env_sync.engines.mongo.creating import build_indexes, create
from env_sync.engines.mongo.definitions import Definition, Kind, described, from_bson, shown
from env_sync.engines.mongo.errors import ALREADY_THERE, NO_SUCH
from env_sync.engines.mongo.incoming import documents_of, drop_incoming
from env_sync.engines.mongo.lease_database import JOURNAL
from env_sync.engines.mongo.loading import load
from env_sync.engines.mongo.metadata import LiveStamp, Promoted, read_live_stamp, read_stamp, write_live_stamp
from env_sync.engines.mongo.names import OURS, Copies, Place
from env_sync.engines.mongo.session import Server, Session

SAMPLE = 5
TRIES = 100
"""How often a collection is dropped and renamed over, where clients make it anew in between."""
"""How many names a warning gives."""


@frozen(kw_only=True)
class Journal:
    """What a promotion was about to do when it began: from then on it is only ever done to its end."""

    database: str
    live: LiveStamp
    """What live will say about itself."""
    entries: tuple[tuple[int, bytes], ...]
    """The number and the definition of each collection, time series and view of the new live."""
    doomed: tuple[str, ...]
    """What live had and the new one has not."""


@frozen(kw_only=True)
class Promoting:
    """All that a promotion works with."""

    server: Server
    hold: Hold[Session]
    copies: Copies
    holder: Holder
    environment: str
    jobs: int
    progress: Progress
    log: logging.Logger

    @property
    def session(self) -> Session:
        """The session that carries the lease."""
        return self.hold.session


def promote(
    work: Promoting, transformations: Sequence[Transformation], last_look: Callable[[], None]
) -> Promotion:
    """Swap the copies. See `Engine.promote`. Raises PyMongoError for what nobody foresaw."""
    session, copies = work.session, work.copies
    if (done := _done_before(work, transformations)) is not None:
        return done
    stamp = check_proof(work, transformations)
    entries = read_catalogue(session, copies.beside)
    there = session.collections(copies.live)
    names = {str(each["name"]) for each in there}
    missing = [
        entry.name
        for entry in entries
        if entry.filled and copies.beside.name(entry.number, entry.name) not in names
    ]
    if missing or not entries:
        raise PromoteFailed(
            f"Incoming of {copies.live} on {work.server} lacks {len(missing) or 'all'} of its collections: "
            "somebody dropped them. Live is untouched; run the group again from restore."
        )
    live = [each for each in there if not str(each["name"]).startswith((OURS, "system."))]
    wanted = {entry.name for entry in entries}
    warnings = _warnings(entries, work, first=not live)
    promoted = Promoted(at=session.now(), first=not live, warnings=warnings)
    journal = Journal(
        database=copies.live,
        live=LiveStamp(stamp=stamp, promoted=promoted),
        entries=tuple((entry.number, entry.definition.to_bson()) for entry in entries),
        doomed=tuple(name for each in live if (name := str(each["name"])) not in wanted),
    )
    last_look()
    work.hold.check()
    with session.uninterrupted():
        session.put(work.server.lease_database, JOURNAL, {"_id": copies.live, "said": to_plain(journal)})
        _bring_to_its_end(work, journal)
    return _told(promoted)


def finish_promotion(work: Promoting) -> Journal | None:
    """Bring a promotion to its end that was killed after its journal was written; None where there is none.

    Raises PromoteFailed where the journal cannot be read, PyMongoError.
    """
    session = work.session
    found = session.find_one(work.server.lease_database, JOURNAL, work.copies.live)
    if found is None:
        return None
    try:
        journal: Journal = from_plain(Journal, found["said"])
    except (KeyError, ValueError):
        raise PromoteFailed(
            f"A promotion of {work.copies.live} on {work.server} did not end, and its journal, in "
            f"collection {JOURNAL} of database {work.server.lease_database}, cannot be read: another "
            "version of Env Sync wrote it. Bring it to its end with that version; live may hold some "
            "collections of the new data."
        ) from None
    with session.uninterrupted():
        _bring_to_its_end(work, journal)
    work.log.warning("A promotion of %s that did not end was brought to its end.", work.copies.live)
    return journal


def incoming_stamp(session: Session, copies: Copies) -> tuple[Stamp | None, Place]:
    """What incoming says about itself, and where it is."""
    beside = read_stamp(session, copies.beside)
    if beside is not None and beside.state is CopyState.SANITISED:
        return beside, copies.beside
    alone = read_stamp(session, copies.alone)
    if alone is not None:
        return alone, copies.alone
    return beside, copies.beside


def check_proof(work: Promoting, transformations: Sequence[Transformation]) -> Stamp:
    """The proof that incoming carries. Raises ProofMissing, saying what does not fit."""
    stamp, place = incoming_stamp(work.session, work.copies)
    where = f"Incoming of {work.copies.live} on {work.server}"
    proven = check_stamp(
        stamp,
        where,
        holder=work.holder,
        environment=work.environment,
        transformations=transformations,
    )
    if place != work.copies.beside:
        raise ProofMissing(f"{where} is still in {place.database}, where nothing is promoted from. {AGAIN}")
    return proven


def _done_before(work: Promoting, transformations: Sequence[Transformation]) -> Promotion | None:
    """What this attempt's promotion did, where it is over."""
    live = read_live_stamp(work.session, work.copies.live)
    if (
        live is None
        or live.stamp.holder != work.holder
        or live.stamp.transformations != tuple(transformations)
    ):
        return None
    drop_incoming(work.session, work.copies)
    return _told(live.promoted)


def _told(promoted: Promoted) -> Promotion:
    # No client is ever kept out: a collection is replaced under whoever reads it.
    return Promotion(unavailable=0.0, first=promoted.first, previous_kept=False, warnings=promoted.warnings)


def _warnings(entries: Sequence[Entry], work: Promoting, *, first: bool) -> tuple[str, ...]:
    if first:
        warning = (
            f"there was no database {work.copies.live} on {work.server}, so it was made: see that its "
            "application's user has a role on it"
        )
        return (warning,)
    series = [shown(entry.name) for entry in entries if entry.definition.kind is Kind.TIMESERIES]
    if not series:
        return ()
    more = f" and {len(series) - SAMPLE} more" if len(series) > SAMPLE else ""
    names = ", ".join(series[:SAMPLE]) + more
    warning = (
        f"time series cannot be renamed: {names} of {work.copies.live} were emptied and filled again, so "
        "clients saw a part of them for a while"
    )
    return (warning,)


def _bring_to_its_end(work: Promoting, journal: Journal) -> None:
    """Do what of a journal is not done yet. Safe to be killed at any command, and to be done again."""
    session, copies = work.session, work.copies
    entries = tuple(
        Entry(number=number, definition=from_bson(definition)) for number, definition in journal.entries
    )
    there = {str(each["name"]): each for each in session.collections(copies.live)}
    for entry in entries:
        staged = copies.beside.name(entry.number, entry.name)
        if entry.definition.kind is Kind.VIEW or staged not in there:
            continue
        if entry.definition.kind is Kind.TIMESERIES:
            _refill(work, entry, staged)
        else:
            _replace(session, copies.live, staged, entry.name, there.get(entry.name))
    for name in journal.doomed:
        session.drop(copies.live, name)
    for entry in entries:
        if entry.definition.kind is Kind.VIEW:
            _make_view(session, copies.live, entry.definition, there.get(entry.name))
    write_live_stamp(session, copies.live, journal.live)
    session.remove(work.server.lease_database, JOURNAL, copies.live)
    drop_incoming(session, copies)


def _replace(
    session: Session, database: str, staged: str, name: str, there: Mapping[str, Any] | None
) -> None:
    """Rename a collection over the one of its name, in one step where the server can."""
    if there is not None and (
        not session.server.features.drop_target or (there.get("type") or "collection") != "collection"
    ):
        session.drop(database, name)
    rename: dict[str, Any] = {"renameCollection": f"{database}.{staged}", "to": f"{database}.{name}"}
    in_one_step = session.server.features.drop_target
    if in_one_step:
        rename["dropTarget"] = True
    for left in reversed(range(TRIES)):
        try:
            session.write("admin", rename)
        except OperationFailure as error:
            if error.code == ALREADY_THERE and not in_one_step and left:
                # Whoever wrote between the drop and the rename made it anew.
                session.drop(database, name)
                continue
            # Else the driver sent it a second time, after an answer that was lost.
            if error.code != NO_SUCH or name not in session.names(database):
                raise
        return


def _refill(work: Promoting, entry: Entry, staged: str) -> None:
    session, database = work.session, work.copies.live
    session.drop(database, entry.name)
    create(session, database, entry.name, entry.definition)
    load(
        session,
        database,
        {entry.name: entry.name},
        documents_of(session, work.copies.beside, [entry]),
        in_order=frozenset(),
        jobs=work.jobs,
        progress=work.progress,
    )
    build_indexes(session, database, entry.name, entry.definition)
    session.drop(database, staged)


def _make_view(
    session: Session, database: str, definition: Definition, there: Mapping[str, Any] | None
) -> None:
    if there is not None:
        if described(there, ()) == definition:
            return
        session.drop(database, definition.name)
    create(session, database, definition.name, definition)
