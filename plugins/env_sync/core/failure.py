"""How an error reads in a log, an XCom or a report: the class, and a message without any value of a row."""

from __future__ import annotations

import traceback

from env_sync.core.errors import EnvSyncError


def described(problem: Exception) -> str:
    """The error in one line. Only messages that are known to hold no values are repeated."""
    name = type(problem).__name__
    if isinstance(problem, EnvSyncError):
        return f"{name}: {problem}"
    if isinstance(problem, OSError) and problem.strerror:
        return f"{name}: {problem.strerror}{f': {problem.filename}' if problem.filename else ''}"
    # Drivers are imported where something failed, not by every task that reads the DAG file.
    import psycopg

    from env_sync.core.redact import describe_database_error

    if isinstance(problem, psycopg.Error):
        return describe_database_error(problem)
    frame = traceback.extract_tb(problem.__traceback__)[-1:]
    where = f" in {frame[0].name}, line {frame[0].lineno} of {frame[0].filename}" if frame else ""
    return f"{name}{where}; its text is withheld, since it may hold a value of a row"
