"""Dump live into the work folder, with the manifest that tells its life story."""

from __future__ import annotations

import hashlib
from pathlib import Path

from env_sync.domain.changed_rows import Changed
from env_sync.domain.manifest import Manifest, Parent
from env_sync.domain.sanitising import badge_of_data
from env_sync.domain.sync import Sync
from env_sync.engines.base.contract import CopyState, DumpFacts, Stamp
from env_sync.pipeline.changes import changes_of
from env_sync.pipeline.folder_notes import remove_note, write_note
from env_sync.pipeline.private_folder import filling
from env_sync.pipeline.results import Dumped
from env_sync.pipeline.session import Session
from env_sync.pipeline.unsanitised import check_push
from env_sync.store import dump_key


def dump(session: Session) -> Dumped:
    """A whole, consistent dump of live, and its manifest beside it."""
    with filling(session):
        manifest, warnings, statements = make_dump(session)
    return Dumped(
        dump_key=manifest.key,
        size=manifest.size,
        sha256=manifest.sha256,
        data_time=manifest.data_time,
        born_in=manifest.born_in,
        transformations=manifest.transformations,
        statements=statements,
        warnings=warnings,
        badge=manifest.sanitised,
        reason=manifest.reason,
    )


def pre_dump_files(sync: Sync) -> tuple[Path, ...]:
    """The transformations that a push runs before it dumps, in their order."""
    return (sync.pre_dump_transformation,) if sync.pre_dump_transformation else ()


def make_dump(session: Session) -> tuple[Manifest, tuple[str, ...], tuple[Changed, ...]]:
    """Dump live and write its manifest into the private folder, which whoever calls this has entered.

    Gives it, warnings, and what each statement of its transformations changed.
    """
    remove_note(session.dump_file)
    with session.engine.at_work():
        check_push(session)
        stamp = session.engine.live_stamp()
        facts = _dump(session)
    manifest = _manifest(session, facts, stamp)
    write_note(session.dump_file, manifest)
    for warning in facts.warnings:
        session.log.warning(warning)
    changes = changes_of(session)
    return manifest, (*facts.warnings, *changes.warnings), changes.statements


def _dump(session: Session) -> DumpFacts:
    sync = session.sync
    if files := pre_dump_files(sync):
        return session.dump_engine.dump_transformed(session.dump_file, files, in_place=sync.pre_dump_in_place)
    with session.stopwatch.part("dump"):
        return session.dump_engine.dump(session.dump_file)


def _manifest(session: Session, facts: DumpFacts, stamp: Stamp | None) -> Manifest:
    sync = session.sync
    with session.stopwatch.part("checksum"), session.dump_file.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    # A database that was pulled holds data as old as its dump was; one that was born here, or that a
    # recovery sync brought back to where it was born, is written to by its applications all the time.
    pulled = stamp is not None and stamp.state is CopyState.SANITISED and stamp.born_in != sync.environment
    parents = (_parent(stamp), *stamp.parents) if stamp else ()
    here = (*facts.transformations, *(stamp.transformations if pulled and stamp else ()))
    above = stamp.above if pulled and stamp else ()
    return Manifest(
        environment=sync.environment,
        sync=sync.name,
        run=str(session.holder),
        dbms=sync.dbms,
        database=sync.database,
        engine_version=facts.engine_version,
        server_version=facts.server_version,
        key=dump_key(sync.path, facts.started, sync.database),
        size=session.dump_file.stat().st_size,
        sha256=sha256,
        started=facts.started,
        finished=facts.finished,
        data_time=stamp.data_time if pulled and stamp else facts.started,
        born_in=stamp.born_in if pulled and stamp else sync.environment,
        parents=parents,
        consistent=facts.consistent,
        read_from=facts.read_from,
        transformations=facts.transformations,
        sanitised=badge_of_data(here, above, stamp.parents if pulled and stamp else ()),
        reason=sync.reason if sync.none_said else stamp.reason if pulled and stamp else "",
    )


def _parent(stamp: Stamp) -> Parent:
    return Parent(
        environment=stamp.source_environment,
        key=stamp.dump_key,
        sha256=stamp.dump_sha256,
        transformations=stamp.transformations,
        pulled_into=stamp.environment,
        before=stamp.above,
        reason=stamp.reason,
    )
