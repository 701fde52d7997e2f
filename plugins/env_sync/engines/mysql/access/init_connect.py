"""What the server has each session run that begins, as whoever logged in: `init_connect`."""

from __future__ import annotations

import re

from env_sync.core.errors import AccessRefused
from env_sync.engines.base.accepted_readers import INIT_CONNECT
from env_sync.engines.mysql.access.own_grants import EVERYTHING, own_grants
from env_sync.engines.mysql.session import Server, Session

_SETTINGS = (
    *("collation_connection", "collation_database", "collation_server"),
    *(f"character_set_{of}" for of in ("client", "connection", "results", "database", "server")),
    *("time_zone", "lc_time_names", "autocommit", "sql_mode", "sql_safe_updates", "group_concat_max_len"),
    *("wait_timeout", "interactive_timeout", "net_read_timeout", "net_write_timeout"),
    *("lock_wait_timeout", "innodb_lock_wait_timeout", "max_execution_time", "max_statement_time"),
    *("tx_isolation", "transaction_isolation"),
)
_WORD = r"[\w$+-]+"
_LITERAL = r"(?:'[^'\\]*'|\"[^\"\\]*\"|[\w.+-]+|@@(?:GLOBAL\s*\.\s*|SESSION\s*\.\s*)?\w+)"
_CHARSET = rf"(?:'{_WORD}'|\"{_WORD}\"|{_WORD})"
_OF_SESSION = r"(?:(?:SESSION|LOCAL)\s+|@@(?:(?:SESSION|LOCAL)\s*\.\s*)?)?"
_ONE = "|".join(
    (
        rf"NAMES\s+{_CHARSET}(?:\s+COLLATE\s+{_CHARSET})?",
        rf"(?:CHARACTER\s+SET|CHARSET)\s+{_CHARSET}",
        rf"{_OF_SESSION}(?:{'|'.join(_SETTINGS)})\s*:?=\s*{_LITERAL}",
    )
)
_LEVEL = r"(?:READ\s+(?:UN)?COMMITTED|REPEATABLE\s+READ|SERIALIZABLE)"
_STATEMENT = (
    rf"SET\s+(?:(?:SESSION\s+|LOCAL\s+)?TRANSACTION\s+ISOLATION\s+LEVEL\s+{_LEVEL}|"
    rf"(?:{_ONE})(?:\s*,\s*(?:{_ONE}))*)"
)
HARMLESS = re.compile(rf"\s*{_STATEMENT}\s*(?:;\s*{_STATEMENT}\s*)*;?\s*", re.IGNORECASE | re.ASCII)
"""It gives settings of the session a literal, or another setting: that reads and writes nothing.

Each session of ours sets for itself what those decide of its work.
"""
SPARED = frozenset({EVERYTHING, "SUPER", "CONNECTION ADMIN", "CONNECTION_ADMIN"})
"""For an account with one of these on everything the server runs nothing."""


def check_init_connect(session: Session, server: Server) -> None:
    """Raises AccessRefused where it runs something as our account that the connection does not name.

    Raises MySQLError.
    """
    text = str(session.value("SELECT @@GLOBAL.init_connect") or "").strip()
    connection = server.connection
    if not text or HARMLESS.fullmatch(text) or text == str(connection.extra.get(INIT_CONNECT) or "").strip():
        return
    if own_grants(session).on_everything & SPARED:
        return
    raise AccessRefused(
        f"The setting init_connect of {server} is run as account {connection.login} in each session that "
        "begins: what stands there can read what is not sanitised, and write wherever Env Sync may. Look at "
        "it (SELECT @@GLOBAL.init_connect), and take it out; where it is right, write the same text into "
        f"`{INIT_CONNECT}` in the extra of connection {connection.connection_id}. Live is untouched."
    )
