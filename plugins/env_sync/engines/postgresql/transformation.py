"""Reads a transformation as the server will, as far as it takes to find its statements and their lines."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from env_sync.core.errors import TransformationFailed
from env_sync.engines.postgresql.identifiers import unquoted

TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<line_comment>--[^\n]*)
  | (?P<block_comment>/\*)
  | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
  | (?P<quoted>(?:[uU]&|[bBxXnN])?'(?:[^']|'')*')
  | (?P<identifier>(?:[uU]&)?"(?:[^"]|"")*")
  | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
  | (?P<word>[A-Za-z_\x80-\U0010ffff][\w$]*)
  | (?P<number>[0-9]+)
  | (?P<backslash>\\)
  | (?P<semicolon>;)
  | (?P<opening>[(\[])
  | (?P<closing>[)\]])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
TEMPORARY_LAST = "pg_temp"
"""Where a path does not name it, temporary tables are found before all others."""
SEARCH_PATH = f"SET LOCAL search_path = public, {TEMPORARY_LAST}"
"""Where a transformation looks for names, until it says otherwise.

Temporary tables come last, so that none stands in for one of the data. No `"$user"`: whoever may make schemas
could make one that is called like the sync's role, with tables in it that would be taken for those that are
meant.
"""
_OUTSIDE = "it reaches out of the copy that it is to change"
_KEPT_OFF = "row_security stays off, so that no policy hides a row from a transformation"
NEVER: Mapping[tuple[str, ...], str] = {
    **{
        (verb, kind): _OUTSIDE
        for verb in ("CREATE", "ALTER", "DROP")
        for kind in ("DATABASE", "ROLE", "USER", "GROUP", "TABLESPACE", "SERVER", "SUBSCRIPTION")
    },
    ("ALTER", "SYSTEM"): _OUTSIDE,
    **{("COMMENT", "ON", kind): _OUTSIDE for kind in ("DATABASE", "ROLE", "TABLESPACE", "SERVER")},
    ("SECURITY", "LABEL"): _OUTSIDE,
    ("REASSIGN", "OWNED"): _OUTSIDE,
    ("DROP", "OWNED"): _OUTSIDE,
    ("SET", "ROW_SECURITY"): _KEPT_OFF,
    ("SET", "LOCAL", "ROW_SECURITY"): _KEPT_OFF,
    ("SET", "SESSION", "ROW_SECURITY"): _KEPT_OFF,
}
"""How statements begin that no transformation may hold, nor a block within one, each with the reason."""
GRANTS = ("GRANT", "REVOKE")
NOT_IN = frozenset({"DATABASE", "TABLESPACE", "SERVER", "PARAMETER"})
"""On what of a server nothing may be granted, nor revoked."""
VERBS = frozenset({*(words[0] for words in NEVER), *GRANTS})
LITERALS = ("quoted", "escaped", "dollar")
WITH_BLOCKS = frozenset({"DO", "FUNCTION", "PROCEDURE"})
"""One of these is among the first words of a statement that may hold a block, as a literal."""
EXECUTE = re.compile(r"\bEXECUTE\b", re.IGNORECASE)
WITH_SETTINGS = ("CREATE", "ALTER")
"""How statements begin that may hold a setting, that of a function."""
LITERAL_EDGE = re.compile(r"\A(?:\$\w*\$|\w*&?')|(?:\$\w*\$|')\Z")
COMMENT_EDGE = re.compile(r"/\*|\*/")


@frozen(kw_only=True)
class Token:
    """A part of SQL that means something: no space, no comment. A text between dollars is one token."""

    kind: str
    """The name of its group in TOKEN."""
    text: str
    start: int
    """Characters before it, and before its end, in the text that it is from."""
    end: int


@frozen(kw_only=True)
class Script:
    """The text of a transformation, and where its statements begin (counted in characters from 0)."""

    file: Path
    text: str
    statements: tuple[int, ...]

    def parts(self) -> Iterator[tuple[int, str]]:
        """Each statement: where it begins, and its text up to the beginning of the next one."""
        for begin, end in itertools.zip_longest(self.statements, self.statements[1:]):
            yield begin, self.text[begin:end]

    def line_at(self, position: int) -> int:
        """The line of a character."""
        return self.text.count("\n", 0, position) + 1


@frozen
class Word:
    """A word or a name in a script, without its quotes, and how many brackets are open around it."""

    text: str
    depth: int


def words_of(script: Script) -> list[list[Word]]:
    """The words of each statement that has any, without those in comments and literals."""
    statements: list[list[Word]] = [[]]
    depth = position = 0
    while (token := TOKEN.match(script.text, position)) is not None:
        kind, position = token.lastgroup, token.end()
        if kind == "block_comment":
            position = _end_of_comment(script.text, position)
        elif kind == "dollar":
            end = script.text.find(token.group(), position)
            position = len(script.text) if end < 0 else end + len(token.group())
        elif kind == "semicolon" and depth == 0:
            statements.append([])
        elif kind == "opening":
            depth += 1
        elif kind == "closing":
            depth = max(depth - 1, 0)
        elif kind in ("word", "identifier"):
            statements[-1].append(Word(unquoted(token.group()), depth))
    return [words for words in statements if words]


def read_script(file: Path, content: bytes) -> Script:
    """The script in a file. Raises TransformationFailed, with the line, for what only psql can run."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise TransformationFailed(
            f"Transformation {file.name}, line {line}: this is not UTF-8. Save the file as UTF-8."
        ) from None
    if "\0" in text:
        raise TransformationFailed(
            f"Transformation {file.name}, line {text.count(chr(10), 0, text.index(chr(0))) + 1}: there is a "
            "NUL character. Save the file as UTF-8 text."
        )
    statements = tuple(_statements(file, text))
    _refuse_what_reaches_out(file, text)
    return Script(file=file, text=text, statements=statements)


