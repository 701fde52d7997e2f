"""Transformations: SQL as the mysql program reads it, in statements that are looked at before any is run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from attrs import evolve, frozen

from env_sync.core.errors import TransformationFailed
from env_sync.domain.manifest import Transformation
from env_sync.domain.postprocess.postprocess import Postprocess, SqlPostprocess
from env_sync.engines.mysql.identifiers import unquoted
from env_sync.engines.mysql.lexer import WITH_BACKSLASH, Token, meaning

READ_ONLY = frozenset({"information_schema", "performance_schema"})
"""Databases in which nobody can write."""
_DELIMITER = re.compile(rb"delimiter[ \t]+(\S+)[^\n]*(?:\n|\Z)", re.I)
_ENDING = "it ends the transaction that the transformations and the proof are in"
_OUTSIDE = "it reaches out of {copy}"
_ROLE = "as whom a transformation runs is not its own to say"
_LOCKING = "nobody else is in {copy}, and the locks would stand in the way of the proof"
_EVENTS = "events are made when a pull's incoming is live; do it by hand, above"
_NEVER: dict[tuple[str, ...], str] = {
    ("COMMIT",): _ENDING,
    ("ROLLBACK",): _ENDING,
    ("BEGIN",): _ENDING,
    ("START", "TRANSACTION"): _ENDING,
    ("XA",): _ENDING,
    ("LOCK", "TABLES"): _LOCKING,
    ("LOCK", "TABLE"): _LOCKING,
    ("USE",): f"{_OUTSIDE}: it is the database already",
    ("CREATE", "DATABASE"): _OUTSIDE,
    ("CREATE", "SCHEMA"): _OUTSIDE,
    ("DROP", "DATABASE"): _OUTSIDE,
    ("DROP", "SCHEMA"): _OUTSIDE,
    ("ALTER", "DATABASE"): _OUTSIDE,
    ("ALTER", "SCHEMA"): _OUTSIDE,
    ("CREATE", "USER"): _OUTSIDE,
    ("DROP", "USER"): _OUTSIDE,
    ("ALTER", "USER"): _OUTSIDE,
    ("RENAME", "USER"): _OUTSIDE,
    ("CREATE", "ROLE"): _OUTSIDE,
    ("CREATE", "SERVER"): _OUTSIDE,
    ("SET", "PASSWORD"): _OUTSIDE,
    ("SET", "GLOBAL"): _OUTSIDE,
    ("SET", "ROLE"): _ROLE,
    ("SET", "DEFAULT", "ROLE"): _OUTSIDE,
    ("SET", "PERSIST"): _OUTSIDE,
    ("SET", "AUTOCOMMIT"): _ENDING,
    ("GRANT",): f"{_OUTSIDE}: who may read live is not changed by a sync",
    ("REVOKE",): f"{_OUTSIDE}: who may read live is not changed by a sync",
    ("FLUSH",): _OUTSIDE,
    ("KILL",): _OUTSIDE,
    ("SHUTDOWN",): _OUTSIDE,
    ("INSTALL",): _OUTSIDE,
    ("UNINSTALL",): _OUTSIDE,
    ("RESET",): _OUTSIDE,
    ("CHANGE",): _OUTSIDE,
    ("LOAD",): "LOAD DATA reads a file of this machine or of the server: write INSERT",
    ("CREATE", "EVENT"): _EVENTS,
    ("ALTER", "EVENT"): _EVENTS,
    ("DROP", "EVENT"): _EVENTS,
}


@frozen(kw_only=True)
class Place:
    """Where transformations run: what messages call it, and what becomes of it where one fails."""

    copy: str
    aftermath: str


INCOMING = Place(copy="incoming", aftermath="Incoming is dropped, live is untouched")
OUTGOING = Place(copy="outgoing", aftermath="The copy is dropped, live is untouched, and no dump is uploaded")
LIVE = Place(copy="live", aftermath="Live is as it was, and no dump is uploaded")


@frozen(kw_only=True)
class Step:
    """One statement of a transformation, and the line, counted from 1, on which it begins."""

    line: int
    text: str


@frozen(kw_only=True)
class Script:
    """A transformation that was read: what will be run, and what the proof will say of it."""

    name: str
    steps: tuple[Step, ...]
    said: Transformation
    text: str
    is_rule: bool = False
    """Whether it is a postprocess: in some databases there is nothing for its rule to change."""


def read_transformations(
    files: Sequence[Path], outside: Collection[str], place: Place = INCOMING
) -> tuple[Script, ...]:
    """Read the files once; what is run is what was hashed. `outside` are databases that they must not name.

    Raises TransformationFailed, with the line, for what may not be in one, and where one holds no statement.
    """
    found = []
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as problem:
            raise TransformationFailed(
                f"Transformation {file.name} could not be read: {problem.strerror}. It belongs in "
                "include/transformation_sql/ on this worker."
            ) from None
        script = _read(file.name, content, outside, place)
        if not script.steps:
            # A full disk or a broken deployment leaves one, and what it should have changed would be live.
            raise TransformationFailed(
                f"Transformation {file.name} holds no statement, so it would sanitise nothing. Write it, or "
                "take it out of hieradata where nothing is to be sanitised. Nothing was run."
            )
        found.append(script)
    return tuple(found)


def as_scripts(postprocess: Sequence[Postprocess], outside: Collection[str]) -> tuple[Script, ...]:
    """A postprocess as a transformation that was read. Raises TransformationFailed for one that is no SQL."""
    found = []
    for one in postprocess:
        if not isinstance(one, SqlPostprocess):
            raise TransformationFailed(
                f"Postprocess {one.rule} does not run on mysql: nothing of it was run. Correct its binding "
                "in hieradata."
            )
        script = _read(f"postprocess {one.rule}", one.sql("mysql").encode(), outside, INCOMING)
        found.append(evolve(script, said=Transformation(name=one.name, sha256=one.sha256), is_rule=True))
    return tuple(found)


def _read(name: str, content: bytes, outside: Collection[str], place: Place) -> Script:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise TransformationFailed(
            f"Transformation {name}, line {line}: this is not UTF-8. Save the file as UTF-8."
        ) from None
    steps = []
    encoded = text.encode()
    for start, statement in _statements(name, encoded, place):
        line = encoded.count(b"\n", 0, start) + 1
        _check(name, line, statement, outside, place)
        steps.append(Step(line=line, text=statement.decode()))
    said = Transformation(name=name, sha256=hashlib.sha256(content).hexdigest())
    return Script(name=name, steps=tuple(steps), said=said, text=text)


def _statements(name: str, text: bytes, place: Place) -> Iterator[tuple[int, bytes]]:
    """Where each statement begins, and what it is without its delimiter."""
    position, delimiter = 0, b";"
    begun: int | None = None
    while position < len(text):
        if begun is None and (match := _DELIMITER.match(text, position)) is not None:
            delimiter, position = match[1], match.end()
            continue
        if text.startswith(delimiter, position):
            if begun is not None:
                yield begun, text[begun:position].rstrip()
            begun, position = None, position + len(delimiter)
            continue
        token = WITH_BACKSLASH.match(text, position)
        kind = token.lastgroup if token else "broken"
        if token is None or kind == "broken":
            line = text.count(b"\n", 0, position) + 1
            raise refused(name, line, "a quotation or a comment that begins here does not end", place)
        if begun is None and kind not in ("space", "comment"):
            begun = position
        end = token.end()
        # A delimiter such as $$ may stand right behind a word.
        if kind == "word" and delimiter in token.group():
            end = position + token.group().index(delimiter)
        position = end
    if begun is not None:
        yield begun, text[begun:].rstrip()


def _check(name: str, line: int, statement: bytes, outside: Collection[str], place: Place) -> None:
    parts = [part for part in meaning(statement) if part.kind not in ("opener", "closer")]
    words = tuple(part.text.decode(errors="replace").upper() for part in parts[:8] if part.kind == "word")
    if words[:2] and words[0] == "CREATE" and "EVENT" in words[:6] and "TABLE" not in words[:2]:
        words = ("CREATE", "EVENT")
    if words[:2] and words[0] == "SET":
        words = tuple(word.removeprefix("@@SESSION.").removeprefix("@@") for word in words)
        words = ("SET", *(word for word in words[1:] if word not in ("SESSION", "LOCAL")))
        if words[1:2] and words[1].startswith(("GLOBAL", "PERSIST")):
            words = ("SET", "GLOBAL")
    for forbidden, why in _NEVER.items():
        savepoint = words[:1] == ("ROLLBACK",) and "TO" in words[1:3]
        if words[: len(forbidden)] == forbidden and not savepoint:
            why = why.format(copy=place.copy)
            raise refused(name, line, f"{' '.join(forbidden)} cannot be run here: {why}", place)
    for at, part in enumerate(parts):
        if part.kind == "word" and part.text.upper() in (b"OUTFILE", b"DUMPFILE") and at > 0:
            raise refused(name, line, "INTO OUTFILE writes to the server's own files", place)
        if _names(part, outside) and at + 1 < len(parts) and parts[at + 1].text == b".":
            raise refused(
                name,
                line,
                f"it names database {part.text.decode(errors='replace')}: a transformation works on "
                f"{place.copy}, whose tables have no database before them",
                place,
            )


def _names(part: Token, databases: Collection[str]) -> bool:
    # What stands in double quotes is a name where the server's sql_mode has ANSI_QUOTES.
    if part.kind not in ("word", "name", "double"):
        return False
    return (
        unquoted(part.text.decode(errors="replace")).casefold()
        in {each.casefold() for each in databases} - READ_ONLY
    )


def refused(name: str, line: int, why: str, place: Place) -> TransformationFailed:
    """The error for a statement that may not be run there."""
    return TransformationFailed(
        f"Transformation {name}, line {line}: {why}. Correct the file; nothing of it was run. "
        f"{place.aftermath}."
    )
