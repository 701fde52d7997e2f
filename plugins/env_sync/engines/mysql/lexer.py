r"""SQL as MySQL's own lexer takes it apart: quotes, comments, and comments that only some versions run.

Works on bytes, for a dump holds what it holds. Right for character sets in which no byte of a longer
character is that of a quote or a backslash: `SAFE_CHARACTER_SETS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from env_sync.engines.mysql.version import ServerVersion

SAFE_CHARACTER_SETS = frozenset(
    {
        *("utf8", "utf8mb3", "utf8mb4", "ascii", "binary", "latin1", "latin2", "latin5", "latin7", "cp1250"),
        *("cp1251", "cp1256", "cp1257", "cp850", "cp852", "koi8r", "koi8u", "greek", "hebrew"),
    }
)

_PARTS = rb"""
    (?P<space>\s++)
  | (?P<opener>/\*M?!(?P<version>[0-9]{5,6})?)
  | (?P<comment>/\*.*?\*/ | --(?=[\s\x00-\x1f]|\Z)[^\n]*+ | \#[^\n]*+)
  | (?P<closer>\*/)
  | (?P<single>'%(single)s')
  | (?P<double>"%(double)s")
  | (?P<name>`(?:[^`]++|``)*+`)
  | (?P<word>[A-Za-z_$@0-9\x80-\xff]++)
  | (?P<broken>['"`] | /\*)
  | (?P<other>.)
"""


def _compiled(single: bytes, double: bytes) -> re.Pattern[bytes]:
    return re.compile(_PARTS % {b"single": single, b"double": double}, re.VERBOSE | re.DOTALL)


WITH_BACKSLASH = _compiled(rb"(?:[^'\\]++|\\.|'')*+", rb'(?:[^"\\]++|\\.|"")*+')
WITHOUT_BACKSLASH = _compiled(rb"(?:[^']++|'')*+", rb'(?:[^"]++|"")*+')
"""In NO_BACKSLASH_ESCAPES."""


@frozen
class Token:
    """A part of a statement; `kind` is the name of its group in the pattern."""

    kind: str
    text: bytes
    start: int
    end: int
    version: int | None = None
    """Of an `opener`: from which version on its comment is run; None for any."""


def tokens(text: bytes, *, backslash: bool = True) -> Iterator[Token]:
    """The parts of a text in order, spaces and comments included."""
    pattern = WITH_BACKSLASH if backslash else WITHOUT_BACKSLASH
    for match in pattern.finditer(text):
        kind = match.lastgroup or "other"
        if kind == "version":
            kind = "opener"
        number = match["version"]
        yield Token(kind, match.group(), match.start(), match.end(), int(number) if number else None)


def meaning(text: bytes, *, backslash: bool = True) -> list[Token]:
    """The parts that mean something: no spaces, no comments."""
    return [one for one in tokens(text, backslash=backslash) if one.kind not in ("space", "comment")]


def plain(text: bytes, version: ServerVersion, *, backslash: bool = True) -> bytes:
    """The statement that this server would run: without comments for versions, their text in or out.

    The result holds none, so every server takes it alike. One that is not closed stays, and is refused by
    whoever looks at the result.
    """
    if b"/*!" not in text and b"/*M!" not in text:
        return text
    out = bytearray()
    depth = skipped = 0
    for token in tokens(text, backslash=backslash):
        if token.kind == "opener":
            depth += 1
            if skipped or not _runs(token, version):
                skipped += 1
            else:
                out += b" "
        elif token.kind == "closer" and depth:
            depth -= 1
            skipped = max(skipped - 1, 0)
            out += b" "
        elif not skipped:
            out += token.text
    if depth:
        return text
    return bytes(out).strip()


def _runs(opener: Token, version: ServerVersion) -> bool:
    if opener.text.startswith(b"/*M"):
        return version.mariadb and (opener.version or 0) <= version.comment_number
    if opener.version is None:
        return True
    # What MySQL added after MariaDB went its own way.
    if version.mariadb and 50_700 <= opener.version <= 99_999:
        return False
    return opener.version <= version.comment_number
