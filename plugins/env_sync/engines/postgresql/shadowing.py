"""Functions and operators of a database that a transformation calls where it means the server's own.

The server looks for its own first only among those whose arguments are of the same types: of a varchar,
`md5(email)` is `public.md5(varchar)`, where the dump brought one, and not the server's `md5(text)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen
from psycopg import pq

from env_sync.engines.postgresql.identifiers import unquoted
from env_sync.engines.postgresql.script import LITERAL_EDGE, LITERALS, Script, sets_search_path, tokens
from env_sync.engines.postgresql.session import Session

# Those of extensions come with the server.
_SHADOWS = """
WITH called AS (
    SELECT tableoid AS catalog, oid, proname::text AS name, pronamespace AS schema, true AS function
    FROM pg_catalog.pg_proc
    UNION ALL SELECT tableoid, oid, oprname::text, oprnamespace, false FROM pg_catalog.pg_operator
)
SELECT c.catalog::bigint, c.oid::bigint, c.name, c.function, CASE WHEN c.function
    THEN c.oid::pg_catalog.regprocedure::text ELSE c.oid::pg_catalog.regoperator::text END
FROM called c JOIN pg_catalog.pg_namespace n ON n.oid = c.schema
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND EXISTS (
    SELECT FROM called s WHERE s.function = c.function AND s.name = c.name
    AND s.schema = 'pg_catalog'::pg_catalog.regnamespace)
AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d WHERE d.classid = c.catalog AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 5
"""
_DEPENDS_ON = """
SELECT d.refclassid::bigint, d.refobjid::bigint FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.tableoid = d.classid
WHERE r.ev_class = 'pg_temp.env_sync_calls'::pg_catalog.regclass
"""


@frozen(kw_only=True)
class Shadow:
    """A function or an operator that is called like one of the server's."""

    catalog: int
    oid: int
    name: str
    signature: str
    """Its schema, its name and its arguments."""
    function: bool

    @property
    def qualified(self) -> str:
        """How SQL names the server's own."""
        return f"pg_catalog.{self.name}" if self.function else f"OPERATOR(pg_catalog.{self.name})"


def shadows(session: Session) -> tuple[Shadow, ...]:
    """All in the session's database. Raises psycopg.Error."""
    return tuple(
        Shadow(catalog=catalog, oid=oid, name=name, signature=signature, function=function)
        for catalog, oid, name, function, signature in session.execute(_SHADOWS)
    )


def shadowed_calls(session: Session, script: Script, found: Sequence[Shadow]) -> Iterator[str]:
    """Warnings of the statements of a transformation that call one of these, before it is run.

    Within the transaction in which it will be; nothing is left. Raises psycopg.Error.
    """
    if not found:
        return
    session.execute("SAVEPOINT shadowed_calls")
    for begin, text in script.parts():
        if sets_search_path([token.text.upper() for token in tokens(text)]):
            session.execute("SAVEPOINT one_setting")
            if not _done(session, text):
                # The run itself tells what is wrong with it.
                session.execute("ROLLBACK TO SAVEPOINT one_setting")
            continue
        names = frozenset(_called(text))
        meant = [each for each in found if not each.function or each.name in names]
        if not meant:
            continue
        resolved = _resolved(session, text)
        for each in meant:
            if resolved is None:
                # Of an operator there is nothing to go by.
                verb = "may call" if each.function else ""
            else:
                verb = "calls" if (each.catalog, each.oid) in resolved else ""
            if verb:
                where = f"{script.file.name}:{script.line_at(begin)}"
                yield (
                    f"{where} {verb} {each.signature}, which came with the data, in place of the server's "
                    f"own: see what it does, or write {each.qualified} where the server's is meant"
                )
    session.execute("ROLLBACK TO SAVEPOINT shadowed_calls")
    session.execute("RELEASE SAVEPOINT shadowed_calls")


def _resolved(session: Session, text: str) -> frozenset[tuple[int, int]] | None:
    """What of the database a statement calls, by catalog and oid; None where the server does not tell.

    The server parses the action of a rule as it would parse the statement, and keeps what that depends on. It
    takes none but SELECT, INSERT, UPDATE and DELETE, of what is there already.
    """
    session.execute("SAVEPOINT one_call")
    rows = None
    if _done(session, "CREATE TEMPORARY TABLE env_sync_calls ()") and _done(
        session, f"CREATE RULE calls AS ON INSERT TO pg_temp.env_sync_calls DO ALSO ({text}\n)"
    ):
        session.execute("SET LOCAL search_path = ''")
        rows = session.execute(_DEPENDS_ON)
    session.execute("ROLLBACK TO SAVEPOINT one_call")
    session.execute("RELEASE SAVEPOINT one_call")
    return None if rows is None else frozenset((catalog, oid) for catalog, oid in rows)


def _done(session: Session, statement: str) -> bool:
    return session.single(statement).status != pq.ExecStatus.FATAL_ERROR


def _called(text: str) -> Iterator[str]:
    """The names in SQL that are called without their schema; those in blocks and other literals as well."""
    before, name = "", ""
    for token in tokens(text):
        if token.kind in LITERALS:
            yield from _called(LITERAL_EDGE.sub("", token.text))
        if token.text == "(" and name:
            yield name
        name = ""
        if token.kind in ("word", "identifier") and before != ".":
            name = token.text.lower() if token.kind == "word" else unquoted(token.text)
        before = token.text
