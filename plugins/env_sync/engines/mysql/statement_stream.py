"""Cuts a dump into its statements as it is read: nothing of it is kept but the statement at hand."""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

from env_sync.core.errors import DumpDamaged
from env_sync.engines.mysql.lexer import WITH_BACKSLASH, WITHOUT_BACKSLASH

LONGEST = 1 << 30
"""Bytes of a statement; the server takes none that is longer."""
_CHUNK = 1 << 22

_NAME = rb"`(?:[^`]++|``)*+`"
_ROWS_BEGIN = re.compile(
    rb"(?:INSERT(?:\s+IGNORE)?|REPLACE)\s+INTO\s+(?P<table>" + _NAME + rb")"
    rb"(?:\s*\(\s*" + _NAME + rb"(?:\s*,\s*" + _NAME + rb")*+\s*\))?\s+VALUES\s*+",
    re.DOTALL,
)
"""An INSERT as dumps have it, into a table without a database before it, up to its rows."""
_LITERALS = (
    rb"(?:[-+0-9.,)\s]++|(?<![0-9.'])\(|NULL(?=[,)\s])|[xXbB]?'%s'|_binary\s?+|(?<=[(,\s]0)x[0-9A-Fa-f]++"
    rb"|(?<=[0-9.])[eE](?=[-+0-9]))*+"
)
LITERALS = re.compile(_LITERALS % rb"(?:[^'\\]++|\\.|'')*+", re.DOTALL)
"""Rows of nothing but literals."""
LITERALS_WITHOUT_BACKSLASH = re.compile(_LITERALS % rb"(?:[^']++|'')*+", re.DOTALL)
_QUICK = 1 << 26
"""Bytes of rows that are looked at in a quicker way, which needs several times as much memory."""
_NUMBERS_ALIKE = bytes.maketrans(b"-+123456789.", b"0" * 12)
_NO_MARKS = (b"'0", b"'(", b"0(")
"""What stands between no two literals, each digit being a 0."""
_BARE = re.compile(rb"(?:[-+0-9.,()'\s]++|(?<=[(,\s]0)x[0-9A-Fa-f]++(?=[,)])|(?<=[0-9.])[eE](?=[-+0-9]))*+")
_LONGEST_HEAD = 400_000
"""Bytes: names of 4,096 columns, each as long as it may be, in UTF-8, fit."""
_LONGEST_WORD = 16
"""Bytes: no word between the values of rows is longer."""
_BEGINS_ROWS = re.compile(rb"(?:INSERT|REPLACE)\s")
_BETWEEN = re.compile(rb"(?:\s++|--(?=[\s\x00-\x1f])[^\n]*+\n|#[^\n]*+\n|/\*(?!M?!).*?\*/)*+", re.DOTALL)
_DELIMITER = re.compile(rb"delimiter[ \t]+(\S+)[^\n]*\n", re.I)
_MAYBE_DELIMITER = re.compile(rb"delimiter[ \t]", re.I)


@frozen
class Statement:
    """One statement without its delimiter. `table` is where it puts rows that are literals; else None."""

    text: bytes
    table: bytes | None = None


