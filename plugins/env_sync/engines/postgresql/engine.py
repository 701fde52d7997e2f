"""The PostgreSQL engine: the contract, put together from the modules beside this one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
from attrs import evolve

from env_sync.core.errors import (
    DumpDamaged,
    EnvSyncError,
    LeaseLost,
    NameRefused,
    PromoteFailed,
    ProofMissing,
    RestoreFailed,
    TransformationFailed,
)
from env_sync.core.serialization import from_plain, to_plain
from env_sync.domain.changed_rows import not_named
from env_sync.domain.finding import Finding, problem
from env_sync.domain.manifest import Transformation
from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.domain.sync import Action
from env_sync.engines.base.clean_up import clean_up
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
from env_sync.engines.base.promotion import promote
from env_sync.engines.base.proof import AGAIN, check_raw, first_stamp
from env_sync.engines.base.undo import restore_previous
from env_sync.engines.postgresql.access.administrator import check_power
from env_sync.engines.postgresql.access.owners import owner_of_live
from env_sync.engines.postgresql.access.readers import check_closed
from env_sync.engines.postgresql.access.roles import read_roles
from env_sync.engines.postgresql.archive import Archive, Entry, read_archive
from env_sync.engines.postgresql.background_indexes import building_meanwhile
from env_sync.engines.postgresql.clean_up import Cleaning, end_earlier_sessions
from env_sync.engines.postgresql.columns import read_columns
from env_sync.engines.postgresql.copy_ownership import check_made_by_us, check_names, look_up
from env_sync.engines.postgresql.database import read_database
from env_sync.engines.postgresql.deferred_indexes import named_in, waiting_indexes
from env_sync.engines.postgresql.deferred_statements import Kept, missing, take
from env_sync.engines.postgresql.dump import dump_database
from env_sync.engines.postgresql.in_place import transform_in_place
from env_sync.engines.postgresql.incoming import (
    Storage,
    drop_after_failure,
    drop_copy,
    make_closed,
    open_for_us,
    storage_of,
)
from env_sync.engines.postgresql.lease import HeldLease, LeaseManager
from env_sync.engines.postgresql.metadata import Closed, Comment, read_comment, read_or_refuse, write_stamp
from env_sync.engines.postgresql.names import Copies, copies_of, names_of_copies
from env_sync.engines.postgresql.outgoing import Outgoing, dump_outgoing
from env_sync.engines.postgresql.preflight import CONNECT_TIMEOUT, look_at_server
from env_sync.engines.postgresql.preflight_pull import Pulling, look_at_pull
from env_sync.engines.postgresql.preflight_push import Pushing, look_at_push
from env_sync.engines.postgresql.promotion import Promoting, required_role
from env_sync.engines.postgresql.read_only import reading
from env_sync.engines.postgresql.replication import check_not_replicated
from env_sync.engines.postgresql.restore import restore_archive
from env_sync.engines.postgresql.sanitise import (
    Read,
    as_transformations,
    build_indexes,
    prove,
    read_transformations,
    run_transformations,
    settle,
)
from env_sync.engines.postgresql.session import Server, Session, plain_errors
from env_sync.engines.postgresql.stash import check_replaceable_previous, drop_replaced
from env_sync.engines.postgresql.track_counts import ADVICE, WHY, counts
from env_sync.engines.postgresql.undo import Undoing
from env_sync.engines.postgresql.verify import verify_archive


class PostgreSQLEngine(DumpEngine):
    """One database on a PostgreSQL server (12 to 18).

    A connection's extra may hold, beside libpq's own settings: `lease_database` (env_sync),
    `maintenance_database` (postgres: where databases are made from), and `owner` (who owns a database that
    a first pull makes, which is refused without it), and what `accepted_readers.py` names.
    """

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._database = work.sync.database
        self._server = Server(
            connection=work.connection, group=work.holder.group, cancellation=work.cancellation
        )
        self._leases = LeaseManager(
            self._server, self._database, work.holder, work.sync.options.lease_lifetime, work.log
        )
        # A role that only dumps may lack the right to make the lease database; then the session lock must do.
        self._without_table = work.sync.action is Action.PUSH and work.sync.pre_dump_transformation is None
        self._hold: HeldLease | None = None

    def check_startable(self, *, undo: bool) -> None:
        """See whether somebody else's database has the name of a copy. See the contract."""
        sync = self.work.sync
        if undo or (sync.action is Action.PUSH and (self._without_table or sync.pre_dump_in_place)):
            return
        server, copies = self._server, self._copies
        with self._errors(), server.session(server.maintenance_database) as session:
            check_names(session, server, copies, self._dropped(copies))
            if sync.action is Action.PULL:
                check_power(session, server)
                live, roles = read_database(session, copies.live), read_roles(session)
                owner_of_live(server, copies.live, live, roles)

    def take_lease(self, *, at_most: int) -> None:
        """Take, or renew, the lease on live. See the contract."""
        self._leases.take(at_most=at_most, without_table=self._without_table)

    def release_lease(self) -> None:
        """Give the lease back. See the contract."""
        self._leases.release()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Hold the lease for the length of a step. See the contract."""
        with self._leases.at_work(without_table=self._without_table) as hold:
            self._hold = hold
            try:
                yield
            finally:
                self._hold = None

    def dump(self, to: Path) -> DumpFacts:
        """Dump live to a file. See the contract."""
        with self._errors():
            self._held.note_step("dump")
        return self._with_warnings(self._dump_live(to))

    def dump_transformed(self, to: Path, transformations: Sequence[Path], *, in_place: bool) -> DumpFacts:
        """Dump live as it is after transformations. See the contract."""
        self.work.check_environment()
        read = read_transformations(transformations)
        with self._errors(TransformationFailed):
            self._held.note_step("dump")
        facts = self._dump_in_place(to, read) if in_place else self._dump_outgoing(to, read)
        return self._with_warnings(evolve(facts, transformations=tuple(one.said for one in read)))

    def verify(self, dump: Path) -> None:
        """Read a dump through to its end. See the contract."""
        verify_archive(
            dump, cancellation=self.work.cancellation, progress=self.work.progress, log=self.work.log
        )

    def live_stamp(self) -> Stamp | None:
        """What live says about itself. See the contract."""
        with self._errors(), self._asked() as session:
            comment = read_or_refuse(session, self._database, f"{self._database} on {self._server}")
        return comment.stamp if comment else None

    def made_live_by(self) -> Holder | None:
        """Who last made live what it is. See the contract."""
        comment = self._comment(self._database)
        made = (comment.returned or comment.stamp) if comment else None
        return made.holder if made else None

    def incoming_stamp(self) -> Stamp | None:
        """What incoming says about itself. See the contract."""
        with self._errors(), self._asked() as session:
            found = look_up(session, self._copies.incoming)
        if found is None:
            return None
        if self._kept is not None and self._kept.database not in (None, found.oid):
            warning = (
                f"{self._copies.incoming} on {self._server} was another database than the one that the "
                "restore of this group made: a step that made it anew was killed, or somebody else did. "
                "It was not used"
            )
            self.work.changed_rows.warn([warning])
            return None
        return found.comment.stamp

    def restore(self, dump: Dump) -> tuple[str, ...]:
        """Make incoming anew from a dump. See the contract."""
        self.work.check_environment()
        copies, session = self._copies, self._held.session
        archive = read_archive(dump.file, cancellation=self.work.cancellation, log=self.work.log)
        self._refuse_other_database(archive, dump)
        self._refuse_older_server(session, archive)
        with self._errors(RestoreFailed):
            self._held.note_step("restore")
            accepted = check_power(session, self._server)
            if self.work.sync.sanitises and not counts(session):
                raise RestoreFailed(f"On {self._server} {WHY}: nothing was restored. {ADVICE}")
            live, roles = read_database(session, copies.live), read_roles(session)
            # What would stop the swap in the end had better stop it now.
            owner_of_live(self._server, copies.live, live, roles)
            if live is not None:
                required_role(session, live, roles, self._leases.where)
                check_replaceable_previous(session, self._server, copies)
                check_not_replicated(session, self._server, copies)
            check_names(session, self._server, copies, self._dropped(copies))
            end_earlier_sessions(self._server, self._held, self._database, copies)
            self._drop_leftovers(session, copies)
        with self._dropping(copies.incoming):
            with self._errors(RestoreFailed):
                warnings = self._make_incoming(session, copies, archive)
                stamp = first_stamp(self.work, dump, session.value("SELECT pg_catalog.clock_timestamp()"))
                look = open_for_us(session, self._server, copies.incoming, stamp, RestoreFailed)
                warnings += look.warnings
                self.closed = json.dumps(to_plain(look.closed))
            warnings += restore_archive(
                archive,
                self.work.connection,
                copies.incoming,
                jobs=self.work.sync.options.jobs,
                waiting=self._waiting(archive),
                cancellation=self.work.cancellation,
                progress=self.work.progress,
                stopwatch=self.work.stopwatch,
                log=self.work.log,
                application_name=self._server.application_name,
            )
            with self._errors(RestoreFailed):
                check_closed(session, self._server, copies.incoming, RestoreFailed, kept=look.closed)
                write_stamp(session, copies.incoming, self._now(session, stamp, CopyState.RAW))
        return accepted + warnings

    def sanitise(self, transformations: Sequence[Path], postprocess: Sequence[Postprocess] = ()) -> Stamp:
        """Run the transformations on incoming and write the proof. See the contract."""
        self.work.check_environment()
        copies, session = self._copies, self._held.session
        with self._errors(TransformationFailed):
            self._held.note_step("sanitise")
            raw = self._raw_stamp(session)
        with self._dropping(copies.incoming):
            read = read_transformations(transformations) + as_transformations(postprocess)
            with self._errors(TransformationFailed):
                started = self._now(session, raw, CopyState.SANITISING)
                write_stamp(session, copies.incoming, started)
                with (
                    self._server.session(copies.incoming) as inside,
                    self.work.stopwatch.part("transformations"),
                ):
                    kept = take(inside)
                    state = CopyState.TRANSFORMED if kept else CopyState.SANITISED
                    with building_meanwhile(
                        self._server, copies.incoming, self._left_alone(kept, read)
                    ) as built:
                        stamp = run_transformations(
                            inside,
                            read,
                            lambda: prove(
                                inside,
                                self._server,
                                copies.incoming,
                                evolve(
                                    self._now(inside, started, state),
                                    transformations=tuple(one.said for one in read),
                                ),
                                self._kept,
                            ),
                            self.work.changed_rows,
                            comments=1,
                        )
                    if read:
                        self._look_for_new_columns(inside, read)
                if kept:
                    with self.work.stopwatch.part("indexes"):
                        build_indexes(
                            self._server,
                            copies.incoming,
                            kept,
                            built,
                            self.work.sync.options.jobs,
                            self.work.progress,
                        )
                    stamp = self._complete(session, stamp, kept)
        with self._errors(), self.work.stopwatch.part("vacuum and analyze"):
            settle(self._server, copies.incoming, self.work.sync.options.jobs, self.work.log)
        return stamp

    def _look_for_new_columns(self, inside: Session, read: Sequence[Read]) -> None:
        """Tell of what live has not and no transformation names; live may not let anybody look."""
        copies = self._copies
        if read_database(self._held.session, copies.live) is None:
            return
        try:
            with reading(self._server, copies.live) as session:
                before = read_columns(session)
        except EnvSyncError as refused:
            self.work.log.info("Whether tables or columns are new could not be seen: %s", refused)
            return
        texts = [one.script.text for one in read]
        self.work.changed_rows.warn(not_named(before, read_columns(inside), texts))

    def promote(self, transformations: Sequence[Transformation], last_look: Callable[[], None]) -> Promotion:
        """Swap incoming with live. See the contract."""
        self.work.check_environment()
        with self._errors(PromoteFailed):
            self._held.note_step("promote")
            return promote(self._promoting, transformations, last_look)

    def restore_previous(self, last_look: Callable[[Stamp | None], None]) -> Promotion:
        """Swap live and previous back. See the contract."""
        self.work.check_environment()
        with self._errors(PromoteFailed):
            self._held.note_step("restore_previous")
            return restore_previous(self._undoing, last_look)

    def clean_up(self) -> CleanUp:
        """Put right what a killed step left. See the contract."""
        try:
            copies = self._copies
        except NameRefused:
            # A database that can only be dumped has no copies.
            copies = None
        with self._errors():
            return clean_up(
                Cleaning(
                    holder=self.work.holder,
                    live_named=self._database,
                    incoming=copies.incoming if copies else "",
                    outgoing=copies.outgoing if copies else "",
                    live_reopened=self._held.live_reopened,
                    log=self.work.log,
                    server=self._server,
                    hold=self._held,
                    database=self._database,
                    copies=copies,
                )
            )

    def preflight_server(self) -> tuple[Finding, ...]:
        """Try what would stop every sync with this connection. See the contract."""
        return tuple(look_at_server(self._looked_at, self.work.sync.action))

    def preflight(self, transformations: Sequence[Path], head: DumpHead | None) -> Preflight:
        """Try what would stop this sync alone. See the contract."""
        sync = self.work.sync
        if sync.action is Action.PUSH:
            return look_at_push(
                Pushing(
                    server=self._looked_at,
                    database=self._database,
                    excluded_tables=sync.excluded_tables,
                    transformations=transformations,
                    in_place=sync.pre_dump_in_place,
                )
            )
        try:
            copies = self._copies
        except NameRefused as refused:
            return Preflight(findings=(problem(str(refused)),), live_size=None)
        return look_at_pull(
            Pulling(
                server=self._looked_at,
                copies=copies,
                transformations=transformations,
                postprocess=sync.postprocess,
                head=head,
                keep_previous=sync.options.keep_previous,
                wait=sync.options.promote_wait,
            )
        )

    def preflight_stamps(self) -> tuple[Stamp, ...]:
        """What live says about itself, without the lease. See the contract."""
        with reading(self._looked_at, self._server.maintenance_database) as session:
            comment = read_or_refuse(session, self._database, f"{self._database} on {self._server}")
        return (comment.stamp,) if comment and comment.stamp else ()

    @property
    def _looked_at(self) -> Server:
        return evolve(self._server, connect_timeout=CONNECT_TIMEOUT)

    @property
    def _undoing(self) -> Undoing:
        return Undoing(
            holder=self.work.holder,
            environment=self.work.sync.environment,
            database=self._copies.live,
            keep_previous=self.work.sync.options.keep_previous,
            log=self.work.log,
            promoting=self._promoting,
        )

    @property
    def _promoting(self) -> Promoting:
        return Promoting(
            server=self._server,
            hold=self._held,
            leases=self._leases,
            copies=self._copies,
            holder=self.work.holder,
            environment=self.work.sync.environment,
            keep_previous=self.work.sync.options.keep_previous,
            wait=self.work.sync.options.promote_wait,
            log=self.work.log,
            closed=self._kept,
        )

    @property
    def _kept(self) -> Closed | None:
        return from_plain(Closed, json.loads(self.closed)) if self.closed else None

    @property
    def _copies(self) -> Copies:
        reserved = (self._server.lease_database, self._server.maintenance_database)
        return copies_of(self._database, reserved)

    @property
    def _held(self) -> HeldLease:
        if self._hold is None:
            raise LeaseLost(
                f"No step is at work on {self._leases.where}: this may only be done with its lease."
            )
        return self._hold

    def _with_warnings(self, facts: DumpFacts) -> DumpFacts:
        return evolve(facts, warnings=self._held.warnings + facts.warnings)

    def _errors(
        self, otherwise: type[EnvSyncError] = EnvSyncError
    ) -> contextlib.AbstractContextManager[None]:
        return plain_errors(f"Database {self._leases.where}", otherwise, names_of_copies(self._database))

    def _refuse_other_database(self, archive: Archive, dump: Dump) -> None:
        if archive.database != self._database:
            raise DumpDamaged(
                f"{dump.key} is a dump of {archive.database}, another database than {self._database}: it was "
                "put there under a wrong name. Choose another dump by its timestamp, or push it again. "
                "Nothing was touched."
            )

    def _refuse_older_server(self, session: Session, archive: Archive) -> None:
        dumped = int(archive.server_version.partition(".")[0] or 0)
        if dumped > session.version:
            raise RestoreFailed(
                f"The dump is of PostgreSQL {dumped}, and {self._server} is PostgreSQL {session.version}: a "
                "dump does not go into an older server, which may lack what is in it. Upgrade this server "
                "first. Nothing was touched."
            )

    def _dropped(self, copies: Copies) -> tuple[str, ...]:
        """The copies that this sync drops, or replaces, and makes anew."""
        if self.work.sync.action is Action.PUSH:
            return (copies.outgoing,)
        return (copies.incoming, copies.replaced, copies.previous)

    def _drop_leftovers(self, session: Session, copies: Copies) -> None:
        """Drop what an earlier step left: whoever holds the lease now is the only one at work."""
        dropped = [copy for copy in (copies.incoming, copies.outgoing) if drop_copy(session, copy)]
        dropped += [copies.replaced] if drop_replaced(session, copies) else []
        for copy in dropped:
            self.work.log.info("Dropped a %s that an earlier step left.", copy)

    def _dump_live(self, to: Path) -> DumpFacts:
        return dump_database(
            self.work.connection,
            self._database,
            to,
            compression=self.work.sync.options.compression,
            excluded_tables=self.work.sync.excluded_tables,
            cancellation=self.work.cancellation,
            progress=self.work.progress,
            log=self.work.log,
            application_name=self._server.application_name,
        )

    def _dump_in_place(self, to: Path, read: Sequence[Read]) -> DumpFacts:
        with self._errors(TransformationFailed), self.work.stopwatch.part("transformations"):
            transform_in_place(self._server, self._database, read, self.work.changed_rows)
        with self.work.stopwatch.part("dump"):
            return self._dump_live(to)

    def _dump_outgoing(self, to: Path, read: Sequence[Read]) -> DumpFacts:
        copies, session = self._copies, self._held.session
        with self._errors(RestoreFailed):
            check_names(session, self._server, copies, self._dropped(copies))
            end_earlier_sessions(self._server, self._held, self._database, copies)
            self._drop_leftovers(session, copies)
        outgoing = Outgoing(
            work=self.work,
            server=self._server,
            session=session,
            copies=copies,
            dropping=lambda: self._dropping(copies.outgoing),
        )
        return dump_outgoing(outgoing, read, to)

    def _make_incoming(self, session: Session, copies: Copies, archive: Archive) -> tuple[str, ...]:
        like_live = storage_of(session, copies.live)
        storage = like_live or Storage(locale=archive.locale, tablespace="")
        return make_closed(session, copies.incoming, storage, exact=like_live is not None)

    def _now(self, session: Session, stamp: Stamp, state: CopyState) -> Stamp:
        return evolve(stamp, state=state, changed=session.value("SELECT pg_catalog.clock_timestamp()"))

    def _raw_stamp(self, session: Session) -> Stamp:
        found = look_up(session, self._copies.incoming)
        where = f"{self._copies.incoming} on {self._server}"
        if found is None:
            raise ProofMissing(f"There is no database {where} to sanitise. {AGAIN}")
        check_made_by_us(found, where, AGAIN)
        return check_raw(found.comment.stamp, where, self.work)

    def _waiting(self, archive: Archive) -> tuple[Entry, ...]:
        """What the restore leaves for after the transformation."""
        file = self.work.sync.transformation
        try:
            script = read_transformations([file])[0].script if file else None
        except TransformationFailed:
            # The step that runs it says so.
            return ()
        return waiting_indexes(archive, script, self.work.sync.options.indexes_after_transformation)

    def _left_alone(self, kept: tuple[Kept, ...], read: Sequence[Read]) -> tuple[Kept, ...]:
        """The indexes of tables that the transformations do not name; none where one session is all."""
        if self.work.sync.options.jobs == 1:
            return ()
        named = named_in(one.script for one in read)
        return tuple(each for each in kept if each.index and each.table.lower() not in named)

    def _complete(self, session: Session, stamp: Stamp, kept: tuple[Kept, ...]) -> Stamp:
        """Write the proof for a copy that proves itself to be transformed, once nothing of it is missing."""
        incoming = self._copies.incoming
        with self._server.session(incoming) as inside:
            absent = missing(inside, kept)
        if absent:
            raise TransformationFailed(
                f"{incoming} lacks indexes that were built after the transformations: {', '.join(absent)}. "
                "Something else works in it. Incoming is dropped, live is untouched; run the group again."
            )
        with session.transaction():
            comment = read_comment(session, incoming)
            if comment is None or comment.stamp != stamp:
                raise ProofMissing(
                    f"{incoming} on {self._server} no longer says what the transformations wrote into it: "
                    "something else works on it. Run the group again from restore; live is untouched."
                )
            sanitised = self._now(session, stamp, CopyState.SANITISED)
            write_stamp(session, incoming, sanitised)
        return sanitised

    def _comment(self, database: str) -> Comment | None:
        with self._errors(), self._asked() as session:
            return read_comment(session, database)

    @contextlib.contextmanager
    def _asked(self) -> Iterator[Session]:
        """The session with the lease; another one where none is held."""
        if self._hold is not None:
            yield self._hold.session
            return
        with self._server.session(self._server.maintenance_database) as session:
            yield session

    @contextlib.contextmanager
    def _dropping(self, copy: str) -> Iterator[None]:
        """Drop a copy where the block raises: nobody may find it half done."""
        try:
            yield
        except BaseException:
            session = self._held.session
            session.abandon()
            if session.usable:
                drop_after_failure(session, copy, self.work.log)
            else:
                self._drop_alone(copy)
            raise

    def _drop_alone(self, copy: str) -> None:
        """The same where the session that carries the lease is gone, if nobody else has the lease now."""
        try:
            with self._server.session(self._server.lease_database) as session, session.uninterrupted():
                if self._leases.lock_alone(session):
                    drop_after_failure(session, copy, self.work.log)
        except (EnvSyncError, psycopg.Error) as problem:
            self.work.log.error(
                "%s could not be dropped after a failure (%s); the end of the group tries again. Nobody "
                "else can connect to it.",
                copy,
                type(problem).__name__,
            )
