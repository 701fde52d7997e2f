"""Who could see rows of a copy without a right on it: in the binary log, in statements, or as somebody else.

The binary log holds each row that is put into a copy, and is written all the same: replicas need what a
promote renames.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from attrs import frozen

from env_sync.engines.accepted import RAW_LOG, accepts
from env_sync.engines.mysql.grants import IS_ADMINISTRATOR, asking_for_grants, own_accounts
from env_sync.engines.mysql.patterns import covers
from env_sync.engines.mysql.session import Server, Session
from env_sync.engines.readers import SHOWN, Reader, Readers, accepted_by, advice, listed
from env_sync.errors import EnvSyncError

COLUMNS: Mapping[str, str] = {
    "Process_priv": "PROCESS",
    "File_priv": "FILE",
    "Repl_client_priv": "REPLICATION CLIENT",
    "Repl_slave_priv": "REPLICATION SLAVE",
}
"""Privileges by their columns in `mysql.user`."""
BITS: Mapping[int, str] = {1 << 30: "SET USER", 1 << 37: "BINLOG REPLAY"}
"""Those for which MariaDB has no column, from 10.5 on, by their bit in `mysql.global_priv`."""
ACTING = frozenset({"SET USER", "BINLOG REPLAY"})
"""With these an account acts as any other, or writes into any table."""
PROXY = "PROXY"
_DAY = 86_400


@frozen(kw_only=True)
class Watchers:
    """Accounts that are no administrators."""

    readers: Readers
    """Who can read the binary log, or act as Env Sync or an administrator: they stop a pull."""
    onlookers: Readers
    """Who may see rows by chance: in statements that run, in files of the server."""


def watchers(session: Session, server: Server) -> Watchers:
    """All of them. Raises AccessRefused, MySQLError."""
    accepted = accepted_by(server.connection)
    readers: list[Reader] = []
    onlookers: list[Reader] = []
    with asking_for_grants("see what is put into a copy"):
        reading = _reading(session)
        for one in _found(session):
            (readers if one.by in reading else onlookers).append(one)
    return Watchers(
        readers=Readers(found=tuple(readers), accepted=accepted),
        onlookers=Readers(found=tuple(onlookers), accepted=accepted),
    )


def check_watchers(session: Session, server: Server, error: type[EnvSyncError]) -> tuple[str, ...]:
    """Raises `error` where somebody can read what a copy holds whom the connection does not name.

    Gives a warning of those who might see some of it. Raises AccessRefused, MySQLError.
    """
    found = watchers(session, server)
    if found.readers.refused:
        raise error(f"{told_of_readers(found.readers, server, SHOWN)} Live is untouched.")
    return (told_of_onlookers(found.onlookers, server, SHOWN),) if found.onlookers.refused else ()


def told_of_readers(readers: Readers, server: Server, shown: int) -> str:
    """Who reads what is put into a copy; at most so many of them."""
    return (
        f"{listed(readers.refused, shown)} can read what is put into a copy on {server} before it is "
        f"sanitised, in the binary log or as somebody else. {advice(server.connection)} A replica's "
        "account may."
    )


def told_of_onlookers(onlookers: Readers, server: Server, shown: int) -> str:
    """Who may see some of it by chance."""
    return (
        f"{listed(onlookers.refused, shown)} may see rows on {server} before they are sanitised, in "
        f"statements or files. {advice(server.connection)}"
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
    if not _logs(session):
        return {*ACTING, PROXY}
    # There REPLICATION CLIENT is BINLOG MONITOR: SHOW BINLOG EVENTS shows statements with their rows.
    monitor = session.version.mariadb and session.version.number >= (10, 5, 0)
    return {*ACTING, PROXY, "REPLICATION SLAVE", *(["REPLICATION CLIENT"] if monitor else [])}


def _logs(session: Session) -> bool:
    return bool(session.value("SELECT @@GLOBAL.log_bin"))


def _found(session: Session) -> Iterator[Reader]:
    """Each privilege of each account that is neither ours nor an administrator."""
    known = own_accounts(session)
    rows = session.execute(f"SELECT User, Host, {IS_ADMINISTRATOR}, {', '.join(COLUMNS)} FROM mysql.user")
    known |= {f"{user}@{host}" for user, host, administrator, *_ in rows if administrator}
    found = [
        (f"{user}@{host}", name)
        for user, host, _, *flags in rows
        for flag, name in zip(flags, COLUMNS.values(), strict=True)
        if flag == "Y"
    ]
    if session.version.mariadb and session.version.number >= (10, 5, 0):
        found += [
            (f"{user}@{host}", name)
            for user, host, access in session.execute(
                "SELECT User, Host, CAST(COALESCE(JSON_VALUE(Priv, '$.access'), 0) AS UNSIGNED) "
                "FROM mysql.global_priv"
            )
            for bit, name in BITS.items()
            if int(access) & bit
        ]
    mighty = {account.rpartition("@")[0] for account in known}
    found += [
        (f"{user}@{host}", PROXY)
        for user, host, proxied in session.execute("SELECT User, Host, Proxied_user FROM mysql.proxies_priv")
        # Without a name it is anybody.
        if not proxied or any(covers(str(proxied), name) for name in mighty)
    ]
    # Who was dropped may have left some.
    there = {f"{user}@{host}" for user, host, *_ in rows}
    for account, privilege in found:
        if account in there and account not in known:
            yield Reader(name=account, by=privilege)
