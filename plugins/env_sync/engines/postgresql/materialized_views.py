"""Fills materialised views anew: the restore filled them with raw rows, which no transformation changes."""

from __future__ import annotations

import psycopg
from psycopg import errors

from env_sync.core.errors import TransformationFailed
from env_sync.core.redact import describe_database_error
from env_sync.engines.postgresql.session import Session, server_is_gone

_POPULATED = (
    "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    # Most were made before those that read them.
    "WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid"
)


def refresh_materialized_views(session: Session) -> None:
    """Within the transaction of the transformations, at its end: fill again each view that holds rows.

    All are emptied first, so that none is filled from one that is still raw: what reads an empty one fails
    and is tried after it, also where a function hides that from the catalogs. Raises TransformationFailed,
    and psycopg.Error where the server went away.
    """
    waiting = [name for (name,) in session.execute(_POPULATED)]
    for name in waiting:
        if (error := _refresh(session, f"{name} WITH NO DATA")) is not None:
            raise _failed(name, error)
    while waiting:
        later: list[str] = []
        for name in waiting:
            error = _refresh(session, name)
            if isinstance(error, errors.ObjectNotInPrerequisiteState):
                later.append(name)
                if len(later) == len(waiting):
                    raise _failed(name, error)
            elif error is not None:
                raise _failed(name, error)
        waiting = later


def _refresh(session: Session, what: str) -> psycopg.Error | None:
    """Refresh one view; what the server says against it, which changes nothing else."""
    session.execute("SAVEPOINT refresh")
    try:
        session.execute(f"REFRESH MATERIALIZED VIEW {what}")
    except psycopg.Error as error:
        if server_is_gone(error):
            raise
        session.execute("ROLLBACK TO SAVEPOINT refresh")
        return error
    session.execute("RELEASE SAVEPOINT refresh")
    return None


def _failed(name: str, error: psycopg.Error) -> TransformationFailed:
    return TransformationFailed(
        f"Materialized view {name} could not be filled with what the transformations left: "
        f"{describe_database_error(error)}. Correct the transformations: they may drop it, or empty it and "
        "what reads it (REFRESH MATERIALIZED VIEW ... WITH NO DATA). Incoming is dropped, live is untouched."
    )
