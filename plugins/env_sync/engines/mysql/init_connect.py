"""What the server has each session run that begins, as whoever logged in: `init_connect`."""

from __future__ import annotations

import re

from env_sync.engines.accepted import INIT_CONNECT
from env_sync.engines.mysql.own_grants import EVERYTHING, own_grants
from env_sync.engines.mysql.session import Server, Session
from env_sync.errors import AccessRefused

HARMLESS = re.compile(r"\s*SET\s+NAMES\s+'?\w+'?(\s+COLLATE\s+'?\w+'?)?\s*;?\s*", re.IGNORECASE | re.ASCII)
"""It reads and writes nothing, and each session of ours says the same for itself."""
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
