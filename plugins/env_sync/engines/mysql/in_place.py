"""Transformations of live itself: in one transaction, or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from env_sync.core.errors import TransformationFailed
from env_sync.domain.changed_rows import ChangedRows
from env_sync.engines.mysql.client_settings import read_beginning, set_as_client
from env_sync.engines.mysql.existing_triggers import read_standing
from env_sync.engines.mysql.lexer import meaning
from env_sync.engines.mysql.sanitise import run_script
from env_sync.engines.mysql.session import Server, Session
from env_sync.engines.mysql.transformation import LIVE, Script, refused

SHOWN = 5
"""How many names a message lists."""
ALLOWED = frozenset(
    {
        *("SELECT", "WITH", "INSERT", "REPLACE", "UPDATE", "DELETE", "SET", "DO"),
        *("SAVEPOINT", "ROLLBACK", "RELEASE"),
    }
)
"""What can be rolled back. Anything else may commit: definitions do, and procedures can."""
WITH_TRANSACTIONS = ("InnoDB", "ROCKSDB", "TokuDB", "ndbcluster", "SEQUENCE")


def transform_in_place(
    server: Server, database: str, scripts: Sequence[Script], changed_rows: ChangedRows
) -> None:
    """Run transformations on live, all of them or none. Raises TransformationFailed, MySQLError."""
    for script in scripts:
        refuse_commits(script)
    with server.session(database) as session:
        refuse_tables_without_transactions(session, database)
        began = read_beginning(session)
        set_as_client(session, began, LIVE.aftermath)
        standing = read_standing(session, database)
        session.execute("START TRANSACTION")
        for script in scripts:
            set_as_client(session, began, LIVE.aftermath)
            # Closing the session rolls back.
            run_script(session, script, LIVE, changed_rows, standing)
        session.execute("COMMIT")


def refuse_commits(script: Script) -> None:
    """Raises TransformationFailed, with the line, where a statement would commit what is before it."""
    for step in script.steps:
        parts = meaning(step.text.encode())
        words = [one.text.upper().decode() for one in parts if one.kind == "word"]
        allowed = words[:1] and words[0] in ALLOWED
        temporary = words[1:2] == ["TEMPORARY"] and words[0] in ("CREATE", "DROP")
        settings = words[:2] == ["SET", "STATEMENT"] or (
            words[:1] == ["SET"] and any("AUTOCOMMIT" in word for word in words)
        )
        # What only some versions run, and what is more than one statement, may be anything.
        unclear = any(one.kind == "opener" or one.text == b";" for one in parts)
        if not (allowed or temporary) or settings or unclear:
            raise refused(
                script.name,
                step.line,
                f"{' '.join(words[:2])} may commit, so that live could stay half transformed: in place only "
                "statements on rows are run. Leave out pre_dump_in_place, and it runs on a copy",
                LIVE,
            )


def refuse_tables_without_transactions(session: Session, database: str) -> None:
    """Raises TransformationFailed where rows could be changed that a rollback does not bring back."""
    loose = [
        str(name)
        for name, engine in session.execute(
            "SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
            "AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1",
            [database],
        )
        if str(engine).casefold() not in {each.casefold() for each in WITH_TRANSACTIONS}
    ]
    if loose:
        more = f" and {len(loose) - SHOWN} more" if len(loose) > SHOWN else ""
        raise TransformationFailed(
            f"Live cannot be transformed in place: a rollback does not bring back rows of "
            f"{', '.join(loose[:SHOWN])}{more}, whose engine has no transactions. {LIVE.aftermath}. Make "
            "them InnoDB, or leave out pre_dump_in_place: then a copy is transformed."
        )
