"""What the statements of transformations changed: how many rows, and where that should make somebody look."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from attrs import frozen

MOST = 200
"""Statements that are told one by one; of the others there is a count."""
CHANGING = ("update", "delete", "merge")
"""How what changes rows begins that are there: where it finds none, something may not have been sanitised."""
BEFORE_NAMES = frozenset(
    {"ONLY", "FROM", "INTO", "LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK", "IGNORE"}
)
"""Words between a verb of SQL and the name of its table."""
_WORD = re.compile(r"\w+")
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
            more = f"{len(rest)} more statements"
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

    `before` are those of live; without any there is nothing to compare with.
    """
    if not before:
        return
    named = {word.casefold() for text in texts for word in _WORD.findall(text)}
    tables = {table for table, _ in before}
    new_tables = sorted({table for table, _ in now} - tables)
    new_columns = sorted(each for each in {*now} - {*before} if each[0] in tables)
    for table in new_tables:
        if not _is_named(table, named):
            yield f"table {table} is new, and no transformation names it: see whether it holds personal data"
    for table, column in new_columns:
        if not (_is_named(table, named) and _is_named(column, named)):
            yield (
                f"column {table}.{column} is new, and no transformation names it: see whether it holds "
                "personal data"
            )


def _is_named(name: str, named: Collection[str]) -> bool:
    """Whether all words of a name, its last part if there is a schema, stand in the transformations."""
    words = _WORD.findall(name.rpartition(".")[2]) or [name]
    return all(word.casefold() in named for word in words)
