"""Functions and operators of a database that a transformation calls where it means the server's own.

Those of extensions in C, such as pgcrypto's `digest(text, text)`, are the server's as well.

The server looks for its own first only among those whose arguments are of the same types: of a varchar,
`md5(email)` is `public.md5(varchar)`, where the dump brought one, and not the server's `md5(text)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from attrs import frozen
from psycopg import pq

from env_sync.core.shown_names import shown_name
from env_sync.engines.postgresql.identifiers import unquoted
from env_sync.engines.postgresql.session import Session
from env_sync.engines.postgresql.transformation import (
    LITERAL_EDGE,
    LITERALS,
    Script,
    sets_search_path,
    tokens,
)

# Those of extensions come with the server: theirs are in C, or a superuser's. The sync's role can make
# extensions, and add to them what the dump brought; that is its own.
_SHADOWS = """
WITH called AS (
    SELECT p.tableoid AS catalog, p.oid, p.proname::text AS name, p.pronamespace AS schema, true AS function,
        p.proowner AS owner, p.prolang AS language, ARRAY(SELECT pg_catalog.unnest(p.proargtypes)) AS takes
    FROM pg_catalog.pg_proc p
    UNION ALL SELECT o.tableoid, o.oid, o.oprname::text, o.oprnamespace, false,
        o.oprowner, c.prolang, pg_catalog.array_remove(ARRAY[o.oprleft, o.oprright], 0::pg_catalog.oid)
    FROM pg_catalog.pg_operator o LEFT JOIN pg_catalog.pg_proc c ON c.oid = o.oprcode
)
SELECT c.catalog::bigint, c.oid::bigint, c.name, c.function, n.nspname,
    ARRAY(SELECT CASE WHEN t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace THEN tn.nspname END
        FROM pg_catalog.unnest(c.takes) WITH ORDINALITY AS a (type, place)
        JOIN pg_catalog.pg_type t ON t.oid = a.type
        JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace ORDER BY a.place),
    ARRAY(SELECT CASE WHEN t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace THEN t.typname::text
        ELSE pg_catalog.format_type(t.oid, NULL) END
        FROM pg_catalog.unnest(c.takes) WITH ORDINALITY AS a (type, place)
        JOIN pg_catalog.pg_type t ON t.oid = a.type ORDER BY a.place),
    servers.built_in
FROM called c JOIN pg_catalog.pg_namespace n ON n.oid = c.schema
CROSS JOIN LATERAL (
    SELECT pg_catalog.bool_or(s.schema = 'pg_catalog'::pg_catalog.regnamespace) AS built_in FROM called s
    WHERE s.function = c.function AND s.name = c.name
    AND (s.schema = 'pg_catalog'::pg_catalog.regnamespace OR EXISTS (
        SELECT FROM pg_catalog.pg_language l WHERE l.oid = s.language AND l.lanname = 'c'))
) servers
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND servers.built_in IS NOT NULL
AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d WHERE d.classid = c.catalog AND d.objid = c.oid AND d.deptype = 'e'
    AND (EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = c.owner AND r.rolsuper)
        OR EXISTS (SELECT FROM pg_catalog.pg_language l
            WHERE l.oid = c.language AND l.lanname IN ('c', 'internal'))))
ORDER BY n.nspname, c.name, c.oid
"""
_DEPENDS_ON = """
SELECT d.refclassid::bigint, d.refobjid::bigint FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.tableoid = d.classid
WHERE r.ev_class = 'pg_temp.env_sync_calls'::pg_catalog.regclass
"""
_SETS_PATH = re.compile(r"search_path|set_config|\bset\s+(?:(?:local|session)\s+)?schema\b", re.IGNORECASE)
"""In a statement that may set where names are looked up."""
_SIGNS = frozenset("+-*/<>=~!@#%^&|`?")
_MAY_END = frozenset("~!@#%^&|`?")
"""With one of these an operator may end with a plus or a minus."""
_STANDS_FOR = {
    "LIKE": ("~~", "!~~"),
    "ILIKE": ("~~*", "!~~*"),
    "SIMILAR": ("~", "!~"),
    "IN": ("=", "<>"),
    "BETWEEN": ("<", "<=", ">=", ">"),
    **dict.fromkeys(("CASE", "DISTINCT", "NATURAL", "NULLIF", "USING"), ("=",)),
}
"""Words for operators that the server looks up as if they were written."""


@frozen(kw_only=True)
class Shadow:
    """A function or an operator that is called like one of the server's."""

    catalog: int
    oid: int
    name: str
    signature: str
    """Its schema, its name and its arguments, without what may be a value."""
    function: bool
    built_in: bool
    """Whether the server itself has one that is called so, and not an extension alone."""

    @property
    def advice(self) -> str:
        """How SQL calls the server's own."""
        if not self.built_in:
            return "cast the arguments to the types of the extension's where that is meant"
        own = f"pg_catalog.{self.name}" if self.function else f"OPERATOR(pg_catalog.{self.name})"
        return f"write {own} where the server's is meant"


