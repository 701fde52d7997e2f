"""Promoting: collection by collection, each in one step, after a journal by which all is always done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from pymongo.errors import OperationFailure

from env_sync.core.errors import PromoteFailed, ProofMissing
from env_sync.core.progress import Progress
from env_sync.core.serialization import from_plain, to_plain
from env_sync.engines.base import history, promotion
from env_sync.engines.base.contract import CopyState, Stamp
from env_sync.engines.base.document_lease import Hold
from env_sync.engines.base.history import Said
from env_sync.engines.base.promotion import Swapped
from env_sync.engines.base.proof import AGAIN
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
class Told:
    """What live says about itself, as a promotion reads it. No undo; and no client is ever kept out."""

    live: LiveStamp

    @property
    def stamp(self) -> Stamp:
        """What the pull wrote that filled it."""
        return self.live.stamp

    @property
    def promoted(self) -> history.Promoted:
        """How it was promoted."""
        return history.Promoted(at=self.live.promoted.at, unavailable=0.0, first=self.live.promoted.first)

    @property
    def returned(self) -> None:
        """Nothing."""

    @property
    def was_live(self) -> None:
        """Nothing."""


@frozen(kw_only=True)
class Prepared(promotion.Prepared):
    """What is to be done."""

    journal: Journal


@frozen(kw_only=True)
class Promoting(promotion.Promoting[None, Prepared]):
    """All that a promotion works with; there is no previous. Every method may raise PyMongoError."""

    server: Server
    hold: Hold[Session]
    copies: Copies
    jobs: int
    progress: Progress

    @property
    def session(self) -> Session:
        """The session that carries the lease."""
        return self.hold.session

    @property
    def live_named(self) -> str:
        """Live, and where it is."""
        return f"{self.copies.live} on {self.server}"

    @property
    def incoming_named(self) -> str:
        """Incoming, which is in two places, and where it is."""
        return f"Incoming of {self.live_named}"

    def read_incoming(self) -> None:
        """Nothing: live is asked in any case."""

    def read_live(self) -> Told | None:
        """What live says about itself; None where it says nothing."""
        live = read_live_stamp(self.session, self.copies.live)
        return Told(live=live) if live is not None else None

    def read_proof(self) -> Stamp | None:
        """The stamp of incoming. Raises ProofMissing where that was not carried beside live."""
        stamp, place = incoming_stamp(self.session, self.copies)
        # One of another attempt is refused for that.
        proven = stamp is not None and stamp.state is CopyState.SANITISED and stamp.holder == self.holder
        if proven and place != self.copies.beside:
            raise ProofMissing(
                f"{self.incoming_named} is still in {place.database}, where nothing is promoted from. {AGAIN}"
            )
        return stamp

    def prepare(self, incoming: None, stamp: Stamp) -> Prepared:
        """Write the journal, here only. Raises PromoteFailed where incoming is not whole."""
        session, copies = self.session, self.copies
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
                f"{self.incoming_named} lacks {len(missing) or 'all'} of its collections: somebody dropped "
                "them. Live is untouched; run the group again from restore."
            )
        live = [each for each in there if not str(each["name"]).startswith((OURS, "system."))]
        wanted = {entry.name for entry in entries}
        warnings = _warnings(entries, self, first=not live)
        promoted = Promoted(at=session.now(), first=not live, warnings=warnings)
        journal = Journal(
            database=copies.live,
            live=LiveStamp(stamp=stamp, promoted=promoted),
            entries=tuple((entry.number, entry.definition.to_bson()) for entry in entries),
            doomed=tuple(name for each in live if (name := str(each["name"])) not in wanted),
        )
        return Prepared(stamp=stamp, first=not live, warnings=warnings, journal=journal)

    def check_same(self, prepared: Prepared, *, last: bool) -> Prepared:
        """See that the lease is held, right before the swap."""
        if last:
            self.hold.check()
        return prepared

    def swap(self, prepared: Prepared) -> Swapped:
        """Keep the journal, and do what it says. Once it is kept it is done to its end, by whoever."""
        said = {"_id": self.copies.live, "said": to_plain(prepared.journal)}
        with self.session.uninterrupted():
            self.session.put(self.server.lease_database, JOURNAL, said)
            _bring_to_its_end(self, prepared.journal)
        return Swapped(unavailable=0.0)

    def warnings_then(self, said: Said) -> tuple[str, ...]:
        """The warnings that live keeps of its promotion."""
        return said.live.promoted.warnings if isinstance(said, Told) else ()

    def drop_rest_of_incoming(self) -> None:
        """Drop what is left of incoming."""
        drop_incoming(self.session, self.copies)


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
