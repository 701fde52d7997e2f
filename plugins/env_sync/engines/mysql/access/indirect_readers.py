"""Who could see rows of a copy without a right on it: in the binary log, in statements, or as somebody else.

The binary log holds each row that is put into a copy, and is written all the same: replicas need what a
promote renames.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from attrs import frozen

from env_sync.core.errors import EnvSyncError
from env_sync.engines.base.accepted_readers import RAW_LOG, accepts
from env_sync.engines.base.readers import ACCEPTED, SHOWN, listed
from env_sync.engines.mysql.access.accepted_readers import Watcher, Watching, entries, read_accepted
from env_sync.engines.mysql.access.init_connect import check_init_connect
from env_sync.engines.mysql.access.open_sessions import open_sessions
from env_sync.engines.mysql.access.privileges import ACTING, privileges
from env_sync.engines.mysql.access.readers import asking_for_grants, known_accounts
from env_sync.engines.mysql.session import Server, Session

EVERYBODY = "everybody"
_DAY = 86_400


@frozen(kw_only=True)
class Watchers:
    """Accounts that are no administrators."""

    readers: Watching
    """Who can read the binary log, or act as Env Sync or an administrator: they stop a pull."""
    onlookers: Watching
    """Who may see rows by chance: in statements that run, in files of the server."""
    sees_sessions: bool
    """Whether the account is told of the sessions of others."""


def watchers(session: Session, server: Server, copy: str) -> Watchers:
    """All of them for a copy. Raises AccessRefused, MySQLError."""
    accepted = read_accepted(server.connection)
    readers: list[Watcher] = []
    onlookers: list[Watcher] = []
    with asking_for_grants("see what is put into a copy"):
        reading, known = _reading(session), known_accounts(session)
        rights = privileges(session, known, copy)
        for right in rights:
            if right.account not in known.own | known.administrators:
                found = readers if right.privilege in reading else onlookers
                found.append(
                    Watcher(name=right.account, by=right.by, privilege=right.privilege, role=right.role)
                )
        for role in sorted(known.everybodys):
            by = f"role {role}, which makes administrators"
            readers.append(Watcher(name=EVERYBODY, by=by, privilege=f"role {role}"))
        may_be = {*known.own, *known.administrators, *accepted.names}
        readers += open_sessions(session, copy, may_be, [one.name for one in readers])
    return Watchers(
        readers=Watching(found=tuple(readers), allowed=accepted),
        onlookers=Watching(found=tuple(onlookers), allowed=accepted),
        sees_sessions=any(one.account == known.ours and one.privilege == "PROCESS" for one in rights),
    )


def check_watchers(session: Session, server: Server, copy: str, error: type[EnvSyncError]) -> tuple[str, ...]:
    """Raises `error` where somebody can read what a copy holds whom the connection does not name.

    Gives a warning of those who might see some of it. Raises AccessRefused, also where the server runs
    something as our account; MySQLError.
    """
    check_init_connect(session, server)
    found = watchers(session, server, copy)
    if found.readers.refused:
        raise error(f"{told_of_readers(found.readers, server, SHOWN)} Live is untouched.")
    return (
        *((told_of_onlookers(found.onlookers, server, SHOWN),) if found.onlookers.refused else ()),
        *found.readers.wide(server.connection),
        *found.onlookers.wide(server.connection),
        *(() if found.sees_sessions else (told_of_sessions(server),)),
    )


def told_of_readers(readers: Watching, server: Server, shown: int) -> str:
    """Who reads what is put into a copy; at most so many of them."""
    return (
        f"{listed(readers.refused, shown)} can read what is put into a copy on {server} before it is "
        f"sanitised, in the binary log or as somebody else. {_advice(readers, server)} A replica's account "
        "may. End their sessions as well (KILL): one goes on with what it had when it began."
    )


def told_of_sessions(server: Server) -> str:
    """That nobody knows whether a session is open that goes on with a right that was taken away."""
    return (
        f"Account {server.connection.login} lacks PROCESS on {server}, so it cannot be told whether somebody "
        "is in a copy, or reads the binary log, whose right was taken away. GRANT PROCESS ON *.* TO it."
    )


def told_of_onlookers(onlookers: Watching, server: Server, shown: int) -> str:
    """Who may see some of it by chance."""
    return (
        f"{listed(onlookers.refused, shown)} may see rows on {server} before they are sanitised, in "
        f"statements or files. {_advice(onlookers, server)}"
    )


def _advice(watching: Watching, server: Server) -> str:
    """What to do about those who are refused."""
    if not (wanted := entries(watching.refused)):
        return "End their sessions."
    return (
        f"Take that from them; or, where one may read it as it is above, write {wanted} into `{ACCEPTED}` in "
        f"the extra of connection {server.connection.connection_id}."
    )


def raw_log(session: Session, server: Server) -> tuple[str, ...]:
    """A warning where the binary log keeps raw rows, and for how long, unless the connection accepts it."""
    if accepts(server.connection, RAW_LOG) or not _logs(session):
        return ()
    rows = session.execute(
        "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('binlog_expire_logs_seconds', 'expire_logs_days')"
    )
    said = {str(name).lower(): float(value) for name, value in rows}
    seconds = said.get("binlog_expire_logs_seconds") or said.get("expire_logs_days", 0) * _DAY
    kept = f"for {seconds / _DAY:g} days" if seconds else "until somebody purges it"
    warning = (
        f"The binary log of {server} keeps the rows as they were before they were sanitised, {kept}, and so "
        "do its replicas' logs and backups. Keep it no longer than replicas need it; where that is known, "
        f'say "{RAW_LOG}": true in the extra of connection {server.connection.connection_id}.'
    )
    return (warning,)


def _reading(session: Session) -> Collection[str]:
    """With which privileges somebody stops a pull."""
    acting = {*ACTING, *(["FILE"] if _writes_its_files(session) else [])}
    if not _logs(session):
        return acting
    # There REPLICATION CLIENT is BINLOG MONITOR: SHOW BINLOG EVENTS shows statements with their rows.
    monitor = session.version.mariadb and session.version.number >= (10, 5, 0)
    return {*acting, "REPLICATION SLAVE", *(["REPLICATION CLIENT"] if monitor else [])}


def _writes_its_files(session: Session) -> bool:
    """Whether who has FILE may write into the server's own folder, such as a trigger of any definer.

    Without a value MariaDB has no limit, and MySQL reads and writes no file at all:
    https://mariadb.com/docs/server/server-management/variables-and-modes/server-system-variables,
    https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html#sysvar_secure_file_priv.
    """
    [(only, folder)] = session.execute("SELECT @@GLOBAL.secure_file_priv, @@GLOBAL.datadir")
    if only is None:
        return session.version.mariadb
    return not only or Path(folder).is_relative_to(only)


def _logs(session: Session) -> bool:
    return bool(session.value("SELECT @@GLOBAL.log_bin"))
