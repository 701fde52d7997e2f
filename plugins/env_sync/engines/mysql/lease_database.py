"""Whether the database of the leases is ours alone: whoever else could change it would decide what we do.

MySQL has no owners. So what counts is what can be known: nobody but this account and administrators has a
right there, the tables are ours to the column, and nothing is there that the server runs when we write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from env_sync.core.errors import NameRefused
from env_sync.engines.mysql.access.database_patterns import as_pattern
from env_sync.engines.mysql.access.own_grants import own_grants
from env_sync.engines.mysql.access.readers import ACCEPTED, accesses
from env_sync.engines.mysql.identifiers import quoted
from env_sync.engines.mysql.session import Session

TABLES: Mapping[str, Sequence[tuple[str, str]]] = {
    "lease": (
        ("database", "varchar(64)"),
        ("run", "varchar(500)"),
        ("group", "varchar(300)"),
        ("attempt", "varchar(100)"),
        ("step", "varchar(50)"),
        ("host", "varchar(255)"),
        ("pid", "bigint"),
        ("taken_at", "datetime(6)"),
        ("renewed_at", "datetime(6)"),
        ("expires_at", "datetime(6)"),
    ),
    "journal": (("database", "varchar(64)"), ("promotion", "longtext")),
    "was_live": (("database", "varchar(64)"), ("token", "varchar(64)")),
}
"""The columns of each table in their order, and their types; all are NOT NULL, the first is the key."""
TO_SEE = ("TRIGGER", "EVENT", "EXECUTE")
"""Privileges without which a server may not tell what is in a database."""
SHOWN = 5
_WIDTH = re.compile(r"(?<=int)\(\d+\)")


def check_ours(session: Session, database: str) -> None:
    """Raises NameRefused, with what to do, where it is not; AccessRefused where that cannot be seen.

    Only catalogues are asked, which runs nothing of what is there. Raises MySQLError.
    """
    if found := tuple(strangers(session, database)):
        raise NameRefused(refusal(session, database, found))


def refusal(session: Session, database: str, found: Sequence[str], shown: int = SHOWN) -> str:
    """What to say where something speaks against it; `shown` is of how much at most."""
    more = f"; and {len(found) - shown} more" if len(found) > shown else ""
    return (
        f"Database {database} on {session.where}, in which Env Sync keeps who may touch which database, is "
        f"not Env Sync's alone: {'; '.join(found[:shown])}{more}. It was neither read nor written. Take "
        f"those rights away, or name an account that runs the server in `{ACCEPTED}` of the connection's "
        "extra. Where Env Sync did not make what is there, drop it as well, while no sync runs "
        f"(DROP DATABASE {quoted(database)}): it is made anew. Or name another in lease_database of the "
        "connection's extra."
    )


def strangers(session: Session, database: str) -> Iterator[str]:
    """What speaks against its being ours, in words."""
    for one in accesses(session, database):
        if not one.administrator and (one.by_name or one.writes):
            yield f"{one} could change what is in it"
    own = own_grants(session)
    if lacking := [name for name in TO_SEE if not own.may(name, database)]:
        name = as_pattern(database) if own.wildcards else database
        yield (
            f"the account lacks {', '.join(lacking)} there, so it cannot see what the server would run "
            f"(GRANT {', '.join(lacking)} ON {quoted(name)}.* TO it)"
        )
    yield from _tables(session, database)
    yield from _code(session, database)


def _tables(session: Session, database: str) -> Iterator[str]:
    there = session.execute(
        "SELECT TABLE_NAME, TABLE_TYPE, COALESCE(ENGINE, '') FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = %s AND TABLE_NAME IN %s",
        [database, tuple(TABLES)],
    )
    columns: dict[str, list[tuple[str, str, str]]] = {}
    for table, name, kind, optional, default, extra in session.execute(
        "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA "
        "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME, ORDINAL_POSITION",
        [database],
    ):
        more = "" if (optional, default, extra) == ("NO", None, "") else "more"
        columns.setdefault(str(table), []).append((str(name), _WIDTH.sub("", str(kind)), more))
    constraints: dict[str, list[str]] = {}
    for table, kind in session.execute(
        "SELECT TABLE_NAME, CONSTRAINT_TYPE FROM information_schema.TABLE_CONSTRAINTS "
        "WHERE TABLE_SCHEMA = %s",
        [database],
    ):
        constraints.setdefault(str(table), []).append(str(kind))
    for table, kind, engine in there:
        wanted = [(name, kind_of, "") for name, kind_of in TABLES[table]]
        if kind != "BASE TABLE" or str(engine).upper() != "INNODB":
            yield f"{table} is no plain table ({str(kind).lower()})"
        elif columns.get(table) != wanted or constraints.get(table) != ["PRIMARY KEY"]:
            yield f"table {table} has not the columns and the one key that Env Sync gives it"


def _code(session: Session, database: str) -> Iterator[str]:
    """What the server would run there, or because of what is written there."""
    for what, question in (
        (
            "trigger {} on {}",
            (
                "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS "
                "WHERE EVENT_OBJECT_SCHEMA = %s ORDER BY 1"
            ),
        ),
        (
            "{1} {0}",
            (
                "SELECT ROUTINE_NAME, LOWER(ROUTINE_TYPE) FROM information_schema.ROUTINES "
                "WHERE ROUTINE_SCHEMA = %s ORDER BY 1"
            ),
        ),
        ("event {}", "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s ORDER BY 1"),
        (
            "foreign key {} of {}",
            (
                "SELECT CONSTRAINT_NAME, CONSTRAINT_SCHEMA FROM information_schema.REFERENTIAL_CONSTRAINTS "
                "WHERE UNIQUE_CONSTRAINT_SCHEMA = %s ORDER BY 1"
            ),
        ),
    ):
        for row in session.execute(question, [database]):
            yield f"{what.format(*row)} is there"
