"""Restore the dump into incoming, closed to everybody else."""

from __future__ import annotations

from env_sync.pipeline.dump_file import obtain
from env_sync.pipeline.private_folder import using_up
from env_sync.pipeline.results import Downloaded, Restored
from env_sync.pipeline.session import Session
from env_sync.pipeline.unsanitised import check_pull


def restore(session: Session, downloaded: Downloaded) -> Restored:
    """Make incoming anew from the dump, of which nothing is left on this worker then; live is not touched."""
    with using_up(session), session.engine.at_work():
        check_pull(session)
        warnings = session.dump_engine.restore(obtain(session, downloaded))
    for warning in warnings:
        session.log.warning(warning)
    return Restored(dump_sha256=downloaded.sha256, warnings=warnings, closed=session.engine.closed)
