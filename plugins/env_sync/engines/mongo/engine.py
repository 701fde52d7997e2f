"""The engine of MongoDB and of DocumentDB: the contract, put together from the modules beside this one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path

from attrs import evolve
from pymongo.errors import PyMongoError

from env_sync.core.errors import (
    DumpDamaged,
    EnvSyncError,
    LeaseLost,
    NameRefused,
    NoPrevious,
    PromoteFailed,
    ProofMissing,
    RestoreFailed,
    TransformationFailed,
)
from env_sync.domain.finding import Finding, problem
from env_sync.domain.manifest import Transformation
from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.engines.base.clean_up import left_alone
from env_sync.engines.base.contract import (
    CleanUp,
    CopyState,
    Dump,
    DumpEngine,
    DumpFacts,
    DumpHead,
    Holder,
    Preflight,
    Promotion,
    Stamp,
    Work,
)
from env_sync.engines.base.document_lease import Hold, Leases
from env_sync.engines.base.promotion import promote
from env_sync.engines.base.proof import AGAIN, check_raw, first_stamp
from env_sync.engines.mongo.access.readers import Looked, refuse_other_writers, refuse_readers
from env_sync.engines.mongo.catalogue import Entry, read_catalogue
from env_sync.engines.mongo.creating import suited
from env_sync.engines.mongo.dump import Dumping, dump_database
from env_sync.engines.mongo.dump_file import DumpFile, open_dump
from env_sync.engines.mongo.errors import describe
from env_sync.engines.mongo.features import FEATURES
from env_sync.engines.mongo.incoming import Filling, check_ours, documents_of, drop_incoming, fill
from env_sync.engines.mongo.lease import MongoLeases
from env_sync.engines.mongo.metadata import read_live_stamp, read_or_refuse, read_stamp, write_stamp
from env_sync.engines.mongo.names import Copies, Place, copies_of
from env_sync.engines.mongo.preflight import CONNECT_TIMEOUT, Looking, look_at_server, look_at_sync
from env_sync.engines.mongo.promotion import Journal, Promoting, finish_promotion, incoming_stamp
from env_sync.engines.mongo.sanitise import new_collections, run_postprocess, run_transformations
from env_sync.engines.mongo.session import Server, Session
from env_sync.engines.mongo.transformation import read_transformations


class MongoEngine(DumpEngine):
    """One database on a server that speaks MongoDB's protocol. The connection's extra: see `Server`.

    A pull that sanitises restores into a database of its own, `<database>__incoming`; what was sanitised, and
    what need not be, comes into live's database under names of Env Sync's own, and is renamed there.
    """

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._database = work.sync.database
        self._server = Server(
            connection=work.connection,
            features=FEATURES[work.sync.dbms],
            group=work.holder.group,
            cancellation=work.cancellation,
        )
        self._leases = Leases(
            MongoLeases(self._server), self._database, work.holder, work.sync.options.lease_lifetime, work.log
        )
        self._hold: Hold[Session] | None = None
        self._finished: Journal | None = None
        """A promotion that an earlier step left, and that was brought to its end."""

    def take_lease(self, *, at_most: int) -> None:
        """Take, or renew, the lease on live. See the contract."""
        with self._errors("Looking at who else could change the leases"), self._server.session() as session:
            refuse_other_writers(session)
        self._leases.take(at_most=at_most)

    def release_lease(self) -> None:
        """Give the lease back. See the contract."""
        self._leases.release()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Hold the lease for the length of a step, and bring to its end what a killed one began."""
        with self._leases.at_work() as hold:
            self._hold = hold
            try:
                if (copies := self._copies_or_none()) is not None:
                    with self._errors("Bringing a promotion to its end", PromoteFailed):
                        self._finished = finish_promotion(self._promoting(copies))
                yield
            finally:
                self._hold = None

    def dump(self, to: Path) -> DumpFacts:
        """Dump live to a file. See the contract."""
        with self._errors("Dumping"):
            self._held.note_step("dump")
        return dump_database(
            Dumping(
                server=self._server,
                database=self._database,
                to=to,
                compression=self.work.sync.options.compression,
                excluded=self.work.sync.excluded_tables,
                jobs=self.work.sync.options.jobs,
                progress=self.work.progress,
                log=self.work.log,
                may_go_on=self._held.may_write,
            )
        )

    def verify(self, dump: Path) -> None:
        """Read a dump through to its end, each document to its last value. See the contract."""
        read = open_dump(dump)
        self._refuse_other_database(read, "The dump")
        self.work.progress.start("reading the dump through", None, "bytes")
        for batch in read.documents(self.work.cancellation, thorough=True):
            self.work.progress.advance(len(batch.content))
        self.work.progress.finish()

    def live_stamp(self) -> Stamp | None:
        """What live says about itself. See the contract."""
        with self._errors("Reading the stamp of live"):
            live = read_or_refuse(self._held.session, self._database, self._live)
        return live.stamp if live else None

    def made_live_by(self) -> Holder | None:
        """Who last made live what it is. See the contract."""
        with self._errors("Reading the stamp of live"):
            live = read_live_stamp(self._held.session, self._database)
        return live.stamp.holder if live else None

    def incoming_stamp(self) -> Stamp | None:
        """What incoming says about itself. See the contract."""
        with self._errors("Reading the stamp of incoming"):
            return incoming_stamp(self._held.session, self._copies)[0]

    def restore(self, dump: Dump) -> tuple[str, ...]:
        """Make incoming anew from a dump. See the contract."""
        self.work.check_environment()
        copies, session = self._copies, self._held.session
        read = open_dump(dump.file)
        self._refuse_other_database(read, dump.key)
        sync = self.work.sync
        place = copies.alone if sync.transformation or sync.postprocess else copies.beside
        with self._errors("Preparing incoming", RestoreFailed):
            self._held.note_step("restore")
            unsafe = self._refuse_readers(session, place, {each.name for each in read.definitions})
            check_ours(session, copies)
            for dropped in drop_incoming(session, copies).dropped:
                self.work.log.info("Dropped %s, which an earlier step left.", dropped)
        entries, warnings = self._entries(read)
        with self._dropping_incoming(), self._errors("Restoring", RestoreFailed):
            stamp = first_stamp(self.work, dump, session.now())
            write_stamp(session, place, stamp)
            # Of the indexes only the unique ones are needed before the documents are what they will be.
            unique = None if place.beside_live else True
            fill(
                self._filling(session, place, entries),
                lambda: read.documents(self.work.cancellation),
                unique=unique,
            )
            write_stamp(session, place, self._now(session, stamp, CopyState.RAW))
        return (*unsafe, *warnings)

    def sanitise(self, transformations: Sequence[Path], postprocess: Sequence[Postprocess] = ()) -> Stamp:
        """Run the transformations on incoming, carry it beside live, write the proof. See the contract."""
        self.work.check_environment()
        copies, session = self._copies, self._held.session
        with self._errors("Looking at incoming", TransformationFailed):
            self._held.note_step("sanitise")
            raw, place = self._raw(session, copies)
        if (transformations or postprocess) and place.beside_live:
            raise ProofMissing(
                f"Incoming of {self._leases.where} was restored where applications can read it, before "
                "this sync had a transformation or a postprocess: nothing was run. Run the group again from "
                "restore."
            )
        with self._dropping_incoming(), self._errors("Sanitising", TransformationFailed):
            read = read_transformations(transformations)
            started = self._now(session, raw, CopyState.SANITISING)
            write_stamp(session, place, started)
            entries = read_catalogue(session, place)
            with self.work.stopwatch.part("transformations"):
                run_transformations(session, place, entries, read, self.work.progress, self.work.changed_rows)
            with self.work.stopwatch.part("postprocess"):
                ran = run_postprocess(session, place, postprocess, self.work.changed_rows)
            # Before a first pull live may have a collection, and what is new cannot be told.
            if (read or postprocess) and read_live_stamp(session, self._database) is not None:
                self.work.changed_rows.warn(
                    new_collections(session, self._database, entries, read, postprocess)
                )
            self._refuse_readers(
                session,
                place,
                {each.name for each in entries},
                "incoming was dropped and live is untouched.",
            )
            done = evolve(started, transformations=(*(one.said for one in read), *ran))
            if not place.beside_live:
                write_stamp(session, place, self._now(session, done, CopyState.TRANSFORMED))
                # Under another state, for it is not whole before all of it is there.
                write_stamp(session, copies.beside, self._now(session, done, CopyState.TRANSFORMED))
                fill(
                    self._filling(session, copies.beside, entries),
                    lambda: documents_of(session, place, entries),
                    unique=None,
                )
            stamp = self._now(session, done, CopyState.SANITISED)
            write_stamp(session, copies.beside, stamp)
            if not place.beside_live:
                session.drop_database(place.database)
        return stamp

    def promote(self, transformations: Sequence[Transformation], last_look: Callable[[], None]) -> Promotion:
        """Swap incoming with live. See the contract."""
        self.work.check_environment()
        with self._errors("Promoting", PromoteFailed):
            self._held.note_step("promote")
            return promote(self._promoting(self._copies), transformations, last_look)

    def restore_previous(self, last_look: Callable[[Stamp | None], None]) -> Promotion:
        """Not offered: see the capability `previous`."""
        raise NoPrevious(
            f"{self._leases.where} has no previous: {self._server.features.product} cannot keep one beside "
            "live without a moment in which collections are missing. Pull an older dump by its timestamp "
            "instead."
        )

    def clean_up(self) -> CleanUp:
        """Put right what a killed step left. See the contract."""
        notes = []
        dropped = False
        if self._finished is not None:
            holder = self._finished.live.stamp.holder
            notes.append(
                f"a promotion of {self._database} by {holder} that did not end was brought to its end"
            )
        if (copies := self._copies_or_none()) is not None:
            session = self._held.session
            with self._errors("Cleaning up"), session.uninterrupted():
                stamps = [read_stamp(session, place) for place in (copies.alone, copies.beside)]
                whose = (
                    left_alone(f"incoming of {self._database}", stamp, self.work.holder) for stamp in stamps
                )
                if alone := next(filter(None, whose), ""):
                    notes.append(alone)
                else:
                    found = drop_incoming(session, copies)
                    dropped = bool(found.dropped)
                    notes += [f"dropped {each}" for each in found.dropped]
                    notes += [found.left] if found.left else []
        for note in notes:
            self.work.log.info("Clean-up of %s: %s.", self._database, note)
        return CleanUp(live_reopened=False, incoming_dropped=dropped, notes=tuple(notes))

    def preflight_server(self) -> tuple[Finding, ...]:
        """Try what would stop every sync with this connection. See the contract."""
        return tuple(look_at_server(self._looked_at, self.work.sync.action))

    def preflight(self, transformations: Sequence[Path], head: DumpHead | None) -> Preflight:
        """Try what would stop this sync alone. See the contract."""
        try:
            copies = self._copies
        except NameRefused as refused:
            return Preflight(findings=(problem(str(refused)),), live_size=None)
        return look_at_sync(
            Looking(
                server=self._looked_at,
                action=self.work.sync.action,
                copies=copies,
                transformations=transformations,
                excluded=self.work.sync.excluded_tables,
                head=head,
                postprocess=self.work.sync.postprocess,
                guards=self.work.sync.guards,
                must_be_seen=self.work.sync.must_be_seen,
            )
        )

    def preflight_stamps(self) -> tuple[Stamp, ...]:
        """What live says about itself, without the lease. See the contract."""
        server = self._looked_at
        with server.session() as session, server.errors("Reading the stamp of live"):
            live = read_or_refuse(session, self._database, self._live)
        return (live.stamp,) if live else ()

    @property
    def _live(self) -> str:
        return f"{self._database} on {self._server}"

    @property
    def _looked_at(self) -> Server:
        return evolve(self._server, timeout=CONNECT_TIMEOUT)

    @property
    def _copies(self) -> Copies:
        return copies_of(self._database, (self._server.lease_database,))

    def _copies_or_none(self) -> Copies | None:
        """None for a database that can only be dumped."""
        try:
            return self._copies
        except NameRefused:
            return None

    @property
    def _held(self) -> Hold[Session]:
        if self._hold is None:
            raise LeaseLost(
                f"No step is at work on {self._leases.where}: this may only be done with its lease."
            )
        return self._hold

    def _promoting(self, copies: Copies) -> Promoting:
        return Promoting(
            server=self._server,
            hold=self._held,
            copies=copies,
            holder=self.work.holder,
            environment=self.work.sync.environment,
            keep_previous=False,
            jobs=self.work.sync.options.jobs,
            progress=self.work.progress,
            log=self.work.log,
        )

    def _filling(self, session: Session, place: Place, entries: Sequence[Entry]) -> Filling:
        return Filling(
            session=session,
            place=place,
            entries=entries,
            jobs=self.work.sync.options.jobs,
            progress=self.work.progress,
            stopwatch=self.work.stopwatch,
        )

    def _errors(
        self, doing: str, otherwise: type[EnvSyncError] = EnvSyncError
    ) -> contextlib.AbstractContextManager[None]:
        return self._server.errors(f"{doing} ({self._database})", otherwise)

    def _refuse_other_database(self, read: DumpFile, what: str) -> None:
        if not read.definitions:
            raise DumpDamaged(f"{what} holds no collection: it would leave nothing of {self._database}.")
        if read.database != self._database:
            raise DumpDamaged(
                f"{what} is a dump of {read.database}, another database than {self._database}: it was put "
                "there under a wrong name. Choose another dump by its timestamp, or push it again. Nothing "
                "was touched."
            )

    def _refuse_readers(
        self, session: Session, place: Place, collections: Set[str], what: str = "nothing was restored."
    ) -> tuple[str, ...]:
        """Raises AccessRefused where others could read one of these; gives warnings where that may be.

        What a pull that does not sanitise brings is in live as it is here: nobody need be kept from it.
        """
        if place.beside_live or not self.work.sync.guards:
            return ()
        looked = Looked(
            database=place.database,
            collections=frozenset(collections),
            live=self._database,
            must_be_seen=self.work.sync.must_be_seen,
        )
        return refuse_readers(session, looked, self.work.log, what)

    def _entries(self, read: DumpFile) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
        """What is made of a dump's collections here, and warnings for what cannot be."""
        entries: list[Entry] = []
        warnings: list[str] = []
        for number, definition in enumerate(sorted(read.definitions, key=lambda each: each.name)):
            suits, lacking = suited(definition, self._server.features)
            warnings += lacking
            if suits is not None:
                entries.append(Entry(number=number, definition=suits))
        return tuple(entries), tuple(warnings)

    def _now(self, session: Session, stamp: Stamp, state: CopyState) -> Stamp:
        return evolve(stamp, state=state, changed=session.now())

    def _raw(self, session: Session, copies: Copies) -> tuple[Stamp, Place]:
        stamp, place = incoming_stamp(session, copies)
        where = f"Incoming of {self._leases.where}"
        if stamp is None:
            raise ProofMissing(f"{where} is not there, or carries no stamp of Env Sync. {AGAIN}")
        return check_raw(stamp, where, self.work), place

    @contextlib.contextmanager
    def _dropping_incoming(self) -> Iterator[None]:
        """Drop incoming where the block raises: nobody may find it half done."""
        try:
            yield
        except BaseException:
            self._drop_after_failure()
            raise

    def _drop_after_failure(self) -> None:
        session = self._held.session
        try:
            with session.uninterrupted():
                drop_incoming(session, self._copies)
        except (EnvSyncError, PyMongoError) as error:
            self.work.log.error(
                "Incoming of %s could not be dropped after a failure (%s); the end of the group tries again.",
                self._leases.where,
                describe(error),
            )
