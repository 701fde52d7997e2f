"""The engine for directories of files: the contract, put together from the modules beside this one."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import evolve

from env_sync.core.errors import (
    ContentRefused,
    EnvSyncError,
    LeaseLost,
    NoSuchDatabase,
    PromoteFailed,
    ProofMissing,
    RestoreFailed,
    ToolFailed,
    TransformationFailed,
)
from env_sync.domain.finding import Finding
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
from env_sync.engines.base.exclusions import excludes_nothing
from env_sync.engines.base.promotion import promote
from env_sync.engines.base.proof import AGAIN, check_raw, first_stamp
from env_sync.engines.base.undo import restore_previous
from env_sync.engines.files.clean_up import Cleaning
from env_sync.engines.files.dump import pack
from env_sync.engines.files.lease import Hold, Leases
from env_sync.engines.files.metadata import Record, read_or_refuse, read_record, write_record
from env_sync.engines.files.place import Place, check_folder, check_live, place_of, plain_errors
from env_sync.engines.files.preflight import look_at_pull, look_at_push, look_at_root
from env_sync.engines.files.promotion import Promoting
from env_sync.engines.files.restore import check_dump, unpack
from env_sync.engines.files.swap import remove, settle
from env_sync.engines.files.syscalls import write_out
from env_sync.engines.files.undo import Undoing


class FilesEngine(DumpEngine):
    """One directory on the machine of this worker.

    A connection's extra must hold `root`: the directory in which the directory called `database` is. Where
    the connection names a host, this machine must be that.
    """

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._hold: Hold | None = None
        self._settled = False

    def take_lease(self, *, at_most: int) -> None:
        """Take, or renew, the lease on live. See the contract."""
        self._leases.take(at_most=at_most)

    def release_lease(self) -> None:
        """Give the lease back. See the contract."""
        self._leases.release()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Hold the lease for the length of a step. See the contract."""
        with self._leases.at_work() as hold:
            self._hold = hold
            try:
                with self._errors():
                    self._settled = settle(self._place, self.work.log)
                yield
            finally:
                self._hold = None

    def dump(self, to: Path) -> DumpFacts:
        """Dump live to a file. See the contract."""
        place, progress = self._place, self.work.progress
        self._held.note_step("dump")
        started = dt.datetime.now(dt.UTC)
        written = to.with_name(f"{to.name}.new")
        written.unlink(missing_ok=True)
        if not place.live.is_symlink() and not place.live.is_dir():
            raise NoSuchDatabase(f"There is no directory {place}, so nothing to push.")
        if place.live.is_symlink():
            check_live(place)
        progress.start(f"dump of {place.live}", None, "bytes")
        try:
            with plain_errors(f"The dump of {place} into {to.parent}", ToolFailed):
                unmatched = pack(
                    place.live,
                    written,
                    excluded=self.work.sync.excluded_tables,
                    compression=self.work.sync.options.compression,
                    pulse=self._pulse_of(progress.advance),
                    log=self.work.log,
                )
                self._held.check()
                written.replace(to)
        except BaseException:
            written.unlink(missing_ok=True)
            raise
        progress.finish()
        return DumpFacts(
            engine_version=f"tar of Python {platform.python_version()}",
            server_version=f"{platform.system()} {platform.release()}",
            started=started,
            finished=dt.datetime.now(dt.UTC),
            warnings=tuple(excludes_nothing(pattern, str(self._place)) for pattern in unmatched),
        )

    def verify(self, dump: Path) -> None:
        """Read a dump through to its end. See the contract."""
        with plain_errors(f"Reading {dump}", ToolFailed):
            count = check_dump(dump, self.work.sync.database, self.work.cancellation.check)
        self.work.log.info("%s is whole and holds %d files, directories and links", dump.name, count)

    def live_stamp(self) -> Stamp | None:
        """What live says about itself. See the contract."""
        with self._errors():
            record = read_or_refuse(self._place, self._place.live)
        return record.stamp if record else None

    def made_live_by(self) -> Holder | None:
        """Who last made live what it is. See the contract."""
        record = self._record(self._place.live)
        made = (record.returned or record.stamp) if record else None
        return made.holder if made else None

    def incoming_stamp(self) -> Stamp | None:
        """What incoming says about itself. See the contract."""
        return self._stamp(self._place.incoming)

    def restore(self, dump: Dump) -> tuple[str, ...]:
        """Make incoming anew from a dump. See the contract."""
        self.work.check_environment()
        place, progress = self._place, self.work.progress
        self._held.note_step("restore")
        check_folder(place)
        with self._errors(RestoreFailed):
            # What would stop the swap in the end had better stop it now.
            self._check_live(RestoreFailed)
            if remove(place, place.incoming):
                self.work.log.info("Removed a %s that an earlier step left.", place.incoming)
        stamp = first_stamp(self.work, dump, dt.datetime.now(dt.UTC))
        progress.start(f"restore of {place.live}", None, "items")
        with self._dropping_incoming(), self._errors(RestoreFailed):
            place.incoming.mkdir(mode=0o700)
            write_record(place, place.incoming, Record(stamp=stamp))
            with self.work.stopwatch.part("files"):
                warnings = unpack(dump.file, place.incoming, place.database, self._pulse_of(progress.advance))
            with self.work.stopwatch.part("writing to disk"):
                write_out(place.folder)
            self._held.check()
            write_record(place, place.incoming, Record(stamp=_now(stamp, CopyState.RAW)))
        progress.finish()
        return warnings

    def sanitise(self, transformations: Sequence[Path], postprocess: Sequence[Postprocess] = ()) -> Stamp:
        """Write the proof; files are not transformed. See the contract."""
        self.work.check_environment()
        place = self._place
        self._held.note_step("sanitise")
        raw = self._raw_stamp()
        with self._dropping_incoming(), self._errors(TransformationFailed):
            if transformations or postprocess:
                names = [*(file.name for file in transformations), *(one.name for one in postprocess)]
                raise TransformationFailed(
                    f"{', '.join(names)} cannot be run on files. Incoming was removed and live is untouched; "
                    "take it out of the sync."
                )
            self.work.cancellation.check()
            self._held.check()
            stamp = _now(raw, CopyState.SANITISED)
            write_record(place, place.incoming, Record(stamp=stamp))
        self.work.log.info("%s needed no transformation, and proves it.", place.incoming)
        return stamp

    def promote(self, transformations: Sequence[Transformation], last_look: Callable[[], None]) -> Promotion:
        """Swap incoming with live. See the contract."""
        self.work.check_environment()
        self._held.note_step("promote")
        with self._errors(PromoteFailed):
            return promote(self._promoting, transformations, last_look)

    def restore_previous(self, last_look: Callable[[Stamp | None], None]) -> Promotion:
        """Swap live and previous back. See the contract."""
        self.work.check_environment()
        self._held.note_step("restore_previous")
        with self._errors(PromoteFailed):
            return restore_previous(self._undoing, last_look)

    def clean_up(self) -> CleanUp:
        """Put right what a killed step left. See the contract."""
        place = self._place
        with self._errors():
            return clean_up(
                Cleaning(
                    holder=self.work.holder,
                    live_named=str(place),
                    incoming=str(place.incoming),
                    live_reopened=self._settled,
                    log=self.work.log,
                    place=place,
                )
            )

    def preflight_server(self) -> tuple[Finding, ...]:
        """Try what would stop every sync with this connection. See the contract."""
        return tuple(look_at_root(self._place, self.work.sync.action))

    def preflight(self, transformations: Sequence[Path], head: DumpHead | None) -> Preflight:
        """Try what would stop this sync alone. See the contract."""
        sync = self.work.sync
        with self._errors():
            if sync.action is Action.PUSH:
                return look_at_push(self._place, sync.excluded_tables)
            return look_at_pull(self._place, transformations, head, keep_previous=sync.options.keep_previous)

    def preflight_stamps(self) -> tuple[Stamp, ...]:
        """What live says about itself, without the lease. See the contract."""
        return self.live_stamps()

    @functools.cached_property
    def _place(self) -> Place:
        return place_of(self.work.connection, self.work.sync.database)

    @functools.cached_property
    def _leases(self) -> Leases:
        work = self.work
        return Leases(self._place, work.holder, work.sync.options.lease_lifetime, work.cancellation, work.log)

    @property
    def _promoting(self) -> Promoting:
        return Promoting(
            place=self._place,
            hold=self._held,
            holder=self.work.holder,
            environment=self.work.sync.environment,
            keep_previous=self.work.sync.options.keep_previous,
            check=self.work.cancellation.check,
            log=self.work.log,
        )

    @property
    def _undoing(self) -> Undoing:
        return Undoing(
            place=self._place,
            hold=self._held,
            holder=self.work.holder,
            environment=self.work.sync.environment,
            database=self._place.database,
            keep_previous=self.work.sync.options.keep_previous,
            check=self.work.cancellation.check,
            log=self.work.log,
        )

    @property
    def _held(self) -> Hold:
        if self._hold is None:
            raise LeaseLost(f"No step is at work on {self._place}: this may only be done with its lease.")
        return self._hold

    def _errors(
        self, otherwise: type[EnvSyncError] = EnvSyncError
    ) -> contextlib.AbstractContextManager[None]:
        return plain_errors(f"{self._place}", otherwise)

    def _pulse_of(self, advance: Callable[[int], None]) -> Callable[..., None]:
        """What long work calls again and again: stops it where it was cancelled, or the lease is lost."""
        hold = self._held
        count = 0

        def pulse(done: int | None = None) -> None:
            nonlocal count
            count += 1
            self.work.cancellation.check()
            hold.check_now_and_then()
            advance(count if done is None else done)

        return pulse

    def _check_live(self, otherwise: type[EnvSyncError]) -> None:
        try:
            check_live(self._place)
        except ContentRefused as refused:
            raise otherwise(str(refused)) from None

    def _raw_stamp(self) -> Stamp:
        where = self._place.incoming
        record = self._record(where)
        if record is None:
            raise ProofMissing(f"There is no directory {where} to sanitise. {AGAIN}")
        return check_raw(record.stamp, str(where), self.work)

    def _stamp(self, copy: Path) -> Stamp | None:
        record = self._record(copy)
        return record.stamp if record else None

    def _record(self, copy: Path) -> Record | None:
        with self._errors():
            return read_record(self._place, copy)

    @contextlib.contextmanager
    def _dropping_incoming(self) -> Iterator[None]:
        """Remove incoming where the block raises: nobody may find it half done."""
        try:
            yield
        except LeaseLost:
            # Whoever has the lease now may be making another one.
            raise
        except BaseException:
            try:
                remove(self._place, self._place.incoming)
            except OSError as problem:
                self.work.log.error(
                    "%s could not be removed after a failure (%s); the end of the group tries again. Nobody "
                    "else can enter it.",
                    self._place.incoming,
                    os.strerror(problem.errno or 0),
                )
            raise


def _now(stamp: Stamp, state: CopyState) -> Stamp:
    return evolve(stamp, state=state, changed=dt.datetime.now(dt.UTC))
