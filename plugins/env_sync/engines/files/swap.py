"""Making and removing copies, and putting right what a swap that did not end left."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path

from env_sync.engines.files.metadata import read_record, remove_record, sync_folder
from env_sync.engines.files.place import Place
from env_sync.engines.files.syscalls import exchange, rename_to_new


def is_there(copy: Path) -> bool:
    """Whether there is anything of that name."""
    return os.path.lexists(copy)


def remove(place: Place, copy: Path) -> bool:
    """Remove a copy that is not live, its record first: what is half removed proves nothing any more.

    Whether there was one. Raises OSError.
    """
    if not is_there(copy):
        return False
    with contextlib.suppress(NotADirectoryError):
        remove_record(place, copy)
    if copy.is_symlink() or not copy.is_dir():
        copy.unlink()
        return True
    _make_removable(copy)
    shutil.rmtree(copy)
    return True


def swap(place: Place, other: Path) -> None:
    """Let live and another copy, `incoming` or `previous`, change places; what was live is at `other` then.

    In one step where the file system offers that; else live is away for the moment between two renames, and
    `settle` brings a swap that was killed there to its end. Raises OSError; live is as it was then.
    """
    if not exchange(other, place.live):
        rename_to_new(place.live, place.between)
        try:
            rename_to_new(other, place.live)
        except OSError:
            rename_to_new(place.between, place.live)
            raise
        rename_to_new(place.between, other)
    sync_folder(place.root)
    sync_folder(place.folder)


def settle(place: Place, log: logging.Logger) -> bool:
    """Bring a swap that was killed to its end; whether live was away. Raises OSError.

    Only while the lease's lock is held: then no process is rightly in the middle of one.
    """
    away = False
    if is_there(place.between):
        # Which of the two was to be live says so: it was written before.
        incoming = read_record(place, place.incoming)
        successor = place.incoming if incoming and incoming.promoted else place.previous
        if not is_there(place.live):
            rename_to_new(successor if is_there(successor) else place.between, place.live)
            away = True
            log.warning("%s was away, for an earlier promotion did not end; it is there again.", place)
        if is_there(place.between):
            # The place that was left for live. Where previous is still there, it was incoming's.
            rename_to_new(place.between, place.incoming if is_there(place.previous) else place.previous)
    left = read_record(place, place.incoming)
    if left is not None and left.was_live is not None:
        # Incoming was made live, and what was live is still in its place.
        keep_as_previous(place)
        log.info("What was live before is %s now, as an earlier promotion had begun.", place.previous)
    return away


def keep_as_previous(place: Place) -> None:
    """What was live, and is in incoming's place after the swap, becomes previous.

    The previous of before is `replaced` then: what cannot be removed does not stop it. Raises OSError.
    """
    if is_there(place.previous):
        remove(place, place.replaced)
        rename_to_new(place.previous, place.replaced)
    rename_to_new(place.incoming, place.previous)
    sync_folder(place.folder)


def _make_removable(copy: Path) -> None:
    """Root can remove anything; another user must be able to write to each directory first."""
    if os.geteuid() == 0:
        return
    copy.chmod(0o700)
    for folder, names, _, descriptor in os.fwalk(copy):
        for name in names:
            if not (Path(folder) / name).is_symlink():
                os.chmod(name, 0o700, dir_fd=descriptor)
