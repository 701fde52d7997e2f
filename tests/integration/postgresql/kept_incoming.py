"""Incoming as a step left it, to be made again as often as a test needs it."""

from __future__ import annotations

from attrs import evolve, frozen

from env_sync.engines.postgresql.stamp import Comment
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
        self.stage.put_comment(name, self.comment)


def keep_incoming(stage: Stage) -> KeptIncoming:
    """Copy it. What it says of how it was closed holds for that database alone, and is left out."""
    stage.server.execute(f"CREATE DATABASE {KEPT} TEMPLATE {stage.incoming}")
    return KeptIncoming(stage, evolve(stage.comment(stage.incoming), closed=None))