def shadows(session: Session) -> tuple[Shadow, ...]:
    """All in the session's database. Raises psycopg.Error."""
    return tuple(
        Shadow(
            catalog=catalog,
            oid=oid,
            name=name,
            signature=f"{shown_name(schema)}.{name}({', '.join(map(_type, schemas, types))})",
            function=function,
            built_in=built_in,
        )
        for catalog, oid, name, function, schema, schemas, types, built_in in session.execute(_SHADOWS)
    )


def _type(schema: str | None, name: str) -> str:
    """The name of a type; without a schema it is the server's own."""
    return name if schema is None else f"{shown_name(schema)}.{shown_name(name)}"


def shadowed_calls(session: Session, script: Script, found: Sequence[Shadow]) -> Iterator[str]:
    """Warnings of the statements of a transformation that call one of these, before it is run.

    Within the transaction in which it will be; nothing is left. Raises psycopg.Error.
    """
    if not found:
        return
    session.execute("SAVEPOINT shadowed_calls")
    path_known = True
    for begin, text in script.parts():
        words = [token.text.upper() for token in tokens(text)]
        if sets_search_path(words) or words[:2] in (["RESET", "SEARCH_PATH"], ["RESET", "ALL"]):
            session.execute("SAVEPOINT one_setting")
            if _done(session, text):
                path_known = True
            else:
                # The run itself tells what is wrong with it.
                session.execute("ROLLBACK TO SAVEPOINT one_setting")
            continue
        names, signs = frozenset(called(text)), frozenset(operators(text))
        meant = [each for each in found if each.name in (names if each.function else signs)]
        resolved = _resolved(session, text) if meant and path_known else None
        for each in meant:
            verb = "may call" if resolved is None else ""
            if resolved is not None and (each.catalog, each.oid) in resolved:
                verb = "calls"
            if verb:
                where = f"{script.file.name}:{script.line_at(begin)}"
                yield (
                    f"{where} {verb} {each.signature}, which came with the data, in place of "
                    f"{'the server' if each.built_in else 'an extension'}'s own: see what it does, or "
                    f"{each.advice}"
                )
        # Such a statement is not run here: a function may set the path, and a block; and to a savepoint the
        # path goes back with all else.
        path_known = path_known and words[:1] != ["ROLLBACK"] and not _SETS_PATH.search(text)
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


def called(text: str) -> Iterator[str]:
    """The names in SQL that are called without their schema; those in blocks and other literals as well."""
    before, name = "", ""
    for token in tokens(text):
        if token.kind in LITERALS:
            yield from called(LITERAL_EDGE.sub("", token.text))
        if token.text == "(" and name:
            yield name
        name = ""
        if token.kind in ("word", "identifier") and before != ".":
            name = token.text.lower() if token.kind == "word" else unquoted(token.text)
        before = token.text


def operators(text: str) -> Iterator[str]:
    """The operators in SQL that are written without their schema, or that its words stand for.

    Those in blocks and other literals as well. The server divides signs as this does:
    https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-OPERATORS
    """
    signs, end, before = "", 0, ""
    for token in tokens(text):
        is_sign = token.text in _SIGNS
        if signs and not (is_sign and token.start == end):
            yield from _divided(signs) if before != "." else ()
            before, signs = signs, ""
        if is_sign:
            signs, end = signs + token.text, token.end
            continue
        if token.kind in LITERALS:
            yield from operators(LITERAL_EDGE.sub("", token.text))
        if token.kind == "word":
            yield from _STANDS_FOR.get(token.text.upper(), ())
        before = token.text
    yield from _divided(signs) if before != "." else ()


def _divided(signs: str) -> Iterator[str]:
    """The operators in signs that stand side by side: only some may end with a plus or a minus."""
    while len(signs) > 1 and signs[-1] in "+-" and not _MAY_END & {*signs}:
        yield signs[-1]
        signs = signs[:-1]
    if signs:
        yield signs
