"""Transformations that are run and then undone, to be run on one incoming again and again."""

from __future__ import annotations

import pytest

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import TransformationFailed
from env_sync.domain.changed_rows import ChangedRows
from env_sync.engines.postgresql.sanitise import read_transformations, run_transformations
from env_sync.engines.postgresql.session import Row, Server
from tests.integration.postgresql.stage import Stage


class Undone(Exception):
    """Ends a transaction whose changes are not wanted."""


def run(stage: Stage, *texts: str, query: str = "SELECT 1") -> tuple[list[str], list[Row]]:
    """What is told of transformations, and what a query finds at their end; nothing of them is left."""
    files = [stage.transformation(text, f"file{number}.sql") for number, text in enumerate(texts)]
    told, found = ChangedRows(), list[Row]()
    at = Server(connection=stage.connection(), group="test", cancellation=Cancellation())

    def undo() -> None:
        found.extend(inside.execute(query))
        raise Undone

    with at.session(stage.incoming) as inside, pytest.raises(Undone):
        run_transformations(inside, read_transformations(files), undo, told)
    return list(told.take().warnings), found


def refused(stage: Stage, *texts: str) -> str:
    """Why they fail."""
    with pytest.raises(TransformationFailed) as failed:
        run(stage, *texts)
    return str(failed.value)


def holding(stage: Stage, text: str) -> Stage:
    """The same with an incoming that holds this."""
    stage.server.create_database(stage.incoming, stage.login)
    stage.query(f"SET ROLE {stage.login}; {text}", stage.incoming)
    return stage
