"""What a step works with: the sync, who works on it, its engine, its store, its private folder."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.disk import is_full
from env_sync.core.errors import (
    ConfirmationMissing,
    DiskFull,
    EnvSyncError,
    ProtectedEnvironment,
    WorkFolderRefused,
)
from env_sync.core.progress import Progress
from env_sync.core.stopwatch import Stopwatch
from env_sync.domain.changed_rows import ChangedRows
from env_sync.domain.pause import Pause
from env_sync.domain.settings import Settings
from env_sync.domain.sync import AnySync, BucketSync, Sync
from env_sync.engines.base.contract import ClusterEngine, DumpEngine, Engine, Holder, Work
from env_sync.engines.base.engine_class import engine_class
from env_sync.pipeline.connections import Connections
from env_sync.pipeline.folder_lock import Hold
from env_sync.planning.plan import Group
from env_sync.planning.request import Request

if TYPE_CHECKING:
    from env_sync.store.dumps import S3Store

WORK_FOLDER = "ENV_SYNC_WORK_FOLDER"
COMMAND_LINE = "command line"
"""What the names of runs of the command line begin with; no DAG can be called so."""
LEVELS = 4
"""How many folders of `work_folder` are below its root."""


@frozen(kw_only=True)
class Session:
    """All that one step of one group is given. `pause` reads the record as it is at that moment."""

    group: Group
    settings: Settings
    request: Request
    holder: Holder
    folder: Path
    pause: Callable[[], Pause | None]
    cancellation: Cancellation
    progress: Progress
    log: logging.Logger
    open_store: Callable[[], S3Store]
    stopwatch: Stopwatch = field(factory=Stopwatch)
    changed_rows: ChangedRows = field(factory=ChangedRows)
    hold: Hold = field(factory=Hold)
    """The lock on the private folder, while this process works there."""
    _engine: Engine | None = None
    """None for a bucket sync, which has no server."""

    @property
    def sync(self) -> Sync:
        """The sync of the group, for the steps of a push or pull. Raises EnvSyncError for a bucket sync."""
        if isinstance(self.group.sync, BucketSync):
            raise EnvSyncError(f"{self.group.id} is a bucket sync: it has no database.")
        return self.group.sync

    @property
    def bucket_sync(self) -> BucketSync:
        """The same for the step of a bucket sync."""
        if isinstance(self.group.sync, Sync):
            raise EnvSyncError(f"{self.group.id} is a {self.group.sync.action}: it mirrors no bucket.")
        return self.group.sync

    @property
    def engine(self) -> Engine:
        """The engine of its database. Raises EnvSyncError for a bucket sync."""
        if self._engine is None:
            raise EnvSyncError(f"{self.group.id} is a bucket sync: it has no server and no lease.")
        return self._engine

    @property
    def dump_engine(self) -> DumpEngine:
        """The same for steps that work with dumps. Raises EnvSyncError where the database has none."""
        if not isinstance(self.engine, DumpEngine):
            raise EnvSyncError(f"{self.group.id} is of {self.sync.dbms}, which has no dumps.")
        return self.engine

    @property
    def cluster_engine(self) -> ClusterEngine:
        """The same for steps that work with indices. Raises EnvSyncError where the database has none."""
        if not isinstance(self.engine, ClusterEngine):
            raise EnvSyncError(f"{self.group.id} is of {self.sync.dbms}, which has no indices.")
        return self.engine

    @property
    def dump_file(self) -> Path:
        """Where the dump lies, if it is there."""
        return self.folder / "dump"

    @functools.cached_property
    def store(self) -> S3Store:
        """The environment's buckets; their connection is looked up when a step first asks."""
        return self.open_store()


def open_session(
    *,
    group: Group,
    settings: Settings,
    request: Request,
    holder: Holder,
    connections: Connections,
    pause: Callable[[], Pause | None],
    cancellation: Cancellation,
    progress: Progress,
    log: logging.Logger,
) -> Session:
    """A session for one step, after the target has been checked on both sides.

    Raises ConnectionMissing, WrongEnvironment, ProtectedEnvironment, ConfirmationMissing before
    anything is touched.
    """
    sync = group.sync
    check_allowed(sync, settings, request)
    folder = work_folder(sync, holder)
    stopwatch = Stopwatch()
    changed_rows = ChangedRows()
    engine = None
    if isinstance(sync, Sync):
        engine = engine_class(sync.dbms)(
            Work(
                sync=sync,
                holder=holder,
                connection=connections.server(sync),
                source=connections.source(sync),
                folder=folder,
                cancellation=cancellation,
                progress=progress,
                log=log,
                stopwatch=stopwatch,
                changed_rows=changed_rows,
            )
        )
    return Session(
        group=group,
        settings=settings,
        request=request,
        holder=holder,
        folder=folder,
        pause=pause,
        cancellation=cancellation,
        progress=progress,
        log=log,
        engine=engine,
        open_store=lambda: _open_store(sync, connections, cancellation, progress, log),
        stopwatch=stopwatch,
        changed_rows=changed_rows,
    )


