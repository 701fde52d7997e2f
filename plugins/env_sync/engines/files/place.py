"""Where a directory's three copies are, and what Env Sync keeps of them, below one root.

Below the root stand live, called like the database, and `.env_sync`, with mode 0700, so that nobody but the
sync's user gets past it. There it keeps a file `lock`, held while a lease is taken or given back, and for
each directory a folder called like it, with

- incoming and previous, those two copies; replaced, which was previous until the swap;
- records: what each of the three says about itself;
- lease.json: who has the lease;
- at_work: held while a step is at work.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from env_sync.core.disk import is_full
from env_sync.core.errors import (
    AccessRefused,
    ConnectionMissing,
    ContentRefused,
    DiskFull,
    EnvSyncError,
    ServerUnreachable,
)
from env_sync.domain.database_name import Use, refuse
from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.files.names import HIDDEN, refusals
from env_sync.engines.files.syscalls import mount_points

EVERY_WORKER = ("", "localhost")
"""The hosts of a connection that stand for whichever worker a step runs on."""


@frozen(kw_only=True)
class Place:
    """The paths of one directory's copies."""

    root: Path
    database: str

    @property
    def live(self) -> Path:
        """What applications see."""
        return self.root / self.database

    @property
    def hidden(self) -> Path:
        """What Env Sync keeps under this root."""
        return self.root / HIDDEN

    @property
    def folder(self) -> Path:
        """What Env Sync keeps of this directory."""
        return self.hidden / self.database

    @property
    def lock(self) -> Path:
        """Held while a lease of any directory of this root is taken or given back."""
        return self.hidden / "lock"

    @property
    def lease(self) -> Path:
        """Who has the lease."""
        return self.folder / "lease.json"

    @property
    def at_work(self) -> Path:
        """Held while a step is at work."""
        return self.folder / "at_work"

    @property
    def incoming(self) -> Path:
        """What is being restored."""
        return self.folder / "incoming"

    @property
    def previous(self) -> Path:
        """What live was before."""
        return self.folder / "previous"

    @property
    def replaced(self) -> Path:
        """What previous was, from the swap on that made another one, until it is removed."""
        return self.folder / "replaced"

    @property
    def between(self) -> Path:
        """What was live, while previous takes its place where two cannot be exchanged in one step."""
        return self.folder / "between"

    @property
    def records(self) -> Path:
        """What each copy says about itself."""
        return self.folder / "records"

    def __str__(self) -> str:
        return f"{self.live} on {socket.gethostname()}"


def place_of(connection: ServerConnection, database: str) -> Place:
    """The place of a directory; nothing is looked up on the disk.

    Raises ConnectionMissing where the connection names no root, NameRefused, and ServerUnreachable where
    this is another machine than the one that the connection is for.
    """
    names = {socket.gethostname(), socket.getfqdn()}
    if connection.host not in EVERY_WORKER and connection.host not in names:
        raise ServerUnreachable(
            f"Connection {connection.connection_id} is for the files of {connection.host}, and this step "
            f"runs on {socket.gethostname()}: let the sync's node class have a queue that only "
            f"{connection.host} serves (govuk_env_sync::queues), or correct the connection's host. Nothing "
            "was touched."
        )
    root = connection.extra.get("root")
    if not isinstance(root, str) or not Path(root).is_absolute() or Path(root) == Path("/"):
        raise ConnectionMissing(
            f"Connection {connection.connection_id} does not say below which directory the files are: add "
            '{"root": "/an/absolute/path"} to its extra. Nothing was touched.'
        )
    refuse(refusals(database, Use.REPLACED))
    return Place(root=Path(root), database=database)


def make_folder(place: Place) -> None:
    """Make what is missing of the folders that Env Sync keeps. Raises what `check_folder` raises."""
    _check_root(place)
    for folder in (place.hidden, place.folder, place.records):
        with plain_errors(str(folder)), contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    check_folder(place)


