"""Mirror a bucket: copy what differs, then delete what the source lacks, where the sync is to."""

from __future__ import annotations

from env_sync.core.plural import plural
from env_sync.domain.sync import BucketSync
from env_sync.pipeline.results import BucketSynced
from env_sync.pipeline.session import Session
from env_sync.store.mirroring.mirror import Tally, Wanted

ACL = "bucket-owner-full-control"
"""Whoever owns the destination owns what is in it, whichever account wrote it."""


def bucket_sync(session: Session) -> BucketSynced:
    """Make the destination the same as the source, and tell what that took.

    There is no lease: a second run at the same time copies the same to the same place.
    """
    wanted = wanted_of(session.bucket_sync)
    _look(session, wanted)
    with session.stopwatch.part("copies"):
        tally = session.store.mirror(wanted)
    session.log.info("Objects copied %d, deleted %d, unchanged %d", tally.copied, tally.deleted, tally.same)
    return BucketSynced(
        said=_said(tally, wanted),
        size=tally.bytes,
        copied=tally.copied,
        deleted=tally.deleted,
        same=tally.same,
        warnings=_warnings(tally, wanted),
    )


def what_would_be_done(session: Session) -> str:
    """The same in words, with nothing done."""
    wanted = wanted_of(session.bucket_sync)
    _look(session, wanted)
    tally = session.store.compare(wanted)
    extra = f"{plural(tally.extra, 'object')} that the source lacks"
    deletions = f"delete {extra}" if wanted.delete else f"leave {extra} (delete is not set)"
    return (
        f"would copy {tally.differ} of {tally.source} objects ({tally.bytes / 1e6:.1f} MB) from "
        f"{wanted.source} to {wanted.destination}, and {deletions}. Nothing was written."
    )


def wanted_of(sync: BucketSync) -> Wanted:
    """What the store is asked to do for a sync."""
    return Wanted(
        source=sync.source_bucket,
        destination=sync.destination_bucket,
        delete=sync.delete,
        max_delete_ratio=sync.options.max_delete_ratio,
        copies=sync.options.copies,
        acl=sync.options.upload_acl or ACL,
    )


def _look(session: Session, wanted: Wanted) -> None:
    for bucket in (wanted.source, wanted.destination):
        session.store.look_at_mirrored(bucket)


def _said(tally: Tally, wanted: Wanted) -> str:
    left = "" if wanted.delete or not tally.extra else f", {tally.extra} that the source lacks left there"
    return f"{plural(tally.copied, 'object')} copied, {tally.deleted} deleted, {tally.same} unchanged{left}"


def _warnings(tally: Tally, wanted: Wanted) -> tuple[str, ...]:
    if not tally.source and not tally.destination:
        return (f"both {wanted.source} and {wanted.destination} are empty: look whether that is right",)
    if not tally.source:
        return (f"{wanted.source} is empty: look whether that is right",)
    return ()
