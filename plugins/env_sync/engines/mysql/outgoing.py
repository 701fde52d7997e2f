"""Outgoing: a closed copy of live that is transformed and then dumped, so that live itself stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from attrs import evolve, frozen

from env_sync.core.errors import ProofMissing, RestoreFailed, TransformationFailed
from env_sync.engines.base.contract import CopyState, DumpFacts, Stamp, Work
from env_sync.engines.mysql.access.readers import check_closed
from env_sync.engines.mysql.archive import CHUNK, check_header, first_bytes, opened
from env_sync.engines.mysql.copy_ownership import check_no_strangers
from env_sync.engines.mysql.dump import AsOf, dump_database, matches
from env_sync.engines.mysql.incoming import drop_copy, make_closed
from env_sync.engines.mysql.metadata import read_objects, read_told, write_dumped, write_objects, write_stamp
from env_sync.engines.mysql.names import Copies
from env_sync.engines.mysql.objects import Kind, Object
from env_sync.engines.mysql.objects_text import as_text, table_of
from env_sync.engines.mysql.restore import restore_dump
from env_sync.engines.mysql.sanitise import run_transformations, set_aside
from env_sync.engines.mysql.session import Server, Session, clock, plain_errors
from env_sync.engines.mysql.transformation import OUTGOING, Script


@frozen(kw_only=True)
class Outgoing:
    """What making and dumping a copy of live works with.

    `session` holds the lease. In the block of `dropping` whatever is raised drops the copy; in that of
    `making` only a copy that is ours.
    """

    work: Work
    server: Server
    session: Session
    copies: Copies
    making: Callable[[], AbstractContextManager[None]]
    dropping: Callable[[], AbstractContextManager[None]]

    @property
    def where(self) -> str:
        """The copy, and where it is."""
        return f"{self.copies.outgoing} on {self.server}"

    def errors(self, otherwise: type[RestoreFailed | TransformationFailed]) -> AbstractContextManager[None]:
        """Errors of the server, in words of Env Sync."""
        return plain_errors(f"Database {self.where}", otherwise)


def dump_outgoing(outgoing: Outgoing, scripts: Sequence[Script], to: Path) -> DumpFacts:
    """Dump live to the file `to` as it is after the transformations.

    Raises NameRefused where a database that is not ours has the copy's name, and what dumping, restoring and
    transforming raise; the copy, and the raw dump that it is made from, are gone in any case.
    """
    work, copies, session = outgoing.work, outgoing.copies, outgoing.session
    with outgoing.errors(RestoreFailed):
        check_no_strangers(session, outgoing.server, copies.live, (copies.outgoing,))
    raw = to.with_name("live.dump")
    try:
        with work.stopwatch.part("dump of live"):
            # Whole: a transformation may need rows that are left out in the end.
            live = _dump(outgoing, copies.live, raw)
        with outgoing.making():
            made = _make(outgoing, live)
        with outgoing.dropping():
            warnings = _fill(outgoing, raw)
            raw.unlink()
            stamp = _transform(outgoing, scripts, made)
            with outgoing.errors(RestoreFailed):
                objects = _dumped_objects(session, copies.outgoing, work.sync.excluded_tables)
            with work.stopwatch.part("dump"):
                facts = _dump(
                    outgoing,
                    copies.outgoing,
                    to,
                    excluded_tables=work.sync.excluded_tables,
                    as_of=AsOf(database=copies.live, objects=as_text(objects)),
                )
            try:
                _check_copy(outgoing, stamp)
                with opened(to) as stream:
                    check_header(to.name, first_bytes(to), stream.read(CHUNK), copies.live)
                with outgoing.errors(RestoreFailed):
                    drop_copy(session, copies.outgoing)
            except BaseException:
                to.unlink(missing_ok=True)
                raise
    finally:
        raw.unlink(missing_ok=True)
    return evolve(facts, started=live.started, warnings=warnings)


def _dump(
    outgoing: Outgoing,
    database: str,
    to: Path,
    *,
    excluded_tables: Sequence[str] = (),
    as_of: AsOf | None = None,
) -> DumpFacts:
    work = outgoing.work
    return dump_database(
        outgoing.server,
        database,
        to,
        compression=work.sync.options.compression,
        excluded_tables=excluded_tables,
        as_of=as_of,
        cancellation=work.cancellation,
        progress=work.progress,
        log=work.log,
    )


def _make(outgoing: Outgoing, live: DumpFacts) -> Stamp:
    """Make the copy, empty and closed, for a dump of live; gives its stamp."""
    work, session, copies = outgoing.work, outgoing.session, outgoing.copies
    sync = work.sync
    with outgoing.errors(RestoreFailed):
        stamp = Stamp(
            state=CopyState.RESTORING,
            holder=work.holder,
            sync=sync.name,
            environment=sync.environment,
            source_environment=sync.environment,
            # It comes from no dump of a bucket.
            dump_key="",
            dump_sha256="",
            data_time=live.started,
            born_in=sync.environment,
            parents=(),
            transformations=(),
            changed=clock(session),
        )
        make_closed(session, copies.outgoing, copies.live, stamp, RestoreFailed)
    return stamp


def _fill(outgoing: Outgoing, raw: Path) -> tuple[str, ...]:
    """Restore the dump of live into the copy; gives warnings of what it lacks."""
    work, session, copies = outgoing.work, outgoing.session, outgoing.copies
    with outgoing.errors(RestoreFailed):
        restored = restore_dump(
            raw,
            outgoing.server,
            copies.outgoing,
            copies.live,
            jobs=work.sync.options.jobs,
            others=[str(row[0]) for row in session.execute("SHOW DATABASES")],
            cancellation=work.cancellation,
            progress=work.progress,
            stopwatch=work.stopwatch,
        )
        write_dumped(session, copies.outgoing, restored.objects)
        write_objects(session, copies.outgoing, restored.waiting)
        check_closed(session, copies.outgoing, RestoreFailed)
    # What waits goes into the dump all the same.
    return restored.left_out


def _transform(outgoing: Outgoing, scripts: Sequence[Script], made: Stamp) -> Stamp:
    """Run the transformations, have the copy say so itself, and leave nothing but tables in it."""
    session, copy = outgoing.session, outgoing.copies.outgoing
    with outgoing.errors(TransformationFailed):
        started = evolve(made, state=CopyState.SANITISING, changed=clock(session))
        write_stamp(session, copy, started)
        with outgoing.work.stopwatch.part("transformations"):
            transformed = run_transformations(
                outgoing.server,
                copy,
                scripts,
                lambda inside: evolve(
                    started,
                    state=CopyState.TRANSFORMED,
                    transformations=tuple(one.said for one in scripts),
                    changed=clock(inside),
                ),
                outgoing.work.changed_rows,
                OUTGOING,
            )
        check_closed(session, copy, TransformationFailed)
        with outgoing.server.session(copy) as inside:
            return set_aside(
                inside,
                copy,
                transformed,
                lambda: evolve(transformed, state=CopyState.SANITISED, changed=clock(inside)),
            )


def _dumped_objects(session: Session, copy: str, excluded_tables: Sequence[str]) -> list[Object]:
    """What stood beside the tables, but for excluded views and the triggers of excluded tables."""

    def excluded(one: Object) -> bool:
        if one.kind not in (Kind.VIEW, Kind.TRIGGER):
            return False
        name = one.name if one.kind is Kind.VIEW else table_of(one)
        return any(matches(pattern, name) for pattern in excluded_tables)

    return [one for one in read_objects(session, copy) if not excluded(one)]


def _check_copy(outgoing: Outgoing, stamp: Stamp) -> None:
    """Raises ProofMissing where the dump might be of something else than what the transformations left."""
    with outgoing.errors(RestoreFailed):
        said = read_told(outgoing.session, outgoing.copies.outgoing).stamp
    if said != stamp:
        raise ProofMissing(
            f"{outgoing.where} is no longer what the transformations left, so its dump may be raw: something "
            "else works on it. It is removed, and nothing was uploaded. Run the group again."
        )
