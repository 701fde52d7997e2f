"""Transformations of live itself: in one transaction, or not at all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from env_sync.core.errors import TransformationFailed
from env_sync.domain.changed_rows import ChangedRows
from env_sync.engines.postgresql.sanitise import Read, run_transformations
from env_sync.engines.postgresql.session import Server
from env_sync.engines.postgresql.transformation import Script, tokens

AFTERMATH = "Live is as it was, and no dump is uploaded."
SETTINGS = ("SET lock_timeout = '10min'",)
"""How long a statement waits for what an application has locked before it fails, and lets all go."""
_ENDING = ("COMMIT", "END", "ABORT", "ROLLBACK")


def transform_in_place(
    server: Server, database: str, transformations: Sequence[Read], changed_rows: ChangedRows
) -> None:
    """Run transformations on live, all of them or none. Raises TransformationFailed, psycopg.Error."""
    for one in transformations:
        refuse_end_of_transaction(one.script)
    with server.session(database) as session:
        run_transformations(
            session,
            transformations,
            lambda: None,
            changed_rows,
            settings=SETTINGS,
            aftermath=AFTERMATH,
        )


def refuse_end_of_transaction(script: Script) -> None:
    """Raises TransformationFailed where a statement would end the transaction, as live would tell too late.

    In a function or a DO block the server itself refuses that.
    """
    for begin, text in script.parts():
        words = [token.text.upper() for token in itertools.islice(tokens(text), 3)]
        ends = words[:1] and words[0] in _ENDING and "TO" not in words
        if ends or words[:2] == ["PREPARE", "TRANSACTION"]:
            raise TransformationFailed(
                f"Transformation {script.file.name}, line {script.line_at(begin)}: {words[0]} would end the "
                "transaction in which it runs on live, so that live could stay half transformed. Take it out "
                "of the file; nothing of it was run."
            )
