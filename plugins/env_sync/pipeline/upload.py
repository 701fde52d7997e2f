"""Upload the dump, then its manifest, then move the pointer."""

from __future__ import annotations

from env_sync.domain.manifest import Manifest
from env_sync.pipeline.dump import make_dump, pre_dump_files
from env_sync.pipeline.folder_notes import read_note
from env_sync.pipeline.private_folder import using_up
from env_sync.pipeline.results import Dumped, Uploaded
from env_sync.pipeline.sanitise import hashed
from env_sync.pipeline.session import Session
from env_sync.pipeline.unsanitised import check_push


def upload(session: Session, dumped: Dumped) -> Uploaded:
    """Put the dump into the environment's bucket; dumps again where the work folder has lost it.

    No dump is left on this worker then.
    """
    with using_up(session):
        manifest = _manifest(session, dumped)
        with session.engine.at_work():
            # The dump may be of before the environment had to sanitise.
            check_push(session)
            moved = session.store.upload_dump(
                session.sync.url, session.dump_file, manifest, acl=session.sync.options.upload_acl
            )
    return Uploaded(
        attempt=session.holder.attempt, dump_key=manifest.key, size=manifest.size, pointer_moved=moved
    )


def _manifest(session: Session, dumped: Dumped) -> Manifest:
    manifest = read_note(Manifest, session.dump_file)
    if (
        manifest is not None
        and (manifest.sha256, manifest.size) == (dumped.sha256, dumped.size)
        # A dump that was made before the configuration asked for a transformation is raw.
        and manifest.transformations == hashed(pre_dump_files(session.sync))
    ):
        return manifest
    session.log.info("The dump is not in %s, or not as it is to be now: dumping again", session.folder)
    manifest, *_ = make_dump(session)
    return manifest
