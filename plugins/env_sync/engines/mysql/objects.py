"""Views, triggers, routines and events: what stands beside the tables of a database and cannot be renamed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

import pymysql
from attrs import evolve, field, frozen
from attrs.validators import matches_re

from env_sync.core.shown_names import shown_name
from env_sync.engines.mysql.client import described, server_is_gone
from env_sync.engines.mysql.identifiers import qualified, quoted, unquoted
from env_sync.engines.mysql.lexer import Token, meaning
from env_sync.engines.mysql.session import Session


class Kind(StrEnum):
    """What an object is, as SQL has it, in the order in which they are made."""

    FUNCTION = "FUNCTION"
    PROCEDURE = "PROCEDURE"
    VIEW = "VIEW"
    TRIGGER = "TRIGGER"
    EVENT = "EVENT"


ORDER = tuple(Kind)
CODECS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "latin1": "cp1252", "ascii": "ascii"}
"""Python's names of the character sets that a client may have; of others the text is sent as UTF-8."""
SETTING = re.compile(r"[\w, +:/-]*", re.ASCII)
"""What a dump, or a copy, may say that a session is to be set to: nothing that ends a value."""
WORD = re.compile(r"\w*", re.ASCII)
"""The same of what stands without quotes."""
_NAME = r"(?:`(?:[^`]|``)*`|'(?:[^'\\]|''|\\.)*'|\"(?:[^\"]|\"\")*\"|[\w$.%-]+)"
_DEFINER = re.compile(rf"\bDEFINER\s*=\s*(?P<user>{_NAME}(?:\(\s*\))?)(?:\s*@\s*(?P<host>{_NAME}))?\s*", re.I)
_HEAD = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:ALGORITHM\s*=\s*\w+\s+)?"
    rf"(?:DEFINER\s*=\s*{_NAME}(?:\(\s*\))?(?:\s*@\s*{_NAME})?\s*)?(?:SQL\s+SECURITY\s+\w+\s+)?"
    r"(?:AGGREGATE\s+)?(?P<kind>VIEW|TRIGGER|PROCEDURE|FUNCTION|EVENT)\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r"(?P<name>`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\"|[\w$]+)",
    re.I,
)


@frozen(kw_only=True)
class Object:
    """One object. `statement` makes it in the session's database: without its definer, its name unqualified.

    `definer` is `user@host`, or "" for whoever makes it; the rest is what the session must be set to. Raises
    ValueError where one of those is no setting: they stand in statements.
    """

    kind: Kind
    name: str
    definer: str
    statement: str
    sql_mode: str = field(validator=matches_re(SETTING))
    character_set: str = field(validator=matches_re(WORD))
    collation: str = field(validator=matches_re(WORD))
    time_zone: str = field(default="", validator=matches_re(SETTING))
    """Of an event; "" for any other."""

    @property
    def key(self) -> tuple[str, str]:
        """Its kind and name."""
        return (self.kind, self.name)

    def __str__(self) -> str:
        return f"{self.kind.lower()} {shown_name(self.name)}"


def taken_apart(
    statement: str, *, sql_mode: str, character_set: str, collation: str, time_zone: str = ""
) -> Object | None:
    """The object that a CREATE makes; None where it is none, or its name is qualified."""
    head = _HEAD.match(statement)
    if head is None or statement[head.end() :].lstrip().startswith("."):
        return None
    kind, name = Kind(head["kind"].upper()), unquoted(head["name"])
    definer = ""
    if (match := _DEFINER.search(statement, 0, head.end())) is not None:
        statement = statement[: match.start()] + statement[match.end() :]
        if match["host"] is not None:
            definer = f"{_plain(match['user'])}@{_plain(match['host'])}"
    statement = re.sub(r"^CREATE\s+OR\s+REPLACE\s", "CREATE ", statement, flags=re.I)
    return Object(
        kind=kind,
        name=name,
        definer=definer,
        statement=statement,
        sql_mode=sql_mode,
        character_set=character_set,
        collation=collation,
        time_zone=time_zone if kind is Kind.EVENT else "",
    )


def names_another(one: Object, databases: Collection[str]) -> bool:
    """Whether its text names one of these databases before a dot, so that it would reach out of its own."""
    lower = {name.casefold() for name in databases}
    return any(
        dot.text == b"." and (name := _named(before)) is not None and name in lower
        for parts in _readings(one)
        for before, dot in itertools.pairwise(parts)
    )


def holds_words(one: Object, *words: str) -> bool:
    """Whether these words, or names, follow each other in its text; in small letters."""
    return any(
        tuple(map(_named, parts[at : at + len(words)])) == words
        for parts in _readings(one)
        for at in range(len(parts))
    )


def calls(one: Object, routines: Collection[str]) -> bool:
    """Whether it calls one of these functions or procedures, by its name in small letters."""
    return any(
        _named(second) in routines and (_named(first) == "call" or third.text == b"(")
        for parts in _readings(one)
        for first, second, third in zip([_END, *parts[:-1]], parts, [*parts[1:], _END], strict=True)
    )


_END = Token("other", b"", 0, 0)


def _readings(one: Object) -> Iterator[list[Token]]:
    """What its text means as its own sql_mode has it, and as the other has it: a dump may say either."""
    for backslash in (True, False):
        yield meaning(one.statement.encode(), backslash=backslash)


def _named(part: Token) -> str | None:
    """A word or name, in small letters."""
    if part.kind not in ("word", "name", "double"):
        return None
    return unquoted(part.text.decode(errors="replace")).casefold()


def read_objects_of(session: Session, database: str) -> tuple[Object, ...]:
    """All objects of the database, which must be the session's own: else views would name it."""
    found = []
    for kind, name in _listed(session, database):
        row = session.execute(f"SHOW CREATE {kind} {quoted(name)}")[0]
        said = _said(kind, row)
        if said is None:
            raise pymysql.err.OperationalError(
                1370,
                f"SHOW CREATE {kind} denied for {quoted(name)}: grant SELECT on mysql.proc, or SHOW_ROUTINE",
            )
        statement, sql_mode, character_set, collation = said
        one = taken_apart(
            statement,
            sql_mode=sql_mode,
            character_set=character_set,
            collation=collation,
            time_zone=str(row[2]) if kind is Kind.EVENT else "",
        )
        if one is not None:
            found.append(evolve(one, name=name))
    return tuple(found)


def drop_object(session: Session, database: str, one: Object) -> None:
    """Drop it, where it is there."""
    session.execute(f"DROP {one.kind} IF EXISTS {qualified(database, one.name)}")


def drop_objects(session: Session, database: str) -> None:
    """Drop all of a database, but for the triggers, which go with their tables."""
    for kind, name in list(_listed(session, database)):
        if kind is not Kind.TRIGGER:
            session.execute(f"DROP {kind} IF EXISTS {qualified(database, name)}")


def make_object(session: Session, one: Object, *, definer: str = "") -> None:
    """Make it in the session's database, as whoever the session is, or as `definer` (`user@host`)."""
    try:
        character_set, text = encoded(one, with_definer(one, definer))
        collate = f" COLLATE {one.collation}" if one.collation and character_set == one.character_set else ""
        session.execute(f"SET NAMES {character_set}{collate}")
        session.execute(
            "SET SESSION sql_mode = %s, time_zone = %s", [one.sql_mode, one.time_zone or "+00:00"]
        )
        session.send(text)
    finally:
        if session.usable:
            with session.uninterrupted():
                session.reset()


def with_definer(one: Object, definer: str) -> str:
    """Its statement with this definer; as it is where that is ""."""
    if not definer:
        return one.statement
    user, _, host = definer.rpartition("@")
    clause = f"DEFINER={quoted(user)}@{quoted(host)} "
    match = re.match(r"CREATE\s+(?:ALGORITHM\s*=\s*\w+\s+)?", one.statement, re.I)
    at = match.end() if match else 0
    return one.statement[:at] + clause + one.statement[at:]


def make_all(
    session: Session, wanted: Iterable[Object], definers: Mapping[tuple[str, str], str]
) -> Mapping[Object, str]:
    """Make objects in an order in which they can be made; gives why some could not be.

    Each is made as its definer, or as whoever the session is where there is none in `definers`. Raises
    MySQLError where the server went away. Views that stand on others are tried again until no more of them
    can be made.
    """
    todo = sorted(wanted, key=lambda one: ORDER.index(one.kind))
    while True:
        failed: dict[Object, str] = {}
        for one in todo:
            try:
                make_object(session, one, definer=definers.get(one.key, ""))
            except pymysql.err.MySQLError as error:
                if server_is_gone(error):
                    raise
                failed[one] = described(error, {one.name})
        if not failed or len(failed) == len(todo):
            return failed
        todo = list(failed)


def _listed(session: Session, database: str) -> Iterator[tuple[Kind, str]]:
    queries: Sequence[tuple[Kind, str]] = (
        (
            Kind.FUNCTION,
            (
                "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s "
                "AND ROUTINE_TYPE = 'FUNCTION' ORDER BY 1"
            ),
        ),
        (
            Kind.PROCEDURE,
            (
                "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s "
                "AND ROUTINE_TYPE = 'PROCEDURE' ORDER BY 1"
            ),
        ),
        (
            Kind.VIEW,
            (
                "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
                "AND TABLE_TYPE = 'VIEW' ORDER BY 1"
            ),
        ),
        (
            Kind.TRIGGER,
            (
                "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s "
                "ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER"
            ),
        ),
        (Kind.EVENT, "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s ORDER BY 1"),
    )
    for kind, query in queries:
        for (name,) in session.execute(query, [database]):
            yield kind, name


def _said(kind: Kind, row: Sequence[str | None]) -> tuple[str, str, str, str] | None:
    """Statement, sql_mode, character set and collation in a row of SHOW CREATE; None without the rights."""
    if kind is Kind.VIEW:
        _, statement, character_set, collation = row[:4]
        sql_mode: str | None = ""
    elif kind is Kind.EVENT:
        _, sql_mode, _, statement, character_set, collation = row[:6]
    else:
        _, sql_mode, statement, character_set, collation = row[:5]
    if statement is None:
        return None
    return statement, sql_mode or "", character_set or "utf8mb4", collation or ""


def encoded(one: Object, statement: str) -> tuple[str, bytes]:
    """The statement in the character set that it was written with, where it has room there, else in UTF-8."""
    try:
        return one.character_set, statement.encode(CODECS[one.character_set])
    except (KeyError, UnicodeEncodeError):
        return "utf8mb4", statement.encode()


def _plain(text: str) -> str:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    return unquoted(text)
