"""Privileges with which an account sees rows of a copy without a right on it, or makes itself somebody else.

Rights on the copy itself are those of `readers.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from env_sync.engines.mysql.access.database_patterns import covers, has_wildcards
from env_sync.engines.mysql.access.readers import Known, revoked_on
from env_sync.engines.mysql.session import Row, Session

COLUMNS: Mapping[str, str] = {
    "Process_priv": "PROCESS",
    "File_priv": "FILE",
    "Repl_client_priv": "REPLICATION CLIENT",
    "Repl_slave_priv": "REPLICATION SLAVE",
}
"""Privileges by their columns in `mysql.user`."""
BITS: Mapping[int, str] = {
    1 << 30: "SET USER",
    1 << 32: "CONNECTION ADMIN",
    1 << 34: "REPLICATION SLAVE ADMIN",
    1 << 37: "BINLOG REPLAY",
}
"""Those for which MariaDB has no column, from 10.5 on, by their bit in `mysql.global_priv`."""
DYNAMIC = (
    *("SET_ANY_DEFINER", "SET_USER_ID", "ROLE_ADMIN", "SYSTEM_VARIABLES_ADMIN", "BINLOG_ADMIN"),
    *("REPLICATION_SLAVE_ADMIN", "BACKUP_ADMIN", "CLONE_ADMIN", "AUDIT_ADMIN"),
)
"""Those of MySQL from 8.0 on, in `mysql.global_grants`. SET_USER_ID is SET_ANY_DEFINER up to 8.3."""
CLONING = frozenset({"BACKUP_ADMIN", "CLONE_ADMIN"})
"""They copy the whole server, or replace it, where the plugin is loaded that does it."""
PROXY = "PROXY"
OUR_ROLE = "the sync's account as a role"
WRITING = "writing the tables of grants"
ACTING = frozenset(
    {
        # Make objects as any account, or take any role.
        *("SET USER", "SET_ANY_DEFINER", "SET_USER_ID", "ROLE_ADMIN"),
        # Set `init_connect`, which the server runs as whoever logs in.
        *("CONNECTION ADMIN", "SYSTEM_VARIABLES_ADMIN"),
        # Write into any table: by events of a log, or from a server of their own.
        *("BINLOG REPLAY", "BINLOG_ADMIN", "REPLICATION SLAVE ADMIN", "REPLICATION_SLAVE_ADMIN"),
        *CLONING,
        *(PROXY, OUR_ROLE, WRITING),
    }
)
"""With these an account acts as any other, or writes into any table."""
CHANGES = ("Insert", "Update", "Alter")
"""What gives rights, or code that runs as somebody else, on the tables of the database `mysql` below."""
DECIDING = frozenset(
    {
        *("user", "global_priv", "global_grants", "db", "tables_priv", "columns_priv", "procs_priv"),
        *("proxies_priv", "role_edges", "roles_mapping", "default_roles"),
        *("proc", "event", "func", "plugin", "component"),
        # Of whom the server is a replica.
        *("slave_master_info", "servers", "replication_asynchronous_connection_failover"),
        "replication_asynchronous_connection_failover_managed",
    }
)
"""Tables that say who may do what, or which code the server runs."""


@frozen
class Right:
    """A privilege that an account has, and how it is told: `by` a role, or as whom it may log in.

    `role` is the one by which it has it, if any.
    """

    account: str
    privilege: str
    by: str
    role: str = ""


def privileges(session: Session, known: Known, copy: str) -> tuple[Right, ...]:
    """Each account, and each such privilege that it has, but for those that make it an administrator.

    Of a role, who has it: to be told of a role by its name would accept whoever gets it. Whose right to write
    the tables of grants covers `copy` as well is not told of that: see `readers.py`. Raises MySQLError.
    """
    rows = session.execute(f"SELECT User, Host, {', '.join(COLUMNS)} FROM mysql.user")
    proxies = session.execute("SELECT User, Host, Proxied_user FROM mysql.proxies_priv")
    found = [
        *_of_columns(rows),
        *_of_mariadb(session),
        *_of_mysql(session),
        *_members(rows, known),
        *_proxies(proxies, known),
        *_writers(session, copy),
    ]
    # Who was dropped may have left some.
    there = {f"{user}@{host}" for user, host, *_ in rows}
    found = [(account, name) for account, name in found if account in there]
    cloning = any(name in CLONING for _, name in found) and bool(
        session.execute(
            "SELECT 1 FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone' AND "
            "PLUGIN_STATUS = 'ACTIVE'"
        )
    )
    found = [(account, name) for account, name in found if cloning or name not in CLONING]
    rights = [right for account, name in found for right in _of_whom(account, name, known)]
    # Who logs in for another does so where that one cannot, as a role or a locked account.
    others = [*rights, *(Right(account, name, name) for account, name in found)]
    # As one of those one is told already.
    others = [right for right in others if right.account not in known.own | known.administrators]
    rights += [right for right in _on_others(proxies, others) if right.account in there]
    return tuple(dict.fromkeys(rights))


def _of_whom(account: str, name: str, known: Known) -> Iterator[Right]:
    """The account itself where somebody can log in as it, or everybody has it; and who has it as a role."""
    if account not in known.closed or known.roles.is_everybodys(account):
        yield Right(account, name, name)
    for holder in known.roles.of:
        if holder != account and holder not in known.closed and account in known.roles.all_of(holder):
            # Whoever has ours has it by whatever way.
            if name == OUR_ROLE:
                yield Right(holder, name, name)
            else:
                yield Right(holder, name, f"{name} of role {account}", account)


def _on_others(proxies: list[Row], rights: Sequence[Right]) -> Iterator[Right]:
    """Who may log in as one of those."""
    for user, host, proxied in proxies:
        for right in rights:
            if proxied and covers(str(proxied), right.account.rpartition("@")[0]):
                yield Right(f"{user}@{host}", right.privilege, f"{PROXY} on {right.account}")


def _of_columns(rows: list[Row]) -> Iterator[tuple[str, str]]:
    for user, host, *flags in rows:
        for flag, name in zip(flags, COLUMNS.values(), strict=True):
            if flag == "Y":
                yield f"{user}@{host}", name


def _of_mariadb(session: Session) -> Iterator[tuple[str, str]]:
    if not session.version.mariadb or session.version.number < (10, 5, 0):
        return
    for user, host, access in session.execute(
        "SELECT User, Host, CAST(COALESCE(JSON_VALUE(Priv, '$.access'), 0) AS UNSIGNED) "
        "FROM mysql.global_priv"
    ):
        for bit, name in BITS.items():
            if int(access) & bit:
                yield f"{user}@{host}", name


def _of_mysql(session: Session) -> Iterator[tuple[str, str]]:
    if not session.version.mysql_from(8, 0):
        return
    for user, host, name in session.execute("SELECT USER, HOST, PRIV FROM mysql.global_grants"):
        if str(name).upper() in DYNAMIC:
            yield f"{user}@{host}", str(name).upper()


def _members(rows: list[Row], known: Known) -> Iterator[tuple[str, str]]:
    """To MySQL any account is a role that may be granted, ours as well."""
    mandatory = known.roles.mandatory or ()
    for user, host, *_ in rows:
        account = f"{user}@{host}"
        if account != known.ours and known.ours in known.roles.all_of(account, *mandatory):
            yield account, OUR_ROLE


def _proxies(proxies: list[Row], known: Known) -> Iterator[tuple[str, str]]:
    mighty = {account.rpartition("@")[0] for account in known.own | known.administrators}
    for user, host, proxied in proxies:
        # Without a name it is anybody.
        if not proxied or any(covers(str(proxied), name) for name in mighty):
            yield f"{user}@{host}", PROXY


def _writers(session: Session, copy: str) -> Iterator[tuple[str, str]]:
    """Who may change the tables of the database `mysql` that decide."""
    changes = ", ".join(f"{name}_priv" for name in CHANGES)
    changing = " OR ".join(f"{name}_priv = 'Y'" for name in CHANGES)
    wildcards = has_wildcards(session)
    if not wildcards:
        # It has partial revokes: a right on everything that was taken away from the copy is still on `mysql`.
        for user, host, said, *flags in session.execute(
            f"SELECT User, Host, User_attributes, {changes} FROM mysql.user WHERE User_attributes IS NOT NULL"
        ):
            given = {name.upper() for name, flag in zip(CHANGES, flags, strict=True) if flag == "Y"}
            if given & revoked_on(copy, said) - revoked_on("mysql", said):
                yield f"{user}@{host}", WRITING
    for user, host, name in session.execute(f"SELECT User, Host, Db FROM mysql.db WHERE {changing}"):
        covered = (covers(str(name), each, wildcards=wildcards) for each in ("mysql", copy))
        if list(covered) == [True, False]:
            yield f"{user}@{host}", WRITING
    for user, host, table, on_table, on_columns in session.execute(
        "SELECT User, Host, Table_name, Table_priv, Column_priv FROM mysql.tables_priv WHERE Db = 'mysql'"
    ):
        given = {*str(on_table or "").split(","), *str(on_columns or "").split(",")}
        if str(table).lower() in DECIDING and not given.isdisjoint(CHANGES):
            yield f"{user}@{host}", WRITING
