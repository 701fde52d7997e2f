"""Gives an archive of outgoing the name of live.

pg_dump writes into an archive which database it was connected to, and a restore refuses an archive of
another database. The archive of a copy is as one of live, so its few mentions of the copy are changed in
place: what the name gets shorter by is made up for with spaces where they mean nothing, since the archive
counts its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from env_sync.core.errors import DumpDamaged
from env_sync.domain.database_name import OUTGOING
from env_sync.engines.postgresql.descriptor import MAGIC

# pg_backup_archiver.c: WriteHead, WriteToc, WriteStr, WriteInt; pg_backup_custom.c: WriteOffset.
_COMPRESSION_IS_A_BYTE = (1, 15)
_HAS_RELATION_KIND = (1, 16)
_OLDEST, _NEWEST = (1, 14), (1, 16)
_SUFFIX = OUTGOING.encode()
_NAMED = re.compile(rb'DATABASE (?:"((?:[^"]|"")*)' + _SUFFIX + rb'"|(\S*)' + _SUFFIX + rb")")


@frozen
class _Text:
    """A text in the archive, None where it stands for nothing; `at` is where its length is written."""

    at: int
    value: bytes | None


def name_as_live(file: Path) -> None:
    """Change an archive of a database called `<live>__outgoing` into one of `<live>`, in the file itself.

    Raises DumpDamaged where it is no archive of the versions known here, or of another database; OSError.
    """
    with file.open("r+b") as archive:
        reader = _Reader(archive, file)
        version = reader.version()
        if not _OLDEST <= version <= _NEWEST:
            raise reader.damaged(f"is of version {version[0]}.{version[1]} of the format, which is not known")
        reader.skip_rest_of_header(version)
        database, server_version = reader.text(), reader.text()
        reader.text()
        if not (database.value or b"").endswith(_SUFFIX):
            raise reader.damaged("is not one of a copy that is to be pushed")
        # Who reads the version of the server takes its first word.
        changes = [
            reader.written_anew(
                [(database, _without_suffix(database)), (server_version, server_version.value)]
            )
        ]
        for _ in range(reader.number()):
            changes += reader.entry(version)
        for at, content in changes:
            archive.seek(at)
            archive.write(content)


class _Reader:
    """Reads an archive from its beginning to the end of its table of contents."""

    def __init__(self, archive: BinaryIO, file: Path) -> None:
        self._archive = archive
        self._file = file
        self._number_size = self._offset_size = 0

    def damaged(self, why: str) -> DumpDamaged:
        """The error for an archive that is not as it should be."""
        return DumpDamaged(
            f"The archive {self._file.name} that pg_dump just wrote {why}, so it cannot be given the name of "
            "live. Nothing was uploaded. Install the pg_dump of the server's own version on the worker."
        )

    def version(self) -> tuple[int, int]:
        """The version of the format, from the beginning."""
        beginning = self._bytes(len(MAGIC) + 6)
        if not beginning.startswith(MAGIC):
            raise self.damaged("is no archive of the format custom")
        major, minor, _, self._number_size, self._offset_size, _ = beginning[len(MAGIC) :]
        return (major, minor)

    def skip_rest_of_header(self, version: tuple[int, int]) -> None:
        """Go on behind the compression and the seven parts of the time."""
        if version >= _COMPRESSION_IS_A_BYTE:
            self._bytes(1)
        else:
            self.number()
        for _ in range(7):
            self.number()

    def entry(self, version: tuple[int, int]) -> list[tuple[int, bytes]]:
        """Read an entry; where and what is to be written, if it names the database."""
        self.number()
        self.number()
        self.text()
        self.text()
        tag, kind = self.text(), self.text()
        self.number()
        definition, drop = self.text(), self.text()
        # The statement of COPY, the schema, the tablespace, the access method.
        for _ in range(4):
            self.text()
        if version >= _HAS_RELATION_KIND:
            self.number()
        self.text()
        self.text()
        while self.text().value is not None:
            pass
        self._bytes(1 + self._offset_size)
        if kind.value == b"DATABASE":
            name: bytes | None = _without_suffix(tag)
        elif (tag.value or b"").startswith(b"DATABASE "):
            name = _renamed(tag)
        else:
            return []
        return [self.written_anew([(tag, name), (drop, _renamed(drop)), (definition, _renamed(definition))])]

    def written_anew(self, changes: Sequence[tuple[_Text, bytes | None]]) -> tuple[int, bytes]:
        """Where and what is to be written so that texts have other values, none of them longer than before.

        The last one is given the spaces that the whole then lacks.
        """
        missing = sum(len(text.value or b"") - len(value or b"") for text, value in changes)
        last = changes[-1][0]
        anew = {text.at: (text, value) for text, value in changes}
        anew[last.at] = (last, (changes[-1][1] or b"") + b" " * missing)
        in_order = [anew[at] for at in sorted(anew)]
        begin, behind = in_order[0][0].at, self._archive.tell()
        content, position = b"", begin
        for text, value in in_order:
            self._archive.seek(position)
            content += self._bytes(text.at - position) + self._text_bytes(value)
            position = text.at + len(self._text_bytes(text.value))
        self._archive.seek(behind)
        return begin, content

    def _text_bytes(self, value: bytes | None) -> bytes:
        if value is None:
            return b"\1" + (1).to_bytes(self._number_size, "little")
        return b"\0" + len(value).to_bytes(self._number_size, "little") + value

    def number(self) -> int:
        """Read a number: its sign, then its bytes from the lowest."""
        read = self._bytes(1 + self._number_size)
        number = int.from_bytes(read[1:], "little")
        return -number if read[0] else number

    def text(self) -> _Text:
        """Read a text."""
        at = self._archive.tell()
        length = self.number()
        return _Text(at, self._bytes(length) if length >= 0 else None)

    def _bytes(self, count: int) -> bytes:
        read = self._archive.read(count)
        if len(read) != count:
            raise self.damaged("ends in its table of contents")
        return read


def _without_suffix(text: _Text) -> bytes:
    return (text.value or b"").removesuffix(_SUFFIX)


def _renamed(text: _Text) -> bytes | None:
    """A statement, or a tag, that names the copy first of all, with the name of live."""
    if text.value is None:
        return None
    return _NAMED.sub(lambda found: b'DATABASE "' + (found[1] or found[2]) + b'"', text.value, count=1)