class Splitter:
    """Gives the statements of a stream one by one; `backslash` is off while NO_BACKSLASH_ESCAPES is set."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._buffer = b""
        self._at = 0
        self._ended = False
        self._delimiter = b";"
        self.backslash = True

    def next(self) -> Statement | None:
        """The next statement; None at the end. Raises DumpDamaged where the last one has no end."""
        while True:
            if not self._skip_between():
                return None
            if _MAYBE_DELIMITER.match(self._buffer, self._at):
                self._change_delimiter()
                continue
            statement = self._statement()
            if statement.text:
                return statement

    def _skip_between(self) -> bool:
        """Go on to the beginning of a statement; False at the end of the stream."""
        while True:
            match = _BETWEEN.match(self._buffer, self._at)
            self._at = match.end() if match else self._at
            # A comment or a word may go on in what was not read yet.
            if len(self._buffer) - self._at > 64 and not self._buffer.startswith((b"--", b"#"), self._at):
                opened = self._buffer.startswith(b"/*", self._at)
                if not opened or self._buffer[self._at + 2 : self._at + 4].startswith((b"!", b"M!")):
                    return True
            if not self._more():
                match = _BETWEEN.match(self._buffer + b"\n", self._at)
                if match and match.end() >= len(self._buffer):
                    return False
                return self._at < len(self._buffer)

    def _change_delimiter(self) -> None:
        while (match := _DELIMITER.match(self._buffer, self._at)) is None:
            if not self._more():
                self._buffer += b"\n"
        self._delimiter = match[1]
        self._at = match.end()

    def _statement(self) -> Statement:
        begun = self._at
        if self._delimiter == b";" and _BEGINS_ROWS.match(self._buffer, begun):
            statement, begun = self._rows(begun)
            if statement is not None:
                return statement
        while (end := self._end_of(begun)) is None:
            begun = self._need_more(begun)
        return self._cut(begun, end)

    def _rows(self, begun: int) -> tuple[Statement | None, int]:
        """The INSERT that begins there, if it is one of literals alone; and where it begins by now."""
        while (head := _ROWS_BEGIN.match(self._buffer, begun)) is None:
            if self._ended or len(self._buffer) - begun > _LONGEST_HEAD:
                return None, begun
            begun = self._read_on(begun)
        table, position = head["table"], head.end()
        if self.backslash:
            # mysqldump writes a line for each INSERT, and no other end of a line within it.
            looked = position
            while (end := self._buffer.find(b";\n", looked)) < 0:
                kept = len(self._buffer) - begun
                if self._ended or kept > _QUICK:
                    break
                head_length = position - begun
                begun = self._read_on(begun)
                position, looked = begun + head_length, begun + kept - 1
            if 0 < end < position + _QUICK and are_literals(self._buffer[position:end]):
                self._at = end + 1
                return Statement(self._buffer[begun:end], table), begun
        literals = LITERALS if self.backslash else LITERALS_WITHOUT_BACKSLASH
        while True:
            match = literals.match(self._buffer, position)
            position = match.end() if match else position
            if self._buffer.startswith(b";", position):
                self._at = position + 1
                return Statement(self._buffer[begun:position], table), begun
            left = len(self._buffer) - position
            if self._ended or (left > _LONGEST_WORD and self._buffer[position : position + 1] != b"'"):
                # Like any other statement, which is looked at as such.
                return None, begun
            # The last value may go on in what comes: it is read again, from the comma or bracket before it.
            if self._buffer[position - 1 : position] not in (b"'", b" "):
                position = 1 + max(
                    self._buffer.rfind(b",", begun, position), self._buffer.rfind(b"(", begun, position)
                )
            kept = position - begun
            begun = self._read_on(begun)
            position = begun + kept

    def _cut(self, begun: int, end: int) -> Statement:
        self._at = end + len(self._delimiter)
        return Statement(self._buffer[begun:end].rstrip())

    def _end_of(self, begun: int) -> int | None:
        """Where the delimiter begins; None where it is not in what was read."""
        pattern = WITH_BACKSLASH if self.backslash else WITHOUT_BACKSLASH
        position, delimiter, buffer = begun, self._delimiter, self._buffer
        # Delimiters are made of characters that no word and no name is; each is looked for between tokens.
        while position < len(buffer):
            if buffer.startswith(delimiter, position):
                return position
            match = pattern.match(buffer, position)
            if match is None or match.lastgroup == "broken":
                return None
            if match.end() == len(buffer) and not self._ended:
                return None
            if match.lastgroup == "word" and delimiter in match.group():
                return position + match.group().index(delimiter)
            position = match.end()
        return None

    def _need_more(self, begun: int) -> int:
        """Read on; where the statement then begins. Raises DumpDamaged at the end of the dump."""
        if self._ended:
            raise DumpDamaged(
                "The dump ends within a statement: it is not whole. Choose another dump by its timestamp, or "
                "push it again."
            )
        return self._read_on(begun)

    def _read_on(self, begun: int) -> int:
        """Read as much again as the statement is long so far; where the statement then begins."""
        have = len(self._buffer) - begun
        if have > LONGEST:
            raise DumpDamaged(
                f"A statement of the dump is longer than {LONGEST} bytes, which no server takes: the dump is "
                "damaged, or not one of mysqldump. Choose another dump by its timestamp, or push it again."
            )
        self._at = begun
        self._more(max(have, _CHUNK))
        return self._at

    def _more(self, size: int = _CHUNK) -> bool:
        if self._ended:
            return False
        read = self._read(size)
        self._ended = not read
        self._buffer = self._buffer[self._at :] + read
        self._at = 0
        return bool(read)


def are_literals(rows: bytes) -> bool:
    """Whether rows are nothing but literals, with quotes that all end; may say no to what is unusual.

    As LITERALS does, but without a step for each value: what stands in quotes is cut out first.
    """
    if b"\\" in rows:
        rows = rows.replace(b"\\\\", b"").replace(b"\\'", b"")
    parts = rows.split(b"'")
    if len(parts) % 2 == 0:
        return False
    # One quote now stands for each text, and for each NULL.
    bare = (
        b"'".join(parts[0::2]).replace(b",NULL", b",'").replace(b"(NULL", b"('").replace(b"_binary '", b"'")
    )
    alike = bare.translate(_NUMBERS_ALIKE)
    if any(mark in alike for mark in _NO_MARKS):
        return False
    return not bare.translate(None, b"-+0123456789.,()' \n") or _BARE.fullmatch(bare) is not None
