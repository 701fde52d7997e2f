"""Which indexes wait until the transformation has run, since to keep them up row by row takes longer.

Those of other tables wait as well, where nothing looks rows up: the transformation is one session's work, and
other sessions can build them meanwhile.

Only plain ones: unique indexes and those of constraints do what a transformation may lean on (conflicts,
cascades), and come before it. A plain index makes nothing right or wrong, but what looks rows up one by one
without it may take for ever. So those on columns of foreign keys, which cascades look up, and those that the
transformation names never wait; the others wait where nothing looks rows up, or where the sync asks for it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

from env_sync.domain.settings import IndexesAfterTransformation
from env_sync.engines.postgresql.archive import Archive, Entry
from env_sync.engines.postgresql.identifiers import IDENTIFIER, unquoted
from env_sync.engines.postgresql.transformation import Script, Word, words_of

_PLAIN = re.compile(
    rf"CREATE INDEX (?P<name>{IDENTIFIER}) ON (?:ONLY )?(?P<schema>{IDENTIFIER})\.(?P<table>{IDENTIFIER}) "
    rf"USING {IDENTIFIER} \((?P<first>{IDENTIFIER}(?=[ ,)])|)"
)
_FOREIGN_KEY = re.compile(rf"FOREIGN KEY \((?P<columns>{IDENTIFIER}(?:, {IDENTIFIER})*)\) REFERENCES")
_FOLLOWS = ("INDEX ATTACH", "COMMENT")
"""What may depend on an index, and is made after it."""
_LOOKS_UP = ("MATERIALIZED VIEW", "TRIGGER", "RULE")
"""What runs queries of its own when rows are changed, or when it is restored itself."""
_CALLED = ("FUNCTION", "PROCEDURE", "AGGREGATE")

_ROW_BY_ROW = frozenset({"UPDATE", "DELETE", "TRUNCATE", "INSERT", "SET", "RESET"})
"""The statements that treat each row of their table by itself, where they hold none of the words below."""
_OTHER_ROWS = frozenset({"SELECT", "WITH", "USING", "TABLE"})


def waiting_indexes(
    archive: Archive, script: Script | None, wanted: IndexesAfterTransformation
) -> tuple[Entry, ...]:
    """The entries of an archive to leave out of the restore, in the order in which to make them later.

    `script` is the transformation that will run; None where there is none, and then nothing waits.
    """
    if script is None or wanted is IndexesAfterTransformation.NEVER:
        return ()
    statements = words_of(script)
    if wanted is IndexesAfterTransformation.AUTO and _looks_rows_up(archive, statements):
        return ()
    named = named_in([script])
    tables = dict(_tables(archive.entries, named))
    dependents = defaultdict[int, list[Entry]](list)
    for entry in archive.entries:
        for number in entry.dependencies:
            dependents[number].append(entry)
    waiting: set[int] = set()
    for family in _families(archive.entries):
        wait = wanted is IndexesAfterTransformation.AUTO or any(
            tables.get(number, "").lower() in named for number in family
        )
        depending = [entry for number in family for entry in dependents[number]]
        followers = [entry for entry in depending if entry.dump_id not in family]
        if wait and family <= tables.keys() and all(entry.type in _FOLLOWS for entry in followers):
            waiting |= family | {entry.dump_id for entry in followers}
    return tuple(entry for entry in archive.entries if entry.dump_id in waiting)


def named_in(scripts: Iterable[Script]) -> frozenset[str]:
    """The words of transformations, in lower case: only a cascade changes a table that is none of them."""
    return frozenset(
        word.text.lower() for script in scripts for statement in words_of(script) for word in statement
    )


def table_of(entry: Entry) -> str:
    """The table of a plain index; "" for any other entry."""
    match = _PLAIN.match(entry.definition) if entry.type == "INDEX" else None
    return unquoted(match["table"]) if match else ""


def _looks_rows_up(archive: Archive, statements: Sequence[Sequence[Word]]) -> bool:
    """Whether the transformation, or what it sets off, may look for single rows over and over."""
    words = {word.text.lower() for statement in statements for word in statement}
    called = {entry.name.partition("(")[0].lower() for entry in archive.entries if entry.type in _CALLED}
    return (
        any(entry.type in _LOOKS_UP for entry in archive.entries)
        or not called.isdisjoint(words)
        or not all(_row_by_row(statement) for statement in statements)
    )


def _row_by_row(statement: Sequence[Word]) -> bool:
    words = [word.text.upper() for word in statement]
    if words[0] not in _ROW_BY_ROW:
        return False
    # UPDATE ... FROM joins; DELETE FROM, `IS DISTINCT FROM` and `substring(a FROM 2)` do not.
    joins = words[0] == "UPDATE" and any(
        text == "FROM" and word.depth == 0 and before != "DISTINCT"
        for before, text, word in zip(words, words[1:], statement[1:], strict=False)
    )
    others = _OTHER_ROWS - ({"TABLE"} if words[0] == "TRUNCATE" else set())
    return others.isdisjoint(words) and not joins


def _tables(entries: Iterable[Entry], named: Collection[str]) -> Iterator[tuple[int, str]]:
    """The indexes that could wait, each with its table."""
    entries = tuple(entries)
    # Whatever their table: partitions have the columns, but not the entry, of their parent's foreign key.
    foreign = {
        column
        for entry in entries
        if entry.type == "FK CONSTRAINT"
        for match in _FOREIGN_KEY.finditer(entry.definition)
        for column in re.findall(IDENTIFIER, match["columns"])
    }
    for entry in entries:
        match = _PLAIN.match(entry.definition) if entry.type == "INDEX" else None
        if match is None or match["first"] in foreign or entry.name.lower() in named:
            continue
        # What was not read as it was written (line breaks in names, other encodings) is left to pg_restore.
        read = (unquoted(match["schema"]), unquoted(match["name"])) == (entry.schema, entry.name)
        # A later CLUSTER of the table asks for the index.
        if read and "\ufffd" not in entry.definition and " CLUSTER ON " not in entry.definition:
            yield entry.dump_id, unquoted(match["table"])


def _families(entries: Sequence[Entry]) -> list[set[int]]:
    """The indexes, those of partitions together with those of their parents: they wait together."""
    family_of = {entry.dump_id: {entry.dump_id} for entry in entries if entry.type == "INDEX"}
    for entry in entries:
        if entry.type == "INDEX ATTACH":
            members = family_of.keys() & set(entry.dependencies)
            joined = set[int]().union(*(family_of[number] for number in members))
            family_of |= dict.fromkeys(joined, joined)
    return list({id(family): family for family in family_of.values()}.values())
