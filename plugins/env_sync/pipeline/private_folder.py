"""Working in the private folder of a group: a dump stays there only for as long as a step may need it."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator

from attrs import evolve

from env_sync.core.disk import is_full
from env_sync.core.errors import DiskFull, EnvSyncError, WorkFolderRefused
from env_sync.pipeline.folder_notes import Whose, read_whose, write_whose
from env_sync.pipeline.session import Session, make_folder, remove_folder


@contextlib.contextmanager
def filling(session: Session) -> Iterator[None]:
    """The block puts a dump into the folder, for the next step; where it fails nothing is left there.

    Raises DiskFull, WorkFolderRefused.
    """
    with session.hold.kept():
        _enter(session)
        try:
            yield
        except BaseException:
            # A retry makes, or fetches, the dump anew.
            leave(session)
            raise


@contextlib.contextmanager
def using_up(session: Session) -> Iterator[None]:
    """The block is the last that needs the dump in the folder, so nothing is left there after it.

    Only where it fails by what may pass, the dump stays for the retry. Raises the same.
    """
    with session.hold.kept():
        _enter(session)
        try:
            yield
        except BaseException as problem:
            passing = isinstance(problem, EnvSyncError) and problem.passing
            if not passing or session.cancellation.cancelled or not session.dump_file.exists():
                leave(session)
            raise
        leave(session)


def leave(session: Session) -> None:
    """Remove the folder, if it is there. A folder that cannot be removed fails no step: the report tells."""
    try:
        remove_folder(session.folder)
    except OSError as problem:
        session.log.warning(
            "The work folder %s could not be removed (%s), and may hold a raw dump: the report tries again",
            session.folder,
            problem.strerror or type(problem).__name__,
        )


def _enter(session: Session) -> None:
    """Make the folder, lock it, and have it say whose it is."""
    try:
        while True:
            make_folder(session.folder)
            if session.hold.take(session.folder):
                break
        _say_whose(session)
    except OSError as problem:
        kind = DiskFull if is_full(problem) else WorkFolderRefused
        raise kind(
            f"Nothing can be put into the work folder {session.folder}: {problem.strerror}. Make room, or "
            "set temppath to another disk, and run the step again."
        ) from None


def _say_whose(session: Session) -> None:
    holder = session.holder
    whose = Whose(
        run=holder.run,
        group=holder.group,
        environment=session.group.sync.environment,
        attempt=holder.attempt,
        made=dt.datetime.now(dt.UTC),
    )
    there = read_whose(session.folder)
    if there is None or evolve(there, made=whose.made) != whose:
        write_whose(session.folder, whose)
