"""The steps of a cluster's groups: take a snapshot, restore one, copy from another cluster, sanitise."""

from __future__ import annotations

from typing import TypeVar

from env_sync.engines.base.contract import CopyState, Filled, Snapshot, Waiting
from env_sync.pipeline.changes import changes_of
from env_sync.pipeline.results import Sanitised
from env_sync.pipeline.sanitise import told_of, transformation_files, transformations_of
from env_sync.pipeline.session import Session
from env_sync.pipeline.unsanitised import check_pull, check_push
from env_sync.planning.timestamps import parse_timestamp

T = TypeVar("T", Snapshot | Waiting, Filled | Waiting)


def take_snapshot(session: Session) -> Snapshot | Waiting:
    """Take a snapshot, or look how far it is."""
    with session.engine.at_work():
        check_push(session)
        done = session.cluster_engine.snapshot()
    if isinstance(done, Snapshot):
        session.log.info("The snapshot %s is whole: %s indices", done.dump_key, done.indices)
    return _told(session, done)


def fill_incoming(session: Session) -> Filled | Waiting:
    """Make incoming of a snapshot or of another cluster, or look how far it is."""
    with session.engine.at_work():
        begun = session.engine.incoming_stamp()
        if begun is None or begun.holder != session.holder:
            check_pull(session)
        done = _fill(session)
    if isinstance(done, Filled):
        session.log.info(
            "Incoming holds %s indices with %s documents, %s", done.indices, done.documents, done.way
        )
    return _told(session, done)


def sanitise_indices(session: Session) -> Sanitised | Waiting:
    """Run the transformation on incoming; a copy that was touched before is made anew first."""
    sync = session.sync
    with session.engine.at_work():
        check_pull(session)
        stamp = session.engine.incoming_stamp()
        ours = stamp is not None and stamp.holder == session.holder
        done = transformations_of(sync)
        if stamp and ours and stamp.state is CopyState.SANITISED and stamp.transformations == done:
            session.log.info("Incoming already proves that it was sanitised in this attempt")
            return told_of(stamp)
        if not (stamp and ours and stamp.state is CopyState.RAW):
            filled = _fill(session)
            if isinstance(filled, Waiting):
                return filled
        said = session.engine.sanitise(transformation_files(sync))
    return told_of(said, changes_of(session))


def _fill(session: Session) -> Filled | Waiting:
    engine = session.cluster_engine
    if session.sync.source_hostname is not None:
        return engine.copy()
    asked = session.request.timestamp
    return engine.restore_snapshot(parse_timestamp(asked) if asked else None)


def _told(session: Session, done: T) -> T:
    """The same, after its warnings were logged."""
    for warning in () if isinstance(done, Waiting) else done.warnings:
        session.log.warning(warning)
    return done
