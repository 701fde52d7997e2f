"""The dump in the work folder, with what is known of it beside it, so that a later step can trust it."""

from __future__ import annotations

from env_sync.core.errors import DumpDamaged, DumpOfAnotherEnvironment, NotSanitised
from env_sync.domain.manifest import Manifest
from env_sync.domain.settings import Settings
from env_sync.engines.base.contract import Dump
from env_sync.pipeline.folder_notes import read_note, remove_note, write_note
from env_sync.pipeline.results import Downloaded
from env_sync.pipeline.session import Session
from env_sync.pipeline.unsanitised import contradicted
from env_sync.store import Choice


def fetch(session: Session, choice: Choice) -> Dump:
    """Download the chosen dump, compare it with its manifest, and read it through to its end.

    It is put into the private folder, which whoever calls this has entered.

    Raises DumpOfAnotherEnvironment, NotSanitised where the dump's manifest contradicts the sync, and what
    the store's download and the engine's verify raise; no file is left behind then.
    """
    foreign = pushed_by_another(choice.manifest, session.settings, session.sync.url)
    if foreign:
        raise DumpOfAnotherEnvironment(
            f"{foreign} It was not restored, and live is untouched. Find out who put it there; take it and "
            "its manifest out of the bucket, or ask for another dump by its timestamp."
        )
    if found := contradicted(session.sync, choice.manifest):
        raise NotSanitised(f"{found} It was not restored, and live is untouched.")
    remove_note(session.dump_file)
    with session.stopwatch.part("download"):
        sha256 = session.store.download_dump(session.sync.url, choice, session.dump_file)
    try:
        with session.stopwatch.part("reading through"):
            session.dump_engine.verify(session.dump_file)
    except DumpDamaged as damage:
        session.dump_file.unlink(missing_ok=True)
        raise DumpDamaged(f"{session.sync.url}/{choice.key}: {damage}") from None
    manifest = choice.manifest
    environment = manifest.environment if manifest else session.settings.bucket_environment(session.sync.url)
    dump = Dump(
        key=choice.key,
        file=session.dump_file,
        size=choice.size,
        sha256=sha256,
        environment=environment,
        data_time=manifest.data_time if manifest else choice.timestamp,
        born_in=manifest.born_in if manifest else environment,
        parents=manifest.parents if manifest else (),
        transformations=manifest.transformations if manifest else (),
    )
    write_note(session.dump_file, dump)
    return dump


def pushed_by_another(manifest: Manifest | None, settings: Settings, bucket: str) -> str | None:
    """What is wrong where another environment than the bucket's owner pushed a dump; None where all is well.

    What a pull expects of a dump, raw or sanitised, it knows by whose bucket it comes from.
    """
    owner = settings.owner_of(bucket)
    if manifest is None or owner is None or manifest.environment == owner:
        return None
    return (
        f"{bucket} is the bucket of {owner}, but the manifest of {manifest.key} says that "
        f"{manifest.environment} pushed it."
    )


def obtain(session: Session, downloaded: Downloaded) -> Dump:
    """The dump that the download step chose: from the work folder, or fetched once more where it is gone.

    Another worker has another disk, and a group that was cleared has lost its folder.
    """
    kept = read_note(Dump, session.dump_file)
    if kept is not None and (kept.sha256, kept.size) == (downloaded.sha256, downloaded.size):
        return kept
    session.log.info("The dump %s is not in %s: fetching it again", downloaded.dump_key, session.folder)
    sync = session.sync
    choice = session.store.choose(sync.url, sync.path, sync.database, timestamp=downloaded.timestamp)
    dump = fetch(session, choice)
    if dump.sha256 != downloaded.sha256:
        raise DumpDamaged(
            f"{sync.url}/{dump.key} is no longer the object that was downloaded before: somebody replaced "
            "it. Clear the whole group to start from the new one; live is untouched."
        )
    return dump
