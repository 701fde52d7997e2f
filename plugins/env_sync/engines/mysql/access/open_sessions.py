"""Sessions of others that go on with what was taken away from their accounts.

A server gives a session its global rights when it begins, and its rights on a database when it enters that:
REVOKE reaches later sessions alone, and a copy that is made anew is the same database to it.
"""

from __future__ import annotations

from collections.abc import Collection

from env_sync.engines.mysql.access.accepted_readers import Watcher
from env_sync.engines.mysql.session import Session

OF_NOBODY = frozenset({"system user", "event_scheduler"})
"""As whom the server itself is at work."""


def open_sessions(
    session: Session, copy: str, known: Collection[str], reading: Collection[str]
) -> list[Watcher]:
    """Those that read the binary log, or are in a copy, but for those of the accounts that are `known`.

    Of those that are `reading` by a right of theirs it is told already. Accounts are `user@host`; by which of
    them a session logged in, a server does not tell: those of one user are taken for one. Raises MySQLError.
    """
    ours = {account.rpartition("@")[0] for account in known} | OF_NOBODY
    told = ours | {account.rpartition("@")[0] for account in reading}
    found = []
    for number, user, host, database, command in session.execute(
        "SELECT ID, USER, HOST, DB, COMMAND FROM information_schema.PROCESSLIST "
        "WHERE COMMAND LIKE 'Binlog Dump%%' OR DB = %s",
        [copy],
    ):
        name = f"{user}@{str(host).rpartition(':')[0] or host}"
        if str(command).startswith("Binlog Dump"):
            if user not in told:
                found.append(Watcher(name=name, by=f"session {number}, which reads the binary log"))
        elif str(database).casefold() == copy.casefold() and user not in ours:
            found.append(Watcher(name=name, by=f"session {number} in {copy}"))
    return found
