"""Who can enter the folders in which incoming is, beside root and the user of this worker."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from env_sync.domain.finding import Finding, note, problem
from env_sync.engines.files.place import Place

ACCESS_LISTS = ("system.posix_acl_access", "system.posix_acl_default", "system.richacl")
"""Extended attributes that give rights which a mode does not tell of in full."""
OF_NFS = "system.nfs4_acl"
"""Every file on NFS 4 has one."""


def look_at_entering(place: Place) -> Iterator[Finding]:
    """What lets others in, or could; the mode and the owner of the folders are looked at elsewhere."""
    for folder in (place.hidden, place.folder, place.records, place.incoming):
        attributes = _attributes(folder)
        if lists := [name for name in ACCESS_LISTS if name in attributes]:
            yield problem(
                f"{folder} has an access control list ({', '.join(lists)}), by which others may be let in, "
                "and which what is made in it may inherit.",
                f"Remove it: setfacl -b -k {folder}",
            )
        elif OF_NFS in attributes:
            yield note(
                f"{folder} is on NFS 4: whether its access control list lets others in cannot be told from "
                "here.",
                f"Look: nfs4_getfacl {folder}",
            )
    for folder in (place.root, *place.root.parents):
        if who := _who_may_rename_in(folder):
            yield note(
                f"{who} may rename what is in {folder}, and so put another directory in the place of "
                f"{place.hidden} or of live; nobody else can look into what is there now.",
                "Let it belong to root or to the user of this worker, with mode 0755, if that must not be.",
            )


def who_enters(place: Place) -> str:
    """Who can read incoming, for a look before the night."""
    return f"incoming in {place.folder} can be read by root and the user number {os.geteuid()} alone"


def _attributes(folder: Path) -> list[str]:
    try:
        return os.listxattr(folder, follow_symlinks=False)
    except OSError:
        # It is not there yet, or its file system has none.
        return []


def _who_may_rename_in(folder: Path) -> str:
    """Who, beside root and this user, may rename what others own in a directory; "" for nobody."""
    try:
        status = folder.stat()
    except OSError:
        return ""
    if status.st_uid not in (0, os.geteuid()):
        return f"The user number {status.st_uid}"
    if status.st_mode & stat.S_ISVTX:
        return ""
    if status.st_mode & stat.S_IWOTH:
        return "Everybody"
    if status.st_mode & stat.S_IWGRP and status.st_gid != 0:
        return f"The group number {status.st_gid}"
    return ""
