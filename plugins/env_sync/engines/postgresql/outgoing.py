"""Outgoing: a closed copy of live that is transformed and then dumped, so that live itself stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from attrs import evolve, frozen

from env_sync.core.errors import DumpDamaged, ProofMissing, RestoreFailed, TransformationFailed
from env_sync.engines.base.contract import CopyState, DumpFacts, Stamp, Work
from env_sync.engines.postgresql.access.readers import check_closed
from env_sync.engines.postgresql.archive import Archive, read_archive
from env_sync.engines.postgresql.archive_name import name_as_live
from env_sync.engines.postgresql.dump import dump_database
from env_sync.engines.postgresql.incoming import (
    Storage,
    drop_copy,
    make_closed,
    open_for_us,
    storage_of,
)
from env_sync.engines.postgresql.metadata import Closed, read_comment, write_stamp
from env_sync.engines.postgresql.names import Copies
from env_sync.engines.postgresql.restore import restore_archive
from env_sync.engines.postgresql.sanitise import Read, run_transformations
from env_sync.engines.postgresql.session import Server, Session, plain_errors
from env_sync.engines.postgresql.statistics import let_autovacuum_go

AFTERMATH = "The copy is dropped, live is untouched, and no dump is uploaded."
UPLOADED_NOTHING = "It is removed, and nothing was uploaded."


@frozen(kw_only=True)
class Outgoing:
    """What making and dumping a copy of live works with.

    `session` holds the lease. In the block of `dropping` whatever is raised drops the copy.
    """

    work: Work
    server: Server
    session: Session
    copies: Copies
    dropping: Callable[[], AbstractContextManager[None]]

    @property
    def where(self) -> str:
        """The copy, and where it is."""
        return f"{self.copies.outgoing} on {self.server}"


def dump_outgoing(outgoing: Outgoing, transformations: Sequence[Read], to: Path) -> DumpFacts:
    """Dump live to the file `to` as it is after the transformations.

    Raises what dumping, restoring and transforming raise; the copy, and the raw archive that it is made from,
    are gone in any case.
    """
    work, copies = outgoing.work, outgoing.copies
    raw = to.with_name("live.archive")
    try:
        with work.stopwatch.part("dump of live"):
            # Whole: a transformation may need rows that are left out in the end.
            live = _dump(outgoing, copies.live, raw)
        archive = read_archive(raw, cancellation=work.cancellation, log=work.log)
        with outgoing.dropping():
            made, closed, warnings = _make(outgoing, archive, live)
            raw.unlink()
            with (
                work.stopwatch.part("transformations"),
                outgoing.server.session(copies.outgoing) as inside,
                plain_errors(f"Database {outgoing.where}", TransformationFailed),
            ):
                stamp = _transform(outgoing, inside, transformations, made, closed)
            with work.stopwatch.part("dump"):
                facts = _dump(
                    outgoing,
                    copies.outgoing,
                    to,
                    excluded_tables=work.sync.excluded_tables,
                    # Those of live are not in the copy, and its own are ours alone.
                    privileges=False,
                )
            try:
                _check_copy(outgoing, stamp)
                _name(outgoing, to)
                with plain_errors(f"Database {outgoing.where}"):
                    drop_copy(outgoing.session, copies.outgoing)
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
    privileges: bool = True,
) -> DumpFacts:
    work = outgoing.work
    return dump_database(
        work.connection,
        database,
        to,
        compression=work.sync.options.compression,
        excluded_tables=excluded_tables,
        privileges=privileges,
        cancellation=work.cancellation,
        progress=work.progress,
        log=work.log,
        application_name=outgoing.server.application_name,
    )


def _make(outgoing: Outgoing, archive: Archive, live: DumpFacts) -> tuple[Stamp, Closed, tuple[str, ...]]:
    """Make the copy, closed, out of an archive of live; its stamp, how it is closed, and what it lacks."""
    work, session, copies = outgoing.work, outgoing.session, outgoing.copies
    sync = work.sync
    with plain_errors(f"Database {outgoing.where}", RestoreFailed):
        like_live = storage_of(session, copies.live)
        storage = like_live or Storage(locale=archive.locale, tablespace="")
        warnings = make_closed(session, copies.outgoing, storage, exact=like_live is not None)
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
            changed=session.value("SELECT pg_catalog.clock_timestamp()"),
        )
        # Live, beside it, is as raw: who could let himself in is no news.
        look = open_for_us(session, outgoing.server, copies.outgoing, stamp, RestoreFailed)
    warnings += restore_archive(
        archive,
        work.connection,
        copies.outgoing,
        jobs=sync.options.jobs,
        cancellation=work.cancellation,
        progress=work.progress,
        stopwatch=work.stopwatch,
        log=work.log,
        application_name=outgoing.server.application_name,
    )
    return stamp, look.closed, warnings


def _transform(
    outgoing: Outgoing,
    inside: Session,
    transformations: Sequence[Read],
    made: Stamp,
    closed: Closed,
) -> Stamp:
    """Run the transformations, and have the copy say so itself."""

    def finish() -> Stamp:
        # The dump would carry down what keeps autovacuum away.
        let_autovacuum_go(inside)
        copy = outgoing.copies.outgoing
        check_closed(inside, outgoing.server, copy, TransformationFailed, kept=closed)
        stamp = evolve(
            made,
            state=CopyState.SANITISED,
            transformations=tuple(one.said for one in transformations),
            changed=inside.value("SELECT pg_catalog.clock_timestamp()"),
        )
        write_stamp(inside, copy, stamp)
        return stamp

    return run_transformations(
        inside, transformations, finish, outgoing.work.changed_rows, comments=1, aftermath=AFTERMATH
    )


def _check_copy(outgoing: Outgoing, stamp: Stamp) -> None:
    """Raises ProofMissing where the dump might be of something else than what the transformations left."""
    with plain_errors(f"Database {outgoing.where}"):
        comment = read_comment(outgoing.session, outgoing.copies.outgoing)
    if comment is None or comment.stamp != stamp:
        raise ProofMissing(
            f"{outgoing.where} is no longer what the transformations left, so its dump may be raw: something "
            f"else works on it. {UPLOADED_NOTHING} Run the group again."
        )


def _name(outgoing: Outgoing, dump: Path) -> None:
    """Give the dump the name of live, and see that it says so. Raises DumpDamaged."""
    name_as_live(dump)
    named = read_archive(dump, cancellation=outgoing.work.cancellation, log=outgoing.work.log).database
    if named != outgoing.copies.live:
        raise DumpDamaged(
            f"The dump of {outgoing.where} says that it is of {named}, not of {outgoing.copies.live}: no "
            f"restore would take it. {UPLOADED_NOTHING} Install the pg_dump of the server's own version on "
            "the worker."
        )
