"""Incoming as a step left it, to be made again as often as a test needs it."""

from __future__ import annotations

from attrs import evolve, frozen
from psycopg import sql

from env_sync.engines.postgresql.stamp import take_apart
from tests.integration.postgresql.stage import Stage

KEPT = "kept"


@frozen
class KeptIncoming:
    """A copy of incoming, and the comment on it."""

    stage: Stage
    comment: str

    def put_back(self) -> None:
        """Make incoming anew, as it was."""
        server, name = self.stage.server, self.stage.incoming
        server.drop_database(name)
        server.execute(f"CREATE DATABASE {name} TEMPLATE {KEPT} OWNER env_sync")
        server.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
        server.execute(comment.format(sql.Identifier(name), sql.Literal(self.comment)))


def keep_incoming(stage: Stage) -> KeptIncoming:
    """Copy it. What it says of how it was closed holds for that database alone, and is left out."""
    [(text,)] = stage.query(
        f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{stage.incoming}'",
        "postgres",
    )
    stage.server.execute(f"CREATE DATABASE {KEPT} TEMPLATE {stage.incoming}")
    return KeptIncoming(stage, evolve(take_apart(text), closed=None).text())