def code_of(text: str) -> str:
    """What of SQL is no literal and no comment, with a space between tokens."""
    return " ".join(token.text for token in tokens(text) if token.kind not in LITERALS)


def tokens(text: str) -> Iterator[Token]:
    """The tokens of SQL, in order."""
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        kind = match.lastgroup if match else None
        if match is None or kind is None:
            return
        start, position = position, match.end()
        if kind in ("space", "line_comment"):
            continue
        if kind == "block_comment":
            position = _end_of_comment(text, position)
            continue
        if kind == "dollar":
            end = text.find(match.group(), position)
            position = len(text) if end < 0 else end + len(match.group())
        yield Token(kind=kind, text=text[start:position], start=start, end=position)


def sets_search_path(words: Sequence[str]) -> bool:
    """Whether a statement, by its words in capitals, sets where names are looked up."""
    rest = [word for word in words[:3] if word not in ("LOCAL", "SESSION")]
    return rest[:1] == ["SET"] and rest[1:2] in (["SEARCH_PATH"], ["SCHEMA"])


def _statements(file: Path, text: str) -> list[int]:
    begins: list[int] = []
    inside = False
    """Whether a statement has begun and not ended."""
    depth = body = 0
    words: list[str] = []
    for token in tokens(text):
        if token.kind == "semicolon" and depth == 0 and body == 0:
            inside, words = False, []
            continue
        if not inside:
            begins.append(token.start)
            inside, depth, body = True, 0, 0
        if token.kind == "backslash":
            _refuse(
                file, text, token.start, "commands of psql (they begin with a backslash) cannot be run here"
            )
        elif token.kind == "opening":
            depth += 1
        elif token.kind == "closing":
            depth = max(depth - 1, 0)
        elif token.kind == "word":
            word = token.text.upper()
            if word == "ATOMIC" and words[-1:] == ["BEGIN"]:
                body = 1
            elif body and word == "CASE":
                body += 1
            elif body and word == "END":
                body -= 1
            if words[:1] == ["COPY"] and words[-1] == "FROM" and word == "STDIN" and depth == 0:
                _refuse(
                    file, text, token.start, "COPY ... FROM stdin cannot be run here: write INSERT ... VALUES"
                )
            words.append(word)
        else:
            words.append("")
    return begins


def _refuse_what_reaches_out(file: Path, text: str) -> None:
    """Raises TransformationFailed for a statement of NEVER, also within a block, and in text that it runs."""
    for position, words in _all_statements(text):
        if reason := _reason(words):
            _refuse(file, text, position, f"{' '.join(words[:3])} cannot be run here: {reason}")


def _all_statements(text: str, *, block: bool = False) -> Iterator[tuple[int, list[str]]]:
    """What may be a statement that no transformation may hold: where it begins, and its words in capitals.

    In a block any word may begin one, for blocks have words of their own before statements; and a text may
    be run as a statement, where the block has EXECUTE.
    """
    executes = block and EXECUTE.search(text) is not None
    words: list[Token] = []
    for token in tokens(text):
        if token.kind in ("word", "identifier"):
            words.append(token)
        elif token.kind == "semicolon":
            yield from _beginnings(words, block=block)
            words = []
        elif token.kind in LITERALS and (executes or (not block and _has_block(words))):
            is_block = token.kind == "dollar" or not block
            inside = _all_statements(LITERAL_EDGE.sub("", token.text), block=is_block)
            yield from ((token.start, found) for _, found in inside)
    yield from _beginnings(words, block=block)


def _beginnings(words: list[Token], *, block: bool) -> Iterator[tuple[int, list[str]]]:
    settings = any(word.text.upper() in WITH_SETTINGS for word in words[:1])
    for number, token in enumerate(words):
        verb = token.text.upper()
        if verb in VERBS and (number == 0 or block or (settings and verb == "SET")):
            yield token.start, [unquoted(word.text).upper() for word in words[number:]]


def _has_block(words: list[Token]) -> bool:
    return any(word.text.upper() in WITH_BLOCKS for word in words[:4])


def _reason(words: list[str]) -> str | None:
    """Why a statement that begins with these words may not be run; None where it may."""
    for number in (2, 3):
        reason = NEVER.get(tuple(words[:number]))
        if reason and not (reason == _KEPT_OFF and words[-1] in ("OFF", "FALSE")):
            return reason
    if words[0] in GRANTS and ("ON" not in words or NOT_IN & {*words[words.index("ON") :][:3]}):
        return f"{_OUTSIDE}: who may do what on the server is not changed by a sync"
    return None


def _end_of_comment(text: str, position: int) -> int:
    """Comments between /* and */ may hold others."""
    depth = 1
    while depth:
        edge = COMMENT_EDGE.search(text, position)
        if edge is None:
            return len(text)
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
    return position


def _refuse(file: Path, text: str, position: int, why: str) -> None:
    line = text.count("\n", 0, position) + 1
    raise TransformationFailed(
        f"Transformation {file.name}, line {line}: {why}. Correct the file; nothing of it was run."
    )
