"""Whether the server counts what a session changes: by that it is seen what code of the data does."""

from __future__ import annotations

from env_sync.engines.postgresql.session import Session

WHY = "track_counts is off, so nothing tells what triggers and functions of the data change"
ADVICE = (
    "Turn it on in the configuration of the server; where it is set for one role or database, as an "
    "administrator: ALTER ROLE ... RESET track_counts, or ALTER DATABASE ... RESET track_counts."
)


def counts(session: Session) -> bool:
    """Whether it does. Raises psycopg.Error."""
    on: bool = session.value("SELECT pg_catalog.current_setting('track_counts')::boolean")
    return on
