"""Triggers that came with the data, and that decide what a transformation leaves in a row.

A trigger before an UPDATE can put the old value back (`SET NEW.email = OLD.email`). The server counts the row
all the same.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import frozen

from env_sync.core.shown_names import shown_name
from env_sync.domain.changed_rows import Changed
from env_sync.engines.mysql.lexer import meaning
from env_sync.engines.mysql.session import Session

# The limit overrules the session's own, which a transformation may have set.
_TRIGGERS = """
SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_STATEMENT, SQL_MODE,
ACTION_TIMING = 'BEFORE' AND EVENT_MANIPULATION = 'UPDATE'
FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s ORDER BY 2, 1 LIMIT 1000000
"""
_CODE = """
SELECT TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s
UNION ALL
SELECT ROUTINE_NAME, ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s
"""
_WORD = re.compile(r"[\w$]+")


@frozen
class Standing:
    """A trigger; `before_update` is what decides over the new row of an UPDATE."""

    name: str
    table: str
    text: str
    sql_mode: str
    before_update: bool

    @property
    def columns(self) -> frozenset[str]:
        """Those of the new row that its text names, in small letters."""
        words = _words(self.text, backslash="NO_BACKSLASH_ESCAPES" not in self.sql_mode)
        return frozenset(after for word, after in itertools.pairwise(words) if word == "new")

    def is_met_by(self, named: frozenset[str]) -> bool:
        """Whether a statement that names these may change rows of the table that it keeps as they were."""
        table = _WORD.findall(self.table.casefold())
        return (
            self.before_update
            and "update" in named
            and named >= {*table}
            and not self.columns.isdisjoint(named)
        )

    def __str__(self) -> str:
        return f"trigger {shown_name(self.name)} of {shown_name(self.table)}"


class StandingBefore:
    """Those that are there before the first transformation; tells each once that a statement may meet."""

    def __init__(
        self, database: str, brought: Iterable[Standing], code: Mapping[str, frozenset[str]]
    ) -> None:
        """`code`: by the name of each view and routine the words of its text, in small letters."""
        self._database = database
        self._brought = tuple(brought)
        self._code = code
        self._told: set[Standing] = set()

    @property
    def is_code(self) -> bool:
        """Whether code that came with the data runs with a statement: triggers of whatever kind."""
        return bool(self._brought)

    def warnings(self, session: Session, where: str, text: str, changed: Changed | None) -> Iterator[str]:
        """What to say of a statement that was just run, by its file and line. Raises MySQLError."""
        named = self._named(text) if self._brought else frozenset()
        met = [one for one in self._brought if one not in self._told and one.is_met_by(named)]
        # A transformation may have dropped it.
        there = set(read_triggers(session, self._database)) if met else set()
        for one in met:
            if one in there:
                self._told.add(one)
                yield (
                    f"{where} {changed.what if changed else 'a statement'} went through {one}, which came "
                    "with the data and may have kept what was to be changed: see what it does, or drop it "
                    "before that statement and make it again after it"
                )

    def _named(self, text: str) -> frozenset[str]:
        """The words of a statement, and those of the views and routines that it names."""
        named = frozenset(_words(text))
        while more := frozenset().union(*(self._code[one] for one in named & self._code.keys())) - named:
            named |= more
        return named


def read_standing(session: Session, database: str) -> StandingBefore:
    """Those of a database. Raises MySQLError."""
    brought = read_triggers(session, database)
    code = session.execute(_CODE, [database, database]) if brought else ()
    words = {str(name).casefold(): frozenset(_words(str(text or ""))) for name, text in code}
    return StandingBefore(database, brought, words)


def read_triggers(session: Session, database: str) -> Sequence[Standing]:
    """All in a database. Raises MySQLError."""
    return [
        Standing(str(name), str(table), str(text), str(mode), bool(before_update))
        for name, table, text, mode, before_update in session.execute(_TRIGGERS, [database])
    ]


def _words(text: str, *, backslash: bool = True) -> list[str]:
    """Without those of comments. What stands in quotes may be a name, or be run as a statement."""
    parts = b" ".join(one.text for one in meaning(text.encode(), backslash=backslash))
    return _WORD.findall(parts.decode(errors="replace").casefold())
