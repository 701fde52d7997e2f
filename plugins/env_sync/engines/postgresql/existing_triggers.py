"""Triggers and rules that came with the data, and that decide what a transformation leaves in a table.

A trigger before an UPDATE can put the old value back (`NEW.email := OLD.email`), and one in place of it, or a
rule, change something else. The server counts the rows all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from attrs import frozen

from env_sync.core.shown_names import shown_name
from env_sync.domain.changed_rows import Changed
from env_sync.engines.postgresql.session import Session
from env_sync.engines.postgresql.transformation import tokens

# Row triggers before or instead of an UPDATE or a DELETE, and rules. Those of partitions that were made for
# the whole table count as its own; in versions before 15 they are internal, as are those of constraints.
# Functions in C are the server's or an extension's.
# It is asked where the transformation has names looked up, and so operators: each is the server's own.
STANDING = """
WITH standing AS (
    SELECT t.tableoid::bigint AS catalog, t.oid::bigint AS oid, false AS is_rule, t.tgrelid AS relation,
        t.tgname AS name, d.does OPERATOR(pg_catalog.&) 16 OPERATOR(pg_catalog.<>) 0 AS on_update,
        d.does OPERATOR(pg_catalog.&) 8 OPERATOR(pg_catalog.<>) 0 AS on_delete,
        d.does OPERATOR(pg_catalog.&) 64 OPERATOR(pg_catalog.<>) 0 AS instead, t.tgenabled AS enabled,
        (SELECT r.tgrelid FROM pg_catalog.pg_trigger r
            WHERE r.tgrelid OPERATOR(pg_catalog.=) pg_catalog.pg_partition_root(t.tgrelid)::pg_catalog.oid
            AND r.tgname OPERATOR(pg_catalog.=) t.tgname
            AND r.tgfoid OPERATOR(pg_catalog.=) t.tgfoid) AS root
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
    JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang,
    LATERAL (SELECT t.tgtype::integer) d (does)
    WHERE d.does OPERATOR(pg_catalog.&) 1 OPERATOR(pg_catalog.<>) 0
    AND d.does OPERATOR(pg_catalog.&) 66 OPERATOR(pg_catalog.<>) 0
    AND d.does OPERATOR(pg_catalog.&) 24 OPERATOR(pg_catalog.<>) 0
    AND (NOT t.tgisinternal OR t.tgconstraint OPERATOR(pg_catalog.=) 0::pg_catalog.oid)
    AND l.lanname OPERATOR(pg_catalog.<>) ALL (ARRAY['c', 'internal']::pg_catalog.name[])
    UNION ALL SELECT r.tableoid::bigint, r.oid::bigint, true, r.ev_class, r.rulename,
        r.ev_type OPERATOR(pg_catalog.=) '2', r.ev_type OPERATOR(pg_catalog.=) '4', true, r.ev_enabled, NULL
    FROM pg_catalog.pg_rewrite r
    WHERE r.ev_type OPERATOR(pg_catalog.=) ANY (ARRAY['2', '4']::pg_catalog."char"[])
)
SELECT s.catalog, s.oid, s.is_rule, s.instead, n.nspname, c.relname, s.name, s.on_update, s.on_delete,
    s.enabled OPERATOR(pg_catalog.=) 'A' OR (s.enabled OPERATOR(pg_catalog.=) 'R' AND m.replica)
        OR (s.enabled OPERATOR(pg_catalog.=) 'O' AND NOT m.replica),
    pg_catalog.pg_table_is_visible(c.oid), p.relispartition,
    pg_catalog.pg_stat_get_xact_tuples_updated(s.relation),
    pg_catalog.pg_stat_get_xact_tuples_deleted(s.relation)
