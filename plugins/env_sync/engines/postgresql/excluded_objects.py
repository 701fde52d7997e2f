"""What `excluded_tables` leave out of a dump, partitions included, and what could not be there without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import frozen

from env_sync.engines.postgresql.table_patterns import Relation, matches

SHOWN = 5
"""How many of those that stay and need them are named."""

Run = Callable[[str, Sequence[object]], Iterable[Sequence[Any]]]
"""Runs a query with values on the database, in a session opened with `own_path`."""

AS_PG_DUMP = "SET search_path TO DEFAULT"
"""The search_path of the role or the database, by which pg_dump, too, looks up names without a schema.

Whoever set it may have written functions and operators there: a query under it names the server's own.
"""
_RELATIONS = (
    "SELECT c.oid::pg_catalog.int8, n.nspname, c.relname, pg_catalog.pg_table_is_visible(c.oid) "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) "
    "c.relnamespace WHERE c.relkind OPERATOR(pg_catalog.=) "
    "ANY ('{r,p,v,m,S,f}'::pg_catalog.\"char\"[])"
)
_DESCENDANTS = """
WITH RECURSIVE tree AS (
    SELECT pg_catalog.unnest(%s::oid[]) AS oid
  UNION
    SELECT i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
)
SELECT oid::bigint FROM tree
"""
# A constraint that has a parent is made with it. `_RETURN` is what makes a view of a relation.
_NEEDED = """
WITH gone AS (
    SELECT pg_catalog.unnest(%s::oid[]) AS oid
), referenced AS (
    SELECT 'pg_catalog.pg_class'::regclass AS class, oid AS id, oid AS relation FROM gone
  UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, t.oid, g.oid FROM gone g
    JOIN pg_catalog.pg_type r ON r.typrelid = g.oid JOIN pg_catalog.pg_type t ON t.oid IN (r.oid, r.typarray)
)
SELECT DISTINCT CASE WHEN w.rulename = '_RETURN' THEN w.ev_class::bigint END, d.classid::bigint,
    d.objid::bigint, r.relation::bigint
FROM referenced r JOIN pg_catalog.pg_depend d ON d.refclassid = r.class AND d.refobjid = r.id
LEFT JOIN pg_catalog.pg_rewrite w ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND w.oid = d.objid
LEFT JOIN pg_catalog.pg_constraint k ON d.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = d.objid
    AND k.conparentid = 0
LEFT JOIN pg_catalog.pg_attrdef a ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND a.oid = d.objid
LEFT JOIN pg_catalog.pg_policy p ON d.classid = 'pg_catalog.pg_policy'::regclass AND p.oid = d.objid
LEFT JOIN pg_catalog.pg_trigger t ON d.classid = 'pg_catalog.pg_trigger'::regclass AND t.oid = d.objid
    AND NOT t.tgisinternal
LEFT JOIN pg_catalog.pg_class c ON c.oid = coalesce(w.ev_class, k.conrelid, a.adrelid, p.polrelid, t.tgrelid,
    CASE WHEN d.classid = 'pg_catalog.pg_class'::regclass THEN d.objid END)
WHERE d.deptype IN ('n', 'a') AND (d.classid = 'pg_catalog.pg_proc'::regclass OR (
    c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND c.relpersistence <> 't'
    AND c.oid NOT IN (SELECT oid FROM gone)))
"""
_DESCRIBED = """
SELECT CASE WHEN u.view IS NULL THEN pg_catalog.pg_describe_object(u.class, u.id, 0)
    ELSE pg_catalog.concat('view ', u.view::pg_catalog.regclass) END, u.relation::pg_catalog.regclass
FROM ROWS FROM (pg_catalog.unnest(%s::pg_catalog.oid[]), pg_catalog.unnest(%s::pg_catalog.oid[]),
    pg_catalog.unnest(%s::pg_catalog.oid[]), pg_catalog.unnest(%s::pg_catalog.oid[]))
    AS u (view, class, id, relation)
"""


@frozen(kw_only=True)
class LeftOut:
    """What patterns leave out of a dump."""

    unmatched: tuple[str, ...]
    """The patterns that name nothing."""
    relations: frozenset[Relation]
    """Whatever is left out."""
    descendants: tuple[str, ...]
    """Patterns for those that no pattern names: partitions of what is left out, and what inherits from it."""
    needed: tuple[str, ...]
    """What stays and could not be restored, each with what it needs; the first few."""


def read_left_out(run: Run, patterns: Sequence[str]) -> LeftOut:
    """What patterns leave out of the database; the session's search_path is then empty."""
    relations = {oid: Relation(*row) for oid, *row in _as_pg_dump(run, _RELATIONS, [])}
    named = [oid for oid, one in relations.items() if any(matches(pattern, one) for pattern in patterns)]
    gone = {oid for (oid,) in run(_DESCENDANTS, [named])} & relations.keys()
    needing = [list(column) for column in zip(*run(_NEEDED, [list(gone)]), strict=True)]
    described = _as_pg_dump(run, _DESCRIBED, needing) if needing else []
    needed = sorted(f"{what} (needs {relation})" for what, relation in described)
    more = len(needed) - SHOWN
    return LeftOut(
        unmatched=tuple(
            pattern for pattern in patterns if not any(matches(pattern, one) for one in relations.values())
        ),
        relations=frozenset(relations[oid] for oid in gone),
        descendants=tuple(_pattern(relations[oid]) for oid in sorted(gone.difference(named))),
        needed=(*needed[:SHOWN], *([f"and {more} more"] if more > 0 else [])),
    )


def _as_pg_dump(run: Run, query: str, values: Sequence[object]) -> list[Sequence[Any]]:
    run(AS_PG_DUMP, [])
    rows = list(run(query, values))
    run("SET search_path = ''", [])
    return rows


def could_not_be_restored(database: str, needed: Sequence[str]) -> str:
    """What is wrong with patterns that leave out what something else needs."""
    return (
        f"A dump of {database} without what excluded_tables leave out could not be restored, for what stays "
        f"needs it: {', '.join(needed)}."
    )


LEAVE_OUT_ROWS = (
    "Exclude those as well, or leave out the rows alone: delete them with a pre_dump transformation "
    "(pre_dump_transformation_sql_filename) and exclude nothing."
)
"""What to do about it."""


def _pattern(relation: Relation) -> str:
    """The pattern that names this relation and no other."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in (relation.schema, relation.name))
