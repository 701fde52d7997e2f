"""Tries transformations on live without running them: does what they name exist?

Each statement is given to the server to parse, in a transaction that is read-only and always rolled back.
That looks up tables, columns, functions and types, and runs nothing. Of statements that the server only looks
up when it runs them (CREATE, ALTER, DO) the grammar is tried, and for some the tables that they name. What
stands behind such a statement may need it, and is then no problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from attrs import define, field, frozen
from psycopg import Error, errors, pq

from env_sync.core.redact import describe_database_error, names_in
from env_sync.domain.finding import Finding, note, problem
from env_sync.engines.postgresql.session import Session
from env_sync.engines.postgresql.transformation import SEARCH_PATH, Script, Token, sets_search_path, tokens

SHOWN = 20
"""How many lines a note lists."""

_HIDDEN = """
WITH hidden AS (
    SELECT oid, nspname FROM pg_catalog.pg_namespace
    WHERE nspname !~ '^pg_' AND NOT pg_catalog.has_schema_privilege(oid, 'USAGE')
)
SELECT nspname FROM hidden
UNION SELECT relname FROM pg_catalog.pg_class WHERE relnamespace IN (SELECT oid FROM hidden)
UNION SELECT proname FROM pg_catalog.pg_proc WHERE pronamespace IN (SELECT oid FROM hidden)
UNION SELECT typname FROM pg_catalog.pg_type WHERE typnamespace IN (SELECT oid FROM hidden)
"""
_MISSING = {
    "42P01": "table",
    "42703": "column",
    "42883": "function",
    "42704": "type or other object",
    "3F000": "schema",
}
_SYNTAX = "42601"
_NOT_NOW = frozenset({"42501", "55P03", "57014"})
"""Refused, locked, too slow: how it is with live now says nothing of incoming, which is our own."""

_LOOKED_UP = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE", "("})
_CHANGES_NOTHING = frozenset(
    {"SET", "RESET", "SHOW", "SAVEPOINT", "RELEASE", "ROLLBACK", "ANALYZE", "ANALYSE", "COMMENT", "EXPLAIN"}
)
_ENDS_TRANSACTION = frozenset({"COMMIT", "END", "ABORT", "ROLLBACK"})
_BEFORE_TABLES = frozenset({"TABLE", "MATERIALIZED", "FOREIGN", "VIEW", "CONCURRENTLY", "ONLY"})
_BEFORE_NEW_NAME = frozenset({"IF", "NOT", "EXISTS", "TEMPORARY", "TEMP", "UNLOGGED", "TABLE"})
_NAME = r'(?:"(?:[^"]|"")+"|[A-Za-z_\x80-\U0010ffff][\w$]*)'
_DOTTED = re.compile(rf"{_NAME}(?:\s*\.\s*{_NAME})*")
_PART = re.compile(_NAME)


def rehearse(session: Session, database: str, scripts: Sequence[Script]) -> tuple[Finding, ...]:
    """Try transformations in the order in which they run, on the session's database.

    Raises psycopg.Error where the session itself fails.
    """
    findings: list[Finding] = []
    keywords = frozenset(word for (word,) in session.execute("SELECT word FROM pg_catalog.pg_get_keywords()"))
    # What is in schemas that our role may not use is there in incoming, which is its own.
    made = {name for (name,) in session.execute(_HIDDEN)}
    for script in scripts:
        rehearsal = _Rehearsal(
            session=session, database=database, script=script, keywords=keywords, made=made
        )
        findings += rehearsal.findings()
    return tuple(findings)


@frozen(kw_only=True)
class _Statement:
    """`words` are its tokens in capitals, without what stands in parentheses."""

    begin: int
    text: str
    tokens: tuple[Token, ...]
    words: tuple[str, ...]

    @property
    def first(self) -> str:
        return self.words[0]


@define(kw_only=True)
class _Rehearsal:
    """One transformation. `made` are names that live may lack: those in statements that were not tried."""

    session: Session
    database: str
    script: Script
    keywords: frozenset[str]
    made: set[str]
    path_unknown: bool = False
    """Whether a statement that was not run may have changed where names are looked up."""
    not_tried: list[int] = field(factory=list)
    """Lines of statements of which only the grammar was tried."""
    depending: list[int] = field(factory=list)
    """Lines of statements that need what one of those makes."""

    def findings(self) -> list[Finding]:
        name = self.script.file.name
        found: list[Finding] = []
        self.session.execute("BEGIN READ ONLY")
        try:
            # As sanitise sets it before each transformation.
            self.session.execute(SEARCH_PATH)
            for statement in _statements(self.script):
                found += self._try(statement)
        finally:
            self.session.abandon()
        if self.not_tried:
            found.append(
                note(
                    f"Transformation {name}: of the statements on lines {_lines(self.not_tried)} only the "
                    "grammar was tried, for the server looks up what they name only when it runs them."
                )
            )
        if self.depending:
            found.append(
                note(
                    f"Transformation {name}: the statements on lines {_lines(self.depending)} could not be "
                    "tried on live, for they need what earlier statements make, or may not be looked at now."
                )
            )
        return found

    def _try(self, statement: _Statement) -> Iterator[Finding]:
        line = self.script.line_at(statement.begin)
        where = f"Transformation {self.script.file.name}, line {line}"
        if (wrong := _cannot_run(statement.words)) is not None:
            yield problem(f"{where}: {wrong}.", "Take it out of the transformation.")
            return
        if sets_search_path(statement.words):
            result = self.session.single(statement.text)
            if result.status == pq.ExecStatus.FATAL_ERROR:
                error = errors.error_from_result(result)
                yield problem(
                    f"{where}: {describe_database_error(error, names_in(self.script.text))}.", _MEND
                )
                # The transaction is aborted: only a new one can go on.
                self.session.abandon()
                self.session.execute("BEGIN READ ONLY")
                self.path_unknown = True
            return
        if "search_path" in statement.text.lower() or statement.words[:2] in (
            ("RESET", "ALL"),
            ("DISCARD", "ALL"),
        ):
            self.path_unknown = True
        failure = self._parse(statement.text)
        if failure is not None:
            yield from self._told(failure, statement, 0)
        else:
            yield from self._tables(statement)
        self._remember(statement, line, parsed=failure is None)

    def _tables(self, statement: _Statement) -> Iterator[Finding]:
        for token_start, name in _tables_named(statement):
            select = "SELECT FROM "
            failure = self._parse(select + name)
            if failure is not None:
                yield from self._told(failure, statement, token_start - len(select))

    def _parse(self, text: str) -> Error | None:
        """What the server says against a statement. Locks that it took to look are let go at once."""
        self.session.execute("SAVEPOINT rehearsal")
        result = self.session.parse(text)
        self.session.execute("ROLLBACK TO SAVEPOINT rehearsal")
        self.session.execute("RELEASE SAVEPOINT rehearsal")
        return errors.error_from_result(result) if result.status == pq.ExecStatus.FATAL_ERROR else None

    def _told(self, error: Error, statement: _Statement, offset: int) -> Iterator[Finding]:
        """What an error means; `offset` is where what was parsed begins in the statement."""
        place = offset + int(error.diag.statement_position or 1) - 1
        line = self.script.line_at(statement.begin + max(place, 0))
        where = f"Transformation {self.script.file.name}, line {line}"
        said = describe_database_error(error, names_in(self.script.text))
        state = error.sqlstate or ""
        named = _DOTTED.match(statement.text, max(place, 0))
        names = _parts(named.group()) if named else ()
        kind = _MISSING.get(state)
        if state == _SYNTAX:
            yield problem(f"{where}: {said}.", _MEND)
        elif (
            state in _NOT_NOW
            or (kind is not None and self.path_unknown)
            # Which schema a thing is in may be there long since: it is the thing itself that must be new.
            or (names and names[0 if kind == "schema" else -1] in self.made)
            or (kind is None and (_names(statement) - self.keywords) & self.made)
        ):
            self.depending.append(line)
        elif kind is not None and named and "FROM-clause" not in (error.diag.message_primary or ""):
            yield problem(
                f"{where}: live has no {kind} {' '.join(named.group().split())} ({said}).",
                "Correct the transformation; leave it as it is only if tonight's dump brings that for the "
                "first time.",
            )
        else:
            yield problem(f"{where}: live does not fit: {said}.", _MEND)

    def _remember(self, statement: _Statement, line: int, *, parsed: bool) -> None:
        words = statement.words
        if parsed and (name := _name_of_new_table(statement)) is not None:
            self.made.add(_parts(name)[-1])
            return
        if words[0] in _LOOKED_UP or words[0] in _CHANGES_NOTHING:
            return
        if words[0] in ("TRUNCATE", "REFRESH", "LOCK"):
            return
        self.made |= _names(statement)
        if words[0] in ("DO", "CALL", "EXECUTE"):
            self.made |= {name.lower() for name in names_in(statement.text)}
        if parsed:
            self.not_tried.append(line)


_MEND = "Correct the transformation."


def _statements(script: Script) -> Iterator[_Statement]:
    for begin, text in script.parts():
        found = tuple(token for token in tokens(text) if token.kind != "semicolon" or token.end < len(text))
        words: list[str] = []
        depth = 0
        for token in found:
            if token.kind == "closing" and depth:
                depth -= 1
            elif depth == 0 and token.kind != "semicolon":
                words.append(token.text.upper() if token.kind == "word" else token.text)
            if token.kind == "opening":
                depth += 1
        yield _Statement(begin=begin, text=text, tokens=found, words=tuple(words))


def _cannot_run(words: Sequence[str]) -> str | None:
    """Why a statement cannot run among the others, in their one transaction; None where it can."""
    first, second = words[0], words[1] if len(words) > 1 else ""
    to_savepoint = first == "ROLLBACK" and "TO" in words
    if (first in _ENDS_TRANSACTION and not to_savepoint) or (first, second) == ("PREPARE", "TRANSACTION"):
        return f"{first} ends the transaction in which all transformations run"
    concurrently = "CONCURRENTLY" in words and first in ("CREATE", "DROP", "REINDEX")
    if first == "VACUUM" or concurrently:
        what = f"{first} ... CONCURRENTLY" if concurrently else first
        return f"{what} cannot run inside a transaction, and all transformations run in one"
    if first == "COPY" and ("STDOUT" in words or "STDIN" in words):
        return "COPY to or from the client cannot be run here"
    return None


def _tables_named(statement: _Statement) -> Iterator[tuple[int, str]]:
    """The tables that a statement names which the server looks up only when it runs it, as written."""
    words = statement.words
    lists = words[0] in ("TRUNCATE", "LOCK") or (words[0] == "DROP" and words[1:2] in (("TABLE",), ("VIEW",)))
    one = words[0] == "REFRESH" or words[:2] == ("ALTER", "TABLE")
    if not (lists or one) or "IF" in words[:5]:
        return
    position = statement.tokens[0].end
    for token in statement.tokens[1:]:
        if token.text.upper() not in _BEFORE_TABLES:
            position = token.start
            break
    while match := _DOTTED.match(statement.text, position):
        yield position, match.group()
        following = re.compile(r"[\s*]*,\s*(?:(?i:only)\s+)?").match(statement.text, match.end())
        if one or following is None:
            return
        position = following.end()


def _name_of_new_table(statement: _Statement) -> str | None:
    """The table that CREATE TABLE ... AS or SELECT ... INTO makes, whose query was looked up; else None."""
    words = statement.words
    if words[0] == "CREATE" and "TABLE" in words[:4] and "AS" in words:
        before = "TABLE"
    elif words[0] in ("SELECT", "WITH") and "INTO" in words and not {"INSERT", "MERGE"} & set(words):
        before = "INTO"
    else:
        return None
    found = False
    for token in statement.tokens:
        word = token.text.upper()
        if found and word not in _BEFORE_NEW_NAME:
            match = _DOTTED.match(statement.text, token.start)
            return match.group() if match else None
        found = found or word == before
    return None


def _names(statement: _Statement) -> frozenset[str]:
    """Every name and word in a statement as the server keeps it, but for what stands in texts."""
    return frozenset(
        part
        for token in statement.tokens
        if token.kind in ("word", "identifier")
        for part in _parts(token.text)
    )


def _parts(name: str) -> tuple[str, ...]:
    """The parts of a dotted name as the server keeps them: without quotes, else in lower case."""
    return tuple(
        part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()
        for part in _PART.findall(name)
    )


def _lines(lines: Sequence[int]) -> str:
    unique = list(dict.fromkeys(lines))
    more = f" and {len(unique) - SHOWN} more" if len(unique) > SHOWN else ""
    return ", ".join(str(line) for line in unique[:SHOWN]) + more
