"""The MySQL engine: the contract, put together from the modules beside this one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pymysql
from attrs import evolve

from env_sync.core.errors import (
    EnvSyncError,
    LeaseLost,
    NameRefused,
    PromoteFailed,
    ProofMissing,
    RestoreFailed,
    TransformationFailed,
)
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
from env_sync.engines.mysql.access.administrator import check_power
from env_sync.engines.mysql.access.indirect_readers import check_watchers, raw_log
from env_sync.engines.mysql.access.log_tables import log_tables
from env_sync.engines.mysql.access.readers import check_closed
from env_sync.engines.mysql.clean_up import Cleaning
from env_sync.engines.mysql.columns import read_columns
from env_sync.engines.mysql.copy_ownership import check_no_strangers
from env_sync.engines.mysql.dump import dump_database
from env_sync.engines.mysql.in_place import transform_in_place
from env_sync.engines.mysql.incoming import (
    drop_after_failure,
    drop_copy,
    end_earlier_sessions,
    make_closed,
)
from env_sync.engines.mysql.lease import HeldLease, LeaseManager
from env_sync.engines.mysql.metadata import (
    Told,
    read_or_refuse,
    read_told,
    write_dumped,
    write_objects,
    write_stamp,
)
from env_sync.engines.mysql.names import Copies, copies_of
from env_sync.engines.mysql.outgoing import Outgoing, dump_outgoing
from env_sync.engines.mysql.preflight import CONNECT_TIMEOUT, look_at_server
from env_sync.engines.mysql.preflight_sync import Pushing, look_at_pull, look_at_push
from env_sync.engines.mysql.promotion import Promoting
from env_sync.engines.mysql.read_only import reading
from env_sync.engines.mysql.replaceable import check_replaceable
from env_sync.engines.mysql.restore import restore_dump
from env_sync.engines.mysql.sanitise import run_transformations, set_aside
from env_sync.engines.mysql.session import Server, Session, clock, exists, plain_errors
from env_sync.engines.mysql.stash import put_back
from env_sync.engines.mysql.swap import check_no_swap, recover
from env_sync.engines.mysql.transformation import LIVE, OUTGOING, Script, as_scripts, read_transformations
from env_sync.engines.mysql.undo import Undoing
from env_sync.engines.mysql.verify import verify_dump


class MySQLEngine(DumpEngine):
    """One database on a MySQL (from 5.7) or MariaDB server (from 10.3).

    A connection's extra may hold `lease_database` (env_sync), what `accepted_readers.py` names, and
    `ssl_mode`, `ssl_ca`, `ssl_cert` and `ssl_key` as MySQL's own programs have them.
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
        # An account that only dumps may lack the right to make the lease database; the named lock must do.
        self._without_table = work.sync.action is Action.PUSH and work.sync.pre_dump_transformation is None
        self._hold: HeldLease | None = None
        self._recovered = ""

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
                self._recover()
                yield
            finally:
                self._hold = None

    def dump(self, to: Path) -> DumpFacts:
        """Dump live to a file. See the contract."""
        with self._errors():
            self._held.note_step("dump")
            if not self._held.in_table:
                check_no_swap(self._held.session, self._server, self._database)
        return self._with_warnings(self._dump_live(to))

    def dump_transformed(self, to: Path, transformations: Sequence[Path], *, in_place: bool) -> DumpFacts:
        """Dump live as it is after transformations. See the contract."""
        self.work.check_environment()
        copies, session = self._copies, self._held.session
        with self._errors(TransformationFailed):
            self._held.note_step("dump")
            outside = self._outside(session, copies)
            scripts = read_transformations(transformations, outside, LIVE if in_place else OUTGOING)
        facts = self._dump_in_place(to, scripts) if in_place else self._dump_outgoing(to, scripts)
        return self._with_warnings(evolve(facts, transformations=tuple(one.said for one in scripts)))

    def verify(self, dump: Path) -> None:
        """Read a dump through to its end. See the contract."""
        verify_dump(dump, self._database, cancellation=self.work.cancellation, progress=self.work.progress)

    def live_stamp(self) -> Stamp | None:
        """What live says about itself. See the contract."""
        with self._errors(), self._asked() as session:
            return read_or_refuse(session, self._database, f"{self._database} on {self._server}").stamp

    def made_live_by(self) -> Holder | None:
        """Who last made live what it is. See the contract."""
        told = self._told(self._database)
        made = told.returned or told.stamp
        return made.holder if made else None

    def incoming_stamp(self) -> Stamp | None:
        """What incoming says about itself. See the contract."""
        return self._told(self._copies.incoming).stamp

    def restore(self, dump: Dump) -> tuple[str, ...]:
        """Make incoming anew from a dump. See the contract."""
        self.work.check_environment()
        copies, session = self._copies, self._held.session
        with self._errors(RestoreFailed):
            self._held.note_step("restore")
            warnings = check_power(session, self._server)
            self._drop_leftovers(session, copies)
            # What would stop the swap in the end had better stop it now.
            check_replaceable(session, self._server, copies, RestoreFailed)
            if self.work.sync.guards:
                warnings += check_watchers(session, self._server, copies.incoming, RestoreFailed)
                warnings += raw_log(session, self._server) + log_tables(session, self._server)
        with self._making(copies.incoming), self._errors(RestoreFailed):
            stamp = first_stamp(self.work, dump, clock(session))
            make_closed(session, copies.incoming, copies.live, stamp, RestoreFailed)
        with self._dropping(copies.incoming):
            with self._errors(RestoreFailed):
                others = [str(row[0]) for row in session.execute("SHOW DATABASES")]
            with self._errors(RestoreFailed):
                restored = restore_dump(
                    dump.file,
                    self._server,
                    copies.incoming,
                    self._database,
                    jobs=self.work.sync.options.jobs,
                    others=others,
                    cancellation=self.work.cancellation,
                    progress=self.work.progress,
                    stopwatch=self.work.stopwatch,
                )
            with self._errors(RestoreFailed):
                write_dumped(session, copies.incoming, restored.objects)
                write_objects(session, copies.incoming, restored.waiting)
                check_closed(session, copies.incoming, RestoreFailed)
                write_stamp(session, copies.incoming, self._now(session, stamp, CopyState.RAW))
        return self._held.warnings + warnings + restored.left_out + restored.put_off

    def sanitise(self, transformations: Sequence[Path], postprocess: Sequence[Postprocess] = ()) -> Stamp:
        """Run the transformations on incoming and write the proof. See the contract."""
        self.work.check_environment()
        copies, session = self._copies, self._held.session
        with self._errors(TransformationFailed):
            self._held.note_step("sanitise")
            raw = self._raw_stamp(session)
        with self._dropping(copies.incoming), self._errors(TransformationFailed):
            outside = self._outside(session, copies)
            scripts = (*read_transformations(transformations, outside), *as_scripts(postprocess, outside))
            started = self._now(session, raw, CopyState.SANITISING)
            write_stamp(session, copies.incoming, started)
            with self.work.stopwatch.part("transformations"):
                transformed = run_transformations(
                    self._server,
                    copies.incoming,
                    scripts,
                    lambda inside: evolve(
                        self._now(inside, started, CopyState.TRANSFORMED),
                        transformations=tuple(one.said for one in scripts),
                    ),
                    self.work.changed_rows,
                )
                if scripts:
                    now, before = (read_columns(session, each) for each in (copies.incoming, copies.live))
                    self.work.changed_rows.warn(not_named(before, now, [one.text for one in scripts]))
            check_closed(session, copies.incoming, TransformationFailed)
            if self.work.sync.guards:
                check_watchers(session, self._server, copies.incoming, TransformationFailed)
            with self._server.session(copies.incoming) as inside:
                return set_aside(
                    inside,
                    copies.incoming,
                    transformed,
                    lambda: self._now(inside, transformed, CopyState.SANITISED),
                )

    def promote(self, transformations: Sequence[Transformation], last_look: Callable[[], None]) -> Promotion:
        """Swap incoming with live. See the contract."""
        self.work.check_environment()
        with self._errors(PromoteFailed):
            self._held.note_step("promote")
            promotion = promote(self._promoting, transformations, last_look)
        return evolve(promotion, warnings=self._held.warnings + promotion.warnings)

    def restore_previous(self, last_look: Callable[[Stamp | None], None]) -> Promotion:
        """Swap live and previous back. See the contract."""
        self.work.check_environment()
        with self._errors(PromoteFailed):
            self._held.note_step("restore_previous")
            promotion = restore_previous(self._undoing, last_look)
        return evolve(promotion, warnings=self._held.warnings + promotion.warnings)

    def clean_up(self) -> CleanUp:
        """Put right what a killed step left. See the contract."""
        with self._errors():
            copies = self._copies_if_any
            return clean_up(
                Cleaning(
                    holder=self.work.holder,
                    live_named=self._database,
                    incoming=copies.incoming if copies else "",
                    outgoing=copies.outgoing if copies else "",
                    log=self.work.log,
                    hold=self._held,
                    database=self._database,
                    copies=copies,
                    recovered=self._recovered,
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
            self._looked_at, copies, transformations, sync.postprocess, head, guards=sync.guards
        )

    def preflight_stamps(self) -> tuple[Stamp, ...]:
        """What live says about itself, without the lease. See the contract."""
        with reading(self._looked_at) as session:
            stamp = read_or_refuse(session, self._database, f"{self._database} on {self._server}").stamp
        return (stamp,) if stamp is not None else ()

    @property
    def _looked_at(self) -> Server:
        return evolve(self._server, connect_timeout=CONNECT_TIMEOUT)

    @property
    def _promoting(self) -> Promoting:
        return Promoting(
            server=self._server,
            hold=self._held,
            leases=self._leases,
            copies=self._copies,
            holder=self.work.holder,
            environment=self.work.sync.environment,
            guards=self.work.sync.guards,
            keep_previous=self.work.sync.options.keep_previous,
            wait=self.work.sync.options.promote_wait,
            log=self.work.log,
        )

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
    def _copies(self) -> Copies:
        return copies_of(self._database, (self._server.lease_database,))

    @property
    def _copies_if_any(self) -> Copies | None:
        try:
            return self._copies
        except NameRefused:
            # A database that can only be dumped has no copies.
            return None

    @property
    def _held(self) -> HeldLease:
        if self._hold is None:
            raise LeaseLost(
                f"No step is at work on {self._leases.where}: this may only be done with its lease."
            )
        return self._hold

    def _with_warnings(self, facts: DumpFacts) -> DumpFacts:
        return evolve(facts, warnings=self._held.warnings + facts.warnings)

    def _recover(self) -> None:
        """End a swap that a killed step began, before anything else is done."""
        copies = self._copies_if_any
        if copies is None or not self._held.in_table:
            return
        with self._errors(PromoteFailed):
            self._recovered = recover(self._held.session, self._server, copies, self.work.log)
        if self._recovered:
            self.work.log.warning("%s.", self._recovered)

    def _errors(
        self, otherwise: type[EnvSyncError] = EnvSyncError
    ) -> contextlib.AbstractContextManager[None]:
        return plain_errors(f"Database {self._leases.where}", otherwise)

    def _outside(self, session: Session, copies: Copies) -> set[str]:
        """The databases that a transformation must not name."""
        return {str(row[0]) for row in session.execute("SHOW DATABASES")} | set(copies.all)

    def _drop_leftovers(self, session: Session, copies: Copies) -> None:
        """End and drop what an earlier step left: whoever holds the lease now is the only one at work.

        Raises NameRefused where a database that is not ours has such a name.
        """
        of_a_step = (copies.incoming, copies.outgoing)
        check_no_strangers(session, self._server, copies.live, of_a_step)
        end_earlier_sessions(self._held, (copies.live, *of_a_step))
        dropped = [copy for copy in of_a_step if drop_copy(session, copy)]
        if settled := put_back(session, copies):
            self.work.log.info("Settled what an earlier step left: %s.", settled)
        for copy in dropped:
            self.work.log.info("Dropped a %s that an earlier step left.", copy)

    def _dump_live(self, to: Path) -> DumpFacts:
        return dump_database(
            self._server,
            self._database,
            to,
            compression=self.work.sync.options.compression,
            excluded_tables=self.work.sync.excluded_tables,
            cancellation=self.work.cancellation,
            progress=self.work.progress,
            log=self.work.log,
        )

    def _dump_in_place(self, to: Path, scripts: Sequence[Script]) -> DumpFacts:
        with self._errors(TransformationFailed), self.work.stopwatch.part("transformations"):
            transform_in_place(self._server, self._database, scripts, self.work.changed_rows)
        with self.work.stopwatch.part("dump"):
            return self._dump_live(to)

    def _dump_outgoing(self, to: Path, scripts: Sequence[Script]) -> DumpFacts:
        copies, session = self._copies, self._held.session
        with self._errors(RestoreFailed):
            self._drop_leftovers(session, copies)
        outgoing = Outgoing(
            work=self.work,
            server=self._server,
            session=session,
            copies=copies,
            making=lambda: self._making(copies.outgoing),
            dropping=lambda: self._dropping(copies.outgoing),
        )
        return dump_outgoing(outgoing, scripts, to)

    def _now(self, session: Session, stamp: Stamp, state: CopyState) -> Stamp:
        return evolve(stamp, state=state, changed=clock(session))

    def _raw_stamp(self, session: Session) -> Stamp:
        incoming = self._copies.incoming
        where = f"{incoming} on {self._server}"
        if not exists(session, incoming):
            raise ProofMissing(f"There is no database {where} to sanitise. {AGAIN}")
        return check_raw(read_told(session, incoming).stamp, where, self.work)

    def _told(self, database: str) -> Told:
        with self._errors(), self._asked() as session:
            return read_told(session, database)

    @contextlib.contextmanager
    def _asked(self) -> Iterator[Session]:
        """The session with the lease; another one where none is held."""
        if self._hold is not None:
            yield self._hold.session
            return
        with self._server.session() as session:
            yield session

    @contextlib.contextmanager
    def _dropping(self, copy: str) -> Iterator[None]:
        """Drop a copy of ours where the block raises: nobody may find it half done."""
        try:
            yield
        except BaseException:
            self._drop_after_failure(copy, made=True)
            raise

    @contextlib.contextmanager
    def _making(self, copy: str) -> Iterator[None]:
        """The same for a block that makes the copy: one that is there then may be somebody else's."""
        try:
            yield
        except BaseException:
            self._drop_after_failure(copy, made=False)
            raise

    def _drop_after_failure(self, copy: str, *, made: bool) -> None:
        session = self._held.session
        session.abandon()
        if session.usable:
            drop_after_failure(session, copy, self.work.log, made=made)
        else:
            self._drop_alone(copy, made=made)

    def _drop_alone(self, copy: str, *, made: bool) -> None:
        """The same where the session that carries the lease is gone, if nobody else has the lease now."""
        try:
            with self._server.session(self._server.lease_database) as session, session.uninterrupted():
                if self._leases.lock_alone(session):
                    drop_after_failure(session, copy, self.work.log, made=made)
        except (EnvSyncError, pymysql.err.MySQLError) as failure:
            self.work.log.error(
                "%s could not be dropped after a failure (%s); the end of the group tries again. Nobody else "
                "can read it.",
                copy,
                type(failure).__name__,
            )
