"""Tables that code of the data puts in the place of others, while a statement runs that defines nothing.

A trigger may rename a table that a later statement means, make another of its name, and change both back at
the end; or give it a trigger or a rule that leads elsewhere.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from env_sync.domain.changed_rows import Changed
from env_sync.engines.postgresql.session import Row, Session
from env_sync.engines.postgresql.transformation import code_of

# The names of all that a statement may mean, by what they are; not temporary ones, which are looked up last.
# Counters of pg_class would tell of REFRESH MATERIALIZED VIEW and TRUNCATE as well, which triggers may do.
# It is asked where the transformation has names looked up, and so operators: each is the server's own.
READ = """
SELECT pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.string_agg(
        pg_catalog.concat_ws(' ', c.oid, pg_catalog.quote_ident(n.nspname),
            pg_catalog.quote_ident(c.relname)),
        ' ' ORDER BY c.oid), 'UTF8')),
    pg_catalog.pg_stat_get_xact_tuples_updated('pg_catalog.pg_attribute'::pg_catalog.regclass),
    {trigger}, {rewrite}
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v', 'f']::pg_catalog."char"[])
AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
""".format(
    **{
        what: " OPERATOR(pg_catalog.+) ".join(
            f"pg_catalog.pg_stat_get_xact_tuples_{how}('pg_catalog.pg_{what}'::pg_catalog.regclass)"
            for how in ("inserted", "updated", "deleted")
        )
        for what in ("trigger", "rewrite")
    }
)
_WHAT = ("made, renamed or dropped tables", "altered columns", "altered triggers", "altered rules or views")
_DEFINES_NOTHING = frozenset(
    {
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "MERGE",
        "WITH",
        "VALUES",
        "TABLE",
        "TRUNCATE",
        "EXECUTE",
        "FETCH",
    }
)
_WORD = re.compile(r"\w+")


class Definitions:
    """How tables are defined; tells of each kind of change once."""

    def __init__(self) -> None:
        self._now: Row = ()
        self._told = set[str]()

    def begin(self, session: Session) -> None:
        """Take all as it is, whatever we ourselves did since the last look. Raises psycopg.Error."""
        self._now = _read(session)

    def warnings(self, session: Session, where: str, text: str, _: Changed | None, /) -> Iterator[str]:
        """What to say of a statement that was just run, by its file and line. Raises psycopg.Error."""
        before, self._now = self._now, _read(session)
        did = [what for what, was, now in zip(_WHAT, before, self._now, strict=True) if was != now]
        said = " and ".join(did)
        if did and said not in self._told and _defines_nothing(text):
            self._told.add(said)
            yield (
                f"{where} ran code that {said}, which it does not say: a trigger or function that came with "
                "the data did, so that later statements may have changed something else than they mean. See "
                "what it does, or disable it while the statement runs"
            )


def _read(session: Session) -> Row:
    [row] = session.execute(READ)
    return row


def _defines_nothing(text: str) -> bool:
    words = _WORD.findall(code_of(text).upper())
    if words[:2] == ["SET", "CONSTRAINTS"]:
        return True
    # SELECT ... INTO makes a table.
    makes = any(
        word == "INTO" and before not in ("INSERT", "MERGE") for before, word in itertools.pairwise(words)
    )
    return bool(words) and words[0] in _DEFINES_NOTHING and not makes
