"""What the statements of transformations changed: how many rows, and where that should make somebody look."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Self

from attrs import frozen

from env_sync.core.plural import plural
from env_sync.core.shown_names import shown_name

MOST = 200
"""Statements that are told one by one; of the others there is a count."""
CHANGING = ("update", "delete", "merge", "aggregate")
"""How what changes rows begins that are there: where it finds none, something may not have been sanitised."""
BEFORE_NAMES = frozenset(
    {"ONLY", "FROM", "INTO", "LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK", "IGNORE"}
)
"""Words between a verb of SQL and the name of its table."""
DEFAULT_SCHEMA = "public"
"""That of a table whose schema is not told."""
_PATH = frozenset({"search_path", "schema"})
"""Words of statements that set in which schemas names are looked up."""
_WORD = re.compile(r"\w+")
_DOT = re.compile(r"\s*\.\s*")
_TEMPORARY = re.compile(
    r"\bCREATE\s+(?:(?:GLOBAL|LOCAL|OR\s+REPLACE)\s+)?TEMP(?:ORARY)?\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r"[\"`]?(\w+)",
    re.IGNORECASE,
)


@frozen(kw_only=True)
class Changed:
    """One statement of a transformation, what it is in words such as `UPDATE users`, and its rows."""

    file: str
    line: int
    what: str
    rows: int
    may_find_none: bool = False
    """Whether it is as usual that there is nothing for it to change."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.what}: {self.rows:,} row{'' if self.rows == 1 else 's'}"

    @property
    def warning(self) -> str | None:
        """What to say where it was to change rows that are there, and found none."""
        if self.rows or self.may_find_none or not self.what.casefold().startswith(CHANGING):
            return None
        return (
            f"{self.file}:{self.line} {self.what} changed no row: its table is empty, its condition fits "
            "nothing, or a rule or trigger turned it into nothing. See whether what it was to change is "
            "still there"
        )


@frozen(kw_only=True)
class Changes:
    """All that was told in one step: statements in their order, and warnings."""

    statements: tuple[Changed, ...] = ()
    warnings: tuple[str, ...] = ()


class ChangedRows:
    """Is told by an engine while transformations run; each `take` begins anew."""

    def __init__(self) -> None:
        self._statements: list[Changed] = []
        self._warnings: list[str] = []

    def add(self, changed: Changed) -> None:
        """A statement that ended. What it is called names its table and holds no value."""
        self._statements.append(changed)

    def warn(self, warnings: Iterable[str]) -> None:
        """What else should make somebody look."""
        self._warnings += warnings

    def take(self) -> Changes:
        """What was told since the last time."""
        told, warnings = self._statements, self._warnings
        self._statements, self._warnings = [], []
        hit_nothing = [warning for each in told if (warning := each.warning)]
        if len(told) > MOST:
            rest = told[MOST:]
            more = plural(len(rest), "more statement")
            told = [*told[:MOST], Changed(file="", line=0, what=more, rows=sum(one.rows for one in rest))]
        return Changes(statements=tuple(told), warnings=(*hit_nothing, *warnings))


def statement_name(parts: Sequence[str], verb: str) -> str:
    """What a statement of SQL is called: its verb and its table.

    `parts` are its words, names without their quotes and dots, in order.
    """
    capitals = [part.upper() for part in parts]
    if verb not in capitals:
        return verb
    name: list[str] = []
    for part in parts[capitals.index(verb) + 1 :]:
        if not name and part.upper() in BEFORE_NAMES:
            continue
        if name and "." not in (part, name[-1]):
            break
        name.append(part)
    return f"{verb} {''.join(name)}".rstrip()


def temporary_tables(text: str) -> frozenset[str]:
    """The temporary tables that a text in SQL makes: what is in them is no data of the database.

    It must be without comments and literals, which may hold anything.
    """
    return frozenset(_TEMPORARY.findall(text))


Columns = Collection[tuple[str, str]]
"""Tables, each with one of its columns."""


def not_named(before: Columns, now: Columns, texts: Sequence[str]) -> Iterator[str]:
    """Warnings of tables and columns that live has not, and that no transformation names.

    `before` are those of live; without any there is nothing to compare with. A table whose schema is not
    told is in that where transformations look first.
    """
    if not before:
        return
    names = _Names.of(texts, {table for table, _ in now})
    tables = {table for table, _ in before}
    new_columns = sorted(each for each in {*now} - {*before} if each[0] in tables)
    for table in new_names(tables, {table for table, _ in now}):
        if not names.name_table(table):
            yield new_warning("table", shown_name(table))
    for table, column in new_columns:
        if not (names.name_table(table) and names.have(column)):
            yield new_warning("column", f"{shown_name(table)}.{shown_name(column)}")


def new_names(before: Collection[str], now: Collection[str]) -> list[str]:
    """What live has not, in order; without anything in live there is nothing to compare with."""
    return sorted({*now} - {*before}) if before else []


def new_warning(kind: str, name: str) -> str:
    """The warning of one such, of this kind, that no transformation names."""
    return f"{kind} {name} is new, and no transformation names it: see whether it holds personal data"


@frozen(kw_only=True)
class _Names:
    """What transformations name."""

    text: str
    words: frozenset[str]
    ambiguous: frozenset[str]
    """Last parts of names that tables of several schemas have."""

    @classmethod
    def of(cls, texts: Sequence[str], tables: Iterable[str]) -> Self:
        text = _DOT.sub(".", "\n".join(texts).casefold())
        lasts = Counter(_last(table).casefold() for table in tables)
        return cls(
            text=text,
            words=frozenset(_WORD.findall(text)),
            ambiguous=frozenset(last for last, count in lasts.items() if count > 1),
        )

    def have(self, name: str) -> bool:
        """Whether all words of a name, its last part if there is a schema, stand there."""
        words = _WORD.findall(_last(name)) or [name]
        return all(word.casefold() in self.words for word in words)

    def name_table(self, table: str) -> bool:
        """Whether a table is named: by its last part, if no other schema has one that is called so.

        Else with its schema, or where its schema is one in which names are looked up.
        """
        if not self.have(table):
            return False
        last = _last(table).casefold()
        if last not in self.ambiguous:
            return True
        schema = table.rpartition(".")[0].casefold() or DEFAULT_SCHEMA
        dotted = rf"(?<!\w){re.escape(schema)}[\"`]?\.[\"`]?{re.escape(last)}(?!\w)"
        if re.search(dotted, self.text):
            return True
        looked_up = self.words if _PATH & self.words else {DEFAULT_SCHEMA}
        bare = rf"(?<![\w.\"`])[\"`]?{re.escape(last)}(?!\w)"
        return schema in looked_up and re.search(bare, self.text) is not None


def _last(name: str) -> str:
    """The last part of a name that may have a schema."""
    return name.rpartition(".")[2]
