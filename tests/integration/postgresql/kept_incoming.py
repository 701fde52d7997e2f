"""Incoming as a step left it, to be made again as often as a test needs it."""

from __future__ import annotations

from attrs import evolve, frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import RestoreFailed
from env_sync.engines.postgresql.access.readers import check_closed
from env_sync.engines.postgresql.metadata import Comment
from env_sync.engines.postgresql.session import Server
from tests.integration.postgresql.stage import Stage

KEPT = "kept"


@frozen
class KeptIncoming:
    """A copy of incoming, and the comment on it."""

    stage: Stage
    comment: Comment

    def put_back(self) -> None:
        """Make incoming anew, as it was."""
        server, name = self.stage.server, self.stage.incoming
        server.drop_database(name)
        server.execute(f"CREATE DATABASE {name} TEMPLATE {KEPT} OWNER env_sync")
        server.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        at = Server(connection=self.stage.connection(), group="kept", cancellation=Cancellation())
        with at.session("postgres") as session:
            closed = check_closed(session, at, name, RestoreFailed, new=True).closed
        self.stage.put_comment(name, evolve(self.comment, closed=closed))


def keep_incoming(stage: Stage) -> KeptIncoming:
    """Copy it. How it was closed holds for that database alone."""
    stage.server.execute(f"CREATE DATABASE {KEPT} TEMPLATE {stage.incoming}")
    return KeptIncoming(stage, stage.comment(stage.incoming))
