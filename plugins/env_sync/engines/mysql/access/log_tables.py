"""Logs of statements that the server keeps in tables, where whoever may read those finds rows by SQL.

On MariaDB a session keeps its statements out of the slow log. Elsewhere, and out of the general log, only an
administrator may.
"""

from __future__ import annotations

from env_sync.engines.base.accepted_readers import accepts
from env_sync.engines.mysql.session import Server, Session

LOG_TABLES = "accept_log_tables"
"""In a connection's extra: that tables of the server's own keep statements with raw rows."""


def log_tables(session: Session, server: Server) -> tuple[str, ...]:
    """A warning where such a log is a table, unless the connection accepts it. Raises MySQLError."""
    if accepts(server.connection, LOG_TABLES):
        return ()
    [[general, slow, tables]] = session.execute(
        "SELECT @@GLOBAL.general_log, @@GLOBAL.slow_query_log, FIND_IN_SET('TABLE', @@GLOBAL.log_output)"
    )
    logs = [
        f"mysql.{name}"
        for name, on in (("general_log", general), ("slow_log", slow and not session.version.mariadb))
        if on and tables
    ]
    if not logs:
        return ()
    found = " and ".join(logs)
    warning = (
        f"{server} logs statements into {found}, and so rows of a dump as they were before they were "
        "sanitised: whoever may read that reads them, also later. Set log_output to FILE, or turn the log "
        f"off, and TRUNCATE {found}; where nobody reads it who may not, say "
        f'"{LOG_TABLES}": true in the extra of connection {server.connection.connection_id}.'
    )
    return (warning,)
