"""Rows that a statement wrote and was not asked to, by triggers that came with the data.

A trigger after the row, after the statement, or at the end of the transaction can write the old value again,
into the same table or another that was changed before. The server tells how many rows a statement changed,
and counts what was written of each table: more than that was written by something else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from attrs import frozen

from env_sync.core.shown_names import shown_name
from env_sync.domain.changed_rows import Changed
from env_sync.engines.postgresql.session import Session
from env_sync.engines.postgresql.transformation import code_of, tokens

# Those of partitions that were made for the whole table are internal before 15. Functions in C are the
# server's or an extension's.
# Both are asked where the transformation has names looked up, and so operators: each is the server's own.
TRIGGERS = """
SELECT t.oid::bigint, t.tgrelid::bigint, t.tgname, n.nspname, c.relname, t.tgdeferrable, l.lanname, p.prosrc,
    t.tgenabled OPERATOR(pg_catalog.=) 'A' OR (t.tgenabled OPERATOR(pg_catalog.=) 'R' AND m.replica)
        OR (t.tgenabled OPERATOR(pg_catalog.=) 'O' AND NOT m.replica)
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
CROSS JOIN (
    SELECT pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.=) 'replica'
) m (replica)
WHERE (NOT t.tgisinternal OR t.tgconstraint OPERATOR(pg_catalog.=) 0::pg_catalog.oid)
AND l.lanname OPERATOR(pg_catalog.<>) ALL (ARRAY['c', 'internal']::pg_catalog.name[])
ORDER BY n.nspname, c.relname, t.tgname, t.oid
"""
TABLES = """
SELECT c.oid::bigint, (SELECT pg_catalog.min(h.inhparent::bigint) FROM pg_catalog.pg_inherits h
        WHERE h.inhrelid OPERATOR(pg_catalog.=) c.oid),
    n.nspname, c.relname, pg_catalog.pg_table_is_visible(c.oid),
    pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid), pg_catalog.pg_stat_get_xact_tuples_updated(c.oid),
    pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p']::pg_catalog."char"[])
AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
AND n.nspname OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema']::pg_catalog.name[])
"""
PUT_OFF = "SET CONSTRAINTS"
"""How what runs what triggers put off begins."""
VERBS = ("INSERT", "UPDATE", "DELETE", "MERGE")
_WORD = re.compile(r"\w+")
_RUNS = re.compile(
    r"\b(?:insert|update|delete|merge|truncate|select|with|perform|execute|call)\b|\. \w+ \(|"
    r"\b(?!(?:now|clock_timestamp|statement_timestamp|if|elsif|and|or|not|when|coalesce)\b)\w+ \(",
    re.IGNORECASE,
)
"""What there is in a body in PL/pgSQL that may change more than the row at hand: SQL, or another function."""


@frozen
class Trigger:
    """One that came with the data, of its table."""

    oid: int
    relation: int
    name: str
    schema: str
    table: str
    deferrable: bool
    language: str
    source: str
    active: bool

    @property
    def may_write(self) -> bool:
        """Whether it may change other rows than that for which it runs."""
        return self.language != "plpgsql" or _RUNS.search(code_of(self.source)) is not None

    def __str__(self) -> str:
        return f"trigger {shown_name(self.name)} of {shown_name(f'{self.schema}.{self.table}')}"


@frozen
class Table:
    """How many rows of it this transaction has changed so far."""

    oid: int
    parent: int | None
    schema: str
    name: str
    visible: bool
    inserted: int
    updated: int
    deleted: int

    def since(self, before: Table | None) -> tuple[int, int]:
        """The rows written since then, and those that were there and were changed."""
        was = (before.inserted, before.updated, before.deleted) if before else (0, 0, 0)
        if self.inserted < was[0] or self.updated < was[1] or self.deleted < was[2]:
            # TRUNCATE lets the server count anew.
            was = (0, 0, 0)
        updated = self.updated - was[1]
        return self.inserted - was[0] + updated, updated + self.deleted - was[2]

    def is_named(self, name: str) -> bool:
        """Whether a statement means it by this name."""
        schema, _, table = name.casefold().rpartition(".")
        where = schema == self.schema.casefold() or (not schema and self.visible)
        return where and table == self.name.casefold()

    def __str__(self) -> str:
        return shown_name(f"{self.schema}.{self.name}")


class WrittenBesides:
    """Looks after each statement, and tells of each trigger once, where some came with the data."""

    def __init__(self, session: Session, brought: Iterable[Trigger]) -> None:
        self._brought = frozenset(one.oid for one in brought if one.may_write)
        self._before = _tables(session) if self._brought else {}
        self._changed = set[int]()
        """Tables that the transformations were to change."""
        self._told = set[tuple[str, int]]()

    def warnings(self, session: Session, where: str, text: str, changed: Changed | None) -> Iterator[str]:
        """What to say of a statement that was just run, by its file and line. Raises psycopg.Error."""
        if not self._brought:
            return
        before, self._before = self._before, _tables(session)
        written, touched = Counter[int](), Counter[int]()
        for oid, table in self._before.items():
            root = self._root(oid)
            rows = table.since(before.get(oid))
            written[root] += rows[0]
            touched[root] += rows[1]
        code, named = _words(text)
        target = None
        if told := _told(code, changed):
            name = told.what.partition(" ")[2]
            target = next((self._root(oid) for oid, one in self._before.items() if one.is_named(name)), None)
        puts_off = code[:2] == PUT_OFF.split()
        if told or puts_off:
            asked = told.rows if told and code[0] != "DELETE" else 0
            changes = code[0] != "INSERT" or "CONFLICT" in code
            for root, count in written.items():
                more = count - (asked if target in (root, None) else 0)
                if more > 0 and (root in self._changed or (changes and root == target)):
                    grown = frozenset(written + touched)
                    by = [one for one in self._active(session) if self._may_be(one, grown, named, puts_off)]
                    yield from self._warning(f"{where} {told.what if told else PUT_OFF}", root, more, by)
        if target is not None:
            self._changed.add(target)
        elif not puts_off:
            self._changed.update(
                self._root(oid)
                for oid, one in self._before.items()
                if touched[self._root(oid)] > 0 or named >= {*_WORD.findall(one.name.casefold())}
            )

    def _active(self, session: Session) -> list[Trigger]:
        return [one for one in read_triggers(session) if one.oid in self._brought and one.active]

    def _may_be(self, one: Trigger, grown: Set[int], named: Set[str], puts_off: bool) -> bool:
        """Whether a trigger may have been fired: its table was changed, or is named, as for no row."""
        if puts_off:
            return one.deferrable
        return self._root(one.relation) in grown or named >= {*_WORD.findall(one.table.casefold())}

    def _warning(self, what: str, root: int, count: int, by: Sequence[Trigger]) -> Iterator[str]:
        table, triggers = self._before[root], " or ".join(map(str, by))
        if by and (triggers, root) not in self._told:
            self._told.add((triggers, root))
            yield (
                f"{what} wrote {count:,} row{'' if count == 1 else 's'} of {table} besides what it says, by "
                f"{triggers}, which came with the data, or by a foreign key: what was changed there may have "
                "been put back. See what it does, or disable it while the statement runs "
                "(ALTER TABLE ... DISABLE TRIGGER, and ENABLE TRIGGER again)"
            )

    def _root(self, oid: int) -> int:
        """The table of which another is a partition or a child, over any number of steps."""
        table = self._before.get(oid)
        while table is not None and table.parent is not None:
            oid = table.parent
            table = self._before.get(oid)
        return oid


def read_triggers(session: Session) -> Iterator[Trigger]:
    """All in the session's database. Raises psycopg.Error."""
    return (Trigger(*row) for row in session.execute(TRIGGERS))


def _tables(session: Session) -> Mapping[int, Table]:
    return {row[0]: Table(*row) for row in session.execute(TABLES)}


def _told(code: Sequence[str], changed: Changed | None) -> Changed | None:
    """What the server told of a statement, where that is all that it says; code are its words in capitals."""
    if changed is None or code[0] != changed.what.split()[0]:
        return None
    # A WITH may hold more of them.
    return None if "WITH" in code and {*VERBS} & {*code[1:]} else changed


def _words(text: str) -> tuple[list[str], frozenset[str]]:
    """The words of a statement outside of literals, in capitals, one at least; all, in small letters."""
    code = _WORD.findall(code_of(text).upper())
    return code or [""], frozenset(_WORD.findall(" ".join(one.text for one in tokens(text)).casefold()))
