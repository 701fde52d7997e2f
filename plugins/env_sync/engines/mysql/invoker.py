"""Views and routines as their invoker: text that makes them run with the rights of whoever uses them.

MySQL wants a definer even so. It is the sync's account then, and gives no rights: with SQL SECURITY INVOKER
the server asks what the user may do, and never what the definer may.
"""

from __future__ import annotations

import re

from attrs import evolve, frozen

from env_sync.engines.mysql.lexer import Token, meaning
from env_sync.engines.mysql.objects import Kind, Object

ROUTINES = (Kind.FUNCTION, Kind.PROCEDURE)
_VIEW = re.compile(r"\A(CREATE\s+(?:ALGORITHM\s*=\s*\w+\s+)?)(?:SQL\s+SECURITY\s+(\w+)\s+)?(VIEW\s)", re.I)
_OF_TYPES = frozenset({"UNSIGNED", "SIGNED", "ZEROFILL", "BINARY", "ASCII", "UNICODE", "BYTE", "PRECISION"})
_WITH_NAME = frozenset({"CHARSET", "SET", "COLLATE"})
_CHARACTERISTICS = (
    ("NOT", "DETERMINISTIC"),
    ("DETERMINISTIC",),
    ("CONTAINS", "SQL"),
    ("NO", "SQL"),
    ("READS", "SQL", "DATA"),
    ("MODIFIES", "SQL", "DATA"),
    ("LANGUAGE", "SQL"),
)
_UNKNOWN = frozenset({"SQL", "LANGUAGE", "AUTHID", "USING", "AS", "IS"})
"""What may begin more that is said of a routine, as newer servers and other modes have it."""
_SECURITY = (("SQL", "SECURITY", "DEFINER"), ("SQL", "SECURITY", "INVOKER"))


@frozen
class _Routine:
    """Where the body of a routine begins, where SQL SECURITY is said before it, and what it says last."""

    begins: int
    said: tuple[tuple[int, int], ...]
    invoker: bool


def as_invoker(one: Object) -> Object | None:
    """The object with SQL SECURITY INVOKER; None for a kind that has none, and for text not understood."""
    if one.kind is Kind.VIEW:
        text, count = _VIEW.subn(r"\1SQL SECURITY INVOKER \3", one.statement, count=1)
        return evolve(one, statement=text) if count else None
    routine = _routine(one)
    if routine is None:
        return None
    text_of = one.statement.encode()
    head = bytearray(text_of[: routine.begins])
    for start, end in reversed(routine.said):
        del head[start:end]
    made = bytes(head).rstrip() + b"\n    SQL SECURITY INVOKER\n" + text_of[routine.begins :]
    return evolve(one, statement=made.decode())


def runs_as_invoker(one: Object) -> bool:
    """Whether its text says so."""
    if one.kind is Kind.VIEW:
        match = _VIEW.match(one.statement)
        return match is not None and (match[2] or "").upper() == "INVOKER"
    routine = _routine(one)
    return routine is not None and routine.invoker


def _routine(one: Object) -> _Routine | None:
    if one.kind not in ROUTINES or "ORACLE" in one.sql_mode:
        return None
    backslash = "NO_BACKSLASH_ESCAPES" not in one.sql_mode
    parts = meaning(one.statement.encode(), backslash=backslash)
    words = [part.text.decode(errors="replace").upper() if part.kind == "word" else "" for part in parts]
    at = _after_parameters(parts)
    if at is not None and one.kind is Kind.FUNCTION:
        at = _after_type(parts, words, at)
    if at is None:
        return None
    said: list[tuple[int, int]] = []
    invoker = False
    while True:
        if (length := _matching(words, at, _SECURITY)) > 0:
            said.append((parts[at - 1].end, parts[at + length - 1].end))
            invoker = words[at + length - 1] == "INVOKER"
        elif words[at : at + 1] == ["COMMENT"]:
            length = 2
        elif (length := _matching(words, at, _CHARACTERISTICS)) == 0:
            break
        at += length
    if at >= len(parts) or words[at] in _UNKNOWN:
        return None
    return _Routine(parts[at].start, tuple(said), invoker)


def _after_parameters(parts: list[Token]) -> int | None:
    """Where the parameters of a routine have ended."""
    depth = 0
    for number, part in enumerate(parts):
        if part.text == b"(":
            depth += 1
        elif part.text == b")":
            depth -= 1
            if depth == 0:
                return number + 1
    return None


def _after_type(parts: list[Token], words: list[str], at: int) -> int | None:
    """Where what a function RETURNS has ended."""
    if words[at : at + 1] != ["RETURNS"]:
        return None
    # DOUBLE PRECISION, CHARACTER VARYING and the like are more than one word.
    at += 2
    while at < len(parts):
        if parts[at].text == b"(":
            while at < len(parts) and parts[at].text != b")":
                at += 1
            at += 1
        elif words[at] in _OF_TYPES or words[at] in ("CHARACTER", "VARYING"):
            at += 1
        elif words[at] in _WITH_NAME:
            at += 2
        else:
            return at
    return None


def _matching(words: list[str], at: int, phrases: tuple[tuple[str, ...], ...]) -> int:
    """How many words of the phrase that stands there; 0 where none does."""
    return next((len(phrase) for phrase in phrases if tuple(words[at : at + len(phrase)]) == phrase), 0)
