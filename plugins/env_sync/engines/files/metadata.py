"""What a copy says about itself, in a file beside it that is named by the directory's identity.

Applications do not see it, a rename takes it along, and a directory that somebody put there by hand, a copy
of one that has a record included, has none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from attrs import frozen

from env_sync.core.errors import StampUnreadable
from env_sync.core.serialization import from_plain, to_plain
from env_sync.engines.base.contract import Stamp
from env_sync.engines.base.history import Promoted, Returned, WasLive
from env_sync.engines.base.proof import unreadable
from env_sync.engines.files.place import Place
from env_sync.engines.files.syscalls import identity


@frozen(kw_only=True)
class Record:
    """All that is known of one copy; `promoted`, `returned` and `was_live` are written before the swap.

    So they mean something only where the swap would have brought the copy: `promoted` and `returned` of
    live, `was_live` of what is not live.
    """

    stamp: Stamp | None = None
    promoted: Promoted | None = None
    returned: Returned | None = None
    was_live: WasLive | None = None


def read_record(place: Place, copy: Path) -> Record | None:
    """What a copy says; None where there is no such directory. A record that cannot be read says nothing.

    Raises OSError.
    """
    try:
        return read_or_refuse(place, copy)
    except StampUnreadable:
        return Record()


def read_or_refuse(place: Place, copy: Path) -> Record | None:
    """The same; raises StampUnreadable where there is a record that cannot be read. Raises OSError."""
    try:
        file = _file(place, copy)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return from_plain(Record, json.loads(file.read_bytes()))
    except FileNotFoundError:
        return Record()
    except ValueError:
        raise unreadable(str(copy), f"remove {file}") from None


def write_record(place: Place, copy: Path, record: Record) -> None:
    """Write what a copy says, whole or not at all, and so that a power cut does not lose it.

    Raises OSError.
    """
    file = _file(place, copy)
    write_whole(file, to_plain(record), durable=True)
    sync_folder(file.parent)


def remove_record(place: Place, copy: Path) -> None:
    """Let a copy say nothing any more. Raises OSError."""
    _file(place, copy).unlink(missing_ok=True)


def forget_others(place: Place) -> None:
    """Remove the records of directories that are none of the copies any more. Raises OSError."""
    kept = set()
    for copy in (place.live, place.incoming, place.previous, place.between):
        try:
            kept.add(_file(place, copy))
        except (FileNotFoundError, NotADirectoryError):
            continue
    for file in place.records.iterdir():
        if file not in kept:
            file.unlink(missing_ok=True)


def write_whole(file: Path, plain: object, *, durable: bool = False) -> None:
    """Replace a file's content by JSON, whole or not at all; `durable`: on the disk at once.

    Raises OSError.
    """
    written = file.with_name(f"{file.name}.new")
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as content:
        json.dump(plain, content)
        if durable:
            content.flush()
            os.fsync(content.fileno())
    written.replace(file)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder written to the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _file(place: Place, copy: Path) -> Path:
    return place.records / f"{identity(copy)}.json"
