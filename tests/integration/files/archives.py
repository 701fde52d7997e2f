"""Archives that nobody means well with, each made by hand, and what must be said of them."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Mapping

from attrs import frozen


@frozen
class Evil:
    """One archive of a directory whose name is known when it is made; `says` matches the error."""

    members: Callable[[str], list[tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]]]
    says: str

    def content(self, directory: str) -> bytes:
        """The archive, with the directory itself at its beginning."""
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for member in (folder(directory), *self.members(directory)):
                info, content = member if isinstance(member, tuple) else (member, b"")
                tar.addfile(info, io.BytesIO(content))
        return gzip.compress(written.getvalue())


def folder(name: str) -> tarfile.TarInfo:
    """A directory."""
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info


def file(name: str, content: bytes = b"evil", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    """A file."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    return info, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """A link."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    """A device, or something of a type that is not known."""
    info = tarfile.TarInfo(name)
    info.type, info.devmajor, info.devminor = kind, 1, 3
    return info


def with_header(name: str, **headers: str) -> tuple[tarfile.TarInfo, bytes]:
    """A file with headers of its own choice."""
    info, content = file(name)
    info.pax_headers = {key.replace("__", "."): value for key, value in headers.items()}
    return info, content


LEAVES = "leaves the directory"
EVIL: Mapping[str, Evil] = {
    "an absolute name": Evil(lambda top: [file("/tmp/evil")], LEAVES),
    "an absolute name below the directory": Evil(lambda top: [file(f"/{top}/evil")], LEAVES),
    "two dots": Evil(lambda top: [file(f"{top}/../../evil")], LEAVES),
    "two dots that come back": Evil(lambda top: [file(f"{top}/a/../evil")], LEAVES),
    "two dots in a header of its own": Evil(
        lambda top: [with_header(f"{top}/a", path=f"{top}/../evil")], LEAVES
    ),
    "a neighbour": Evil(lambda top: [file(f"{top}2/evil")], "another directory"),
    "an absolute symlink": Evil(lambda top: [link(f"{top}/a", "/etc")], LEAVES),
    "a symlink that goes up": Evil(lambda top: [link(f"{top}/a", "../evil")], LEAVES),
    "a symlink that goes up from below": Evil(
        lambda top: [folder(f"{top}/b"), link(f"{top}/b/a", "../../evil")], LEAVES
    ),
    "a symlink through another one": Evil(
        lambda top: [folder(f"{top}/b"), link(f"{top}/b/up", ".."), link(f"{top}/b/out", "up/..")], LEAVES
    ),
    "a write through a symlink": Evil(
        lambda top: [folder(f"{top}/b"), link(f"{top}/a", "b"), file(f"{top}/a/evil")], "no directory"
    ),
    "a directory through a symlink": Evil(
        lambda top: [folder(f"{top}/b"), link(f"{top}/a", "b"), folder(f"{top}/a/c")], "no directory"
    ),
    "a directory in the place of a symlink": Evil(
        lambda top: [folder(f"{top}/b"), link(f"{top}/a", "b"), folder(f"{top}/a")], "twice"
    ),
    "a file below a file": Evil(lambda top: [file(f"{top}/a"), file(f"{top}/a/b")], "no directory"),
    "a hard link outside": Evil(lambda top: [link(f"{top}/a", "/etc/passwd", tarfile.LNKTYPE)], LEAVES),
    "a hard link up": Evil(lambda top: [link(f"{top}/a", f"{top}/../b", tarfile.LNKTYPE)], LEAVES),
    "a hard link to nothing": Evil(
        lambda top: [link(f"{top}/a", f"{top}/b", tarfile.LNKTYPE)], "no directory or file"
    ),
    "a hard link through a symlink": Evil(
        lambda top: [
            *(folder(f"{top}/b"), file(f"{top}/b/c"), link(f"{top}/a", "b")),
            link(f"{top}/d", f"{top}/a/c", tarfile.LNKTYPE),
        ],
        "no directory",
    ),
    "a character device": Evil(lambda top: [special(f"{top}/null", tarfile.CHRTYPE)], "a device"),
    "a block device": Evil(lambda top: [special(f"{top}/disk", tarfile.BLKTYPE)], "a device"),
    "an unknown type": Evil(lambda top: [special(f"{top}/what", b"Z")], "something unknown"),
    "a name twice": Evil(lambda top: [file(f"{top}/a"), file(f"{top}/a")], "twice"),
    "a file and then a symlink of its name": Evil(
        lambda top: [file(f"{top}/a"), link(f"{top}/a", "b")], "twice"
    ),
    "the directory as a symlink": Evil(lambda top: [link(top, "b")], "not as a directory"),
    "a file that claims a petabyte": Evil(
        lambda top: [with_header(f"{top}/a", size=str(10**15))], "damaged|not whole"
    ),
    "a file of a negative size": Evil(lambda top: [with_header(f"{top}/a", size="-5")], "damaged|possible"),
    "an impossible time": Evil(lambda top: [with_header(f"{top}/a", mtime="9" * 40)], "damaged|possible"),
    "an impossible owner": Evil(lambda top: [with_header(f"{top}/a", uid="9" * 30)], "damaged|possible"),
    "holes that overlap": Evil(
        lambda top: [
            with_header(
                f"{top}/a", GNU__sparse__map="0,3,2,2", GNU__sparse__size="4", GNU__sparse__numblocks="2"
            )
        ],
        "damaged|possible",
    ),
}
