"""Choose a dump, fetch it, and read it through to its end."""

from __future__ import annotations

from env_sync.pipeline.dump_file import fetch
from env_sync.pipeline.private_folder import filling
from env_sync.pipeline.results import Downloaded
from env_sync.pipeline.session import Session
from env_sync.pipeline.unsanitised import check_pull, unsupported
from env_sync.store.dump_keys import timestamp_text


def download(session: Session) -> Downloaded:
    """The newest whole dump of exactly this database, or the one asked for by timestamp."""
    sync = session.sync
    with session.engine.at_work():
        check_pull(session)
        choice = session.store.choose(
            sync.url,
            sync.path,
            sync.database,
            timestamp=session.request.timestamp,
            min_size_ratio=sync.options.min_size_ratio,
        )
        untold = unsupported(sync, choice.manifest)
        warnings = (*choice.notes, *([untold] if untold else []))
        for warning in warnings:
            session.log.warning(warning)
        with filling(session):
            dump = fetch(session, choice)
    session.log.info("Fetched and read through %s: %s bytes, SHA-256 %s", dump.key, dump.size, dump.sha256)
    return Downloaded(
        dump_key=dump.key,
        timestamp=timestamp_text(choice.timestamp),
        size=dump.size,
        sha256=dump.sha256,
        source_environment=dump.environment,
        born_in=dump.born_in,
        data_time=dump.data_time,
        warnings=warnings,
    )