def check_folder(place: Place) -> None:
    """See that nobody else gets past the folders that Env Sync keeps, nor writes to its files there.

    Raises ServerUnreachable where there is no root, AccessRefused.
    """
    _check_root(place)
    folders, files = (place.hidden, place.folder, place.records), (place.lock, place.lease, place.at_work)
    against = (*map(_against_folder, folders), *map(_against_file, files))
    if found := [each for each in against if each]:
        raise AccessRefused(" ".join(found))


def _against_folder(folder: Path) -> str | None:
    """Why raw data must not be kept below a folder; None where it may, or where there is none."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return None
    except OSError as problem:
        return f"{folder} cannot be looked at: {problem.strerror}."
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077:
        return None
    return (
        f"{folder} must be a directory of the user of this worker (number {os.geteuid()}) with mode "
        "0700, for data that is not sanitised yet is kept in it, and it is not. Run all workers of "
        "this root as one user; if nothing of it is needed, move it away. Nothing was touched."
    )


def _against_file(file: Path) -> str | None:
    """Why a file that says who may touch live is not used; None where it is ours alone, or not there."""
    try:
        status = file.lstat()
    except FileNotFoundError:
        return None
    except OSError as problem:
        return f"{file} cannot be looked at: {problem.strerror}."
    plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    if plain and status.st_uid == os.geteuid() and not status.st_mode & 0o022:
        return None
    return (
        f"{file} must be a file of the user of this worker (number {os.geteuid()}) that nobody else may "
        "write to and that has one name, for it says who may touch live, and it is not. It was neither "
        "read nor written. Find out who made it; while no sync runs, remove it."
    )


def check_live(place: Place) -> bool:
    """Whether there is a live that can be swapped. Raises ContentRefused where there is one that cannot."""
    try:
        status = place.live.lstat()
    except FileNotFoundError:
        return False
    instead = f"Set `root` in the connection's extra so that {place.database} is a directory in it"
    if stat.S_ISLNK(status.st_mode):
        raise ContentRefused(
            f"{place} is a symlink: what it points to would not be replaced with it. {instead}, not a link: "
            f"{_target(place.live)}. Nothing was touched."
        )
    if not stat.S_ISDIR(status.st_mode):
        raise ContentRefused(f"{place} is no directory: only directories are synced. Nothing was touched.")
    if place.live.is_mount() or status.st_dev != place.root.stat().st_dev:
        raise ContentRefused(
            f"{place} is a file system of its own: it cannot be renamed. Mount that one level higher, so "
            f"that the files are in a directory of it. {instead}. Nothing was touched."
        )
    real = place.live.resolve()
    if below := [point for point in mount_points() if point != real and point.is_relative_to(real)]:
        raise ContentRefused(
            f"{below[0]}, below {place}, is a file system of its own: it would go away with what is "
            "replaced. Mount it elsewhere. Nothing was touched."
        )
    return True


@contextlib.contextmanager
def plain_errors(where: str, otherwise: type[EnvSyncError] = EnvSyncError) -> Iterator[None]:
    """Turn what the operating system refuses into an error that says what to do.

    A full disk is DiskFull, a missing right AccessRefused, anything else `otherwise`.
    """
    try:
        yield
    except OSError as problem:
        what = f"{where}: {problem.strerror or type(problem).__name__}"
        file = problem.filename
        named = f" ({os.fsdecode(file)!r})" if isinstance(file, str | bytes) else ""
        if is_full(problem):
            raise DiskFull(f"{what}{named}. Make room on this disk, and run the step again.") from None
        if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise AccessRefused(
                f"{what}{named}. The user of this worker (number {os.geteuid()}) needs to read and write "
                "there."
            ) from None
        raise otherwise(f"{what}{named}.") from problem


def _check_root(place: Place) -> None:
    if not place.root.is_dir():
        raise ServerUnreachable(
            f"There is no directory {place.root} on {socket.gethostname()}, which the connection names as "
            "root: mount it, or let the sync's node class have the queue of the machine that has it "
            "(govuk_env_sync::queues). Nothing was touched."
        )


def _target(link: Path) -> str:
    return f"it points to {str(link.readlink())!r}"