def _open_store(
    sync: AnySync,
    connections: Connections,
    cancellation: Cancellation,
    progress: Progress,
    log: logging.Logger,
) -> S3Store:
    # boto3 is imported by the steps that need it, not by every task that reads the DAG file.
    from env_sync.store.dumps import S3Store
    from env_sync.store.retrying import Tuning

    return S3Store(
        connections.store(sync.environment),
        cancellation=cancellation,
        progress=progress,
        log=log,
        tuning=Tuning(workers=sync.options.copies) if isinstance(sync, BucketSync) else Tuning(),
    )


def check_allowed(sync: AnySync, settings: Settings, request: Request) -> None:
    """Refuse what would write to a protected environment and is no confirmed recovery sync."""
    if isinstance(sync, BucketSync):
        if settings.protected:
            raise ProtectedEnvironment(
                f"{sync.name} would write to {sync.destination_bucket} of {sync.environment}, which is "
                "protected: nothing is mirrored into it. Nothing was touched."
            )
        return
    if sync.pre_dump_in_place and settings.protected:
        raise ProtectedEnvironment(
            f"{sync.name} would run its transformation on {sync.database} itself, in {sync.environment}, "
            "which is protected. Remove pre_dump_in_place: it then runs on a copy. Nothing was touched."
        )
    if not sync.writes or not settings.protected:
        return
    if not sync.recovery:
        raise ProtectedEnvironment(
            f"{sync.name} would write to {sync.environment}, which is protected. Only a disabled pull from "
            "its own bucket, a recovery sync, may do that, by hand. Nothing was touched."
        )
    if not request.confirms(sync.database):
        raise ConfirmationMissing(
            f"{sync.name} is a recovery sync: it replaces {sync.database} in {sync.environment}. Type the "
            f"database's name, {sync.database}, to confirm. Nothing was touched."
        )


def work_root(sync: AnySync) -> Path:
    """The folder in which the private folders of a sync's groups are made."""
    own = sync.temppath if isinstance(sync, Sync) else None
    return Path(os.environ.get(WORK_FOLDER) or own or tempfile.gettempdir())


def other_roots(syncs: Iterable[AnySync]) -> frozenset[Path]:
    """Folders that are the root of none of these syncs, and may have been: the default, and each temppath."""
    syncs = tuple(syncs)
    named = {sync.temppath for sync in syncs if isinstance(sync, Sync) and sync.temppath is not None}
    return frozenset({Path(tempfile.gettempdir()), *named} - {work_root(sync) for sync in syncs})


def work_folder(sync: AnySync, holder: Holder) -> Path:
    """The private folder of one group in one run; the same one for each of its steps.

    Each user has folders of its own, so that several can share a root such as /tmp.
    """
    root = work_root(sync)
    run = hashlib.sha256(holder.run.encode()).hexdigest()[:16]
    readable = re.sub(r"[^A-Za-z0-9]+", "_", holder.run)[-40:]
    return root / f"env_sync_{os.getuid()}" / sync.environment / holder.group / f"{readable}_{run}"


def make_folder(folder: Path) -> None:
    """Make the private folder, into which only this user may look. Raises DiskFull, WorkFolderRefused.

    The three folders above it must be this user's alone as well: whoever owns one of them could put
    another folder, or a link, in the place of what is below it.
    """
    root, *ours = reversed([folder, *folder.parents[:LEVELS]])
    try:
        root.mkdir(parents=True, exist_ok=True)
        for each in ours:
            try:
                each.mkdir(mode=0o700)
            except FileExistsError:
                _check_private(each)
    except OSError as problem:
        kind = DiskFull if is_full(problem) else WorkFolderRefused
        raise kind(
            f"The work folder {folder} cannot be made: {problem.strerror}. Make room and let this user write "
            f"there, or set {WORK_FOLDER} to another folder."
        ) from None


def check_folder(folder: Path) -> Path:
    """See whether `make_folder` could make it, without making anything; gives the lowest that is there.

    Raises WorkFolderRefused.
    """
    root, *ours = reversed([folder, *folder.parents[:LEVELS]])
    there = root
    while not there.exists() and there != there.parent:
        there = there.parent
    for each in ours:
        if each.is_symlink() or each.exists():
            _check_private(each)
            there = each
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise WorkFolderRefused(
            f"The work folder {folder} cannot be made: this user may not write to {there}, or it is no "
            f"folder. Let this user write there, or set {WORK_FOLDER} to another folder."
        )
    return there


def _check_private(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise WorkFolderRefused(
            f"{folder} is not a private folder of this user, so no dump is put there. Remove it, or set "
            f"{WORK_FOLDER} to another folder."
        )


def remove_folder(folder: Path) -> None:
    """Remove the private folder with the dump in it, if it is there. Raises OSError."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