FROM standing s JOIN pg_catalog.pg_class p ON p.oid OPERATOR(pg_catalog.=) s.relation
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) coalesce(s.root, s.relation)
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
CROSS JOIN (
    SELECT pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.=) 'replica'
) m (replica)
WHERE n.nspname OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema']::pg_catalog.name[])
ORDER BY n.nspname, c.relname, s.name, s.oid
"""
_WORD = re.compile(r"\w+")
_COUNTED = ("UPDATE", "DELETE", "MERGE")


@frozen
class Standing:
    """A trigger or a rule, and how many rows of its table this transaction has changed so far."""

    catalog: int
    oid: int
    is_rule: bool
    instead: bool
    schema: str
    table: str
    name: str
    on_update: bool
    on_delete: bool
    active: bool
    visible: bool
    partition: bool
    updated: int
    deleted: int

    @property
    def key(self) -> tuple[int, int]:
        """What it is in the server's catalogs."""
        return self.catalog, self.oid

    def met_rows(self, before: Standing) -> bool:
        """Whether rows went through it since then."""
        updated, deleted = self.updated > before.updated, self.deleted > before.deleted
        # An UPDATE that moves a row to another partition deletes it here.
        return (self.on_update and (updated or (self.partition and deleted))) or (self.on_delete and deleted)

    def is_met_by(self, text: str, changed: Changed | None) -> bool:
        """Whether a statement changes what it stands in place of, of which the server counts no rows.

        `changed` is what the server told of it. Of one that is no plain statement names are compared.
        """
        verb, _, target = changed.what.partition(" ") if changed else ("", "", "")
        if changed and verb in _COUNTED and not _begins_with_with(text):
            schema, _, table = target.casefold().rpartition(".")
            where = schema == self.schema.casefold() or (not schema and self.visible)
            named = where and table == self.table.casefold()
            return named and changed.rows > 0 and self._fires_on(verb)
        words = frozenset(_WORD.findall(" ".join(token.text for token in tokens(text)).casefold()))
        return words >= {*_WORD.findall(self.table.casefold())} and any(
            verb.casefold() in words and self._fires_on(verb) for verb in _COUNTED
        )

    def _fires_on(self, verb: str) -> bool:
        return verb == "MERGE" or (self.on_update if verb == "UPDATE" else self.on_delete)

    def __str__(self) -> str:
        kind = "rule" if self.is_rule else "trigger"
        return f"{kind} {shown_name(self.name)} of {shown_name(f'{self.schema}.{self.table}')}"

    @property
    def advice(self) -> str:
        """What to do where it is in the way."""
        if self.instead and not self.is_rule:
            return "change the tables below the view"
        what = "RULE" if self.is_rule else "TRIGGER"
        return (
            f"disable it while the statement runs (ALTER TABLE ... DISABLE {what}, and ENABLE {what} again)"
        )


class StandingBefore:
    """Those that are there before the first transformation; tells each once that a statement meets."""

    def __init__(self, brought: Iterable[Standing]) -> None:
        self._now = {one.key: one for one in brought}
        self._told: set[str] = set()

    def warnings(self, session: Session, where: str, text: str, changed: Changed | None) -> Iterator[str]:
        """What to say of a statement that was just run, by its file and line. Raises psycopg.Error."""
        if not self._now:
            return
        before = self._now
        self._now = {one.key: one for one in read_standing(session) if one.key in before}
        for key, one in self._now.items():
            met = one.is_met_by(text, changed) if one.instead else one.met_rows(before[key])
            if one.active and met and str(one) not in self._told:
                self._told.add(str(one))
                yield (
                    f"{where} {changed.what if changed else 'a statement'} went through {one}, which came "
                    "with the data and may have kept what was to be changed: see what it does, or "
                    f"{one.advice}"
                )


def read_standing(session: Session) -> Iterator[Standing]:
    """All in the session's database. Raises psycopg.Error."""
    return (Standing(*row) for row in session.execute(STANDING))


def _begins_with_with(text: str) -> bool:
    return next((token.text.upper() for token in tokens(text)), "") == "WITH"
