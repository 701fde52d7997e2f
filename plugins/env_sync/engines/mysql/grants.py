"""Which accounts could read a database: grants name databases, with wildcards, whether they exist or not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pymysql
from attrs import frozen

from env_sync.engines.mysql.connecting import REFUSED, code_of
from env_sync.engines.mysql.session import Session
from env_sync.errors import AccessRefused, EnvSyncError

READING = (
    "Select",
    "Insert",
    "Update",
    "Delete",
    "Create",
    "Drop",
    "Alter",
    "Index",
    "References",
    "Execute",
)
"""Privileges, as the server's tables call them, with which rows can be read, changed, or guessed."""
MORE = ("Create_view", "Show_view", "Create_routine", "Alter_routine", "Trigger", "Event", "Lock_tables")
ADMINISTRATORS = ("Super", "Create_user", "Grant")
"""Who has one of these on everything can give itself whatever it wants."""
OF_THE_SERVER = ("mysql.infoschema", "mysql.session", "mysql.sys", "mariadb.sys", "rdsadmin")
"""Accounts that servers make for themselves, as whom nobody can log in but whoever runs the server."""


@frozen(kw_only=True)
class Access:
    """An account that could get at a database, by which grant, and whether it is an administrator."""

    account: str
    grant: str
    administrator: bool

    def __str__(self) -> str:
        return f"{self.account} by {self.grant}"


def accesses(session: Session, database: str) -> tuple[Access, ...]:
    """Every account but the session's own that could get at a database. Raises AccessRefused, MySQLError."""
    try:
        ours = str(session.value("SELECT CURRENT_USER()"))
        own = {f"{name}@localhost" for name in OF_THE_SERVER} | {ours}
        return tuple(one for one in _found(session, database) if one.account not in own)
    except pymysql.err.MySQLError as error:
        if code_of(error) in REFUSED:
            raise AccessRefused(
                "The account may not read the grants of others (tables user, db and tables_priv of mysql), "
                f"so it cannot be told who could read {database}. As an administrator: GRANT SELECT ON "
                "mysql.* TO it. Live is untouched."
            ) from None
        raise


def check_closed(session: Session, database: str, error: type[EnvSyncError]) -> tuple[str, ...]:
    """Raises `error` where an account that is neither ours nor an administrator could get at a database.

    Gives the administrators that could, whom nobody can keep out.
    """
    found = accesses(session, database)
    others = [one for one in found if not one.administrator]
    if others:
        raise error(
            f"Database {database} holds data that nobody else may read, but could be read by "
            f"{'; '.join(map(str, others))}. Let those grants name the databases that they are for (a _ or "
            "% in a name stands for other characters unless a backslash is before it), and run the group "
            "again. Live is untouched."
        )
    return tuple(sorted({one.account for one in found}))


def covers(pattern: str, database: str) -> bool:
    r"""Whether a grant's name covers a database: `_` is any character, `%` any text, unless after a `\`."""
    parts = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "\\" and position < len(pattern):
            parts.append(re.escape(pattern[position]))
            position += 1
        else:
            parts.append({"_": ".", "%": ".*"}.get(character) or re.escape(character))
    # Servers differ in whether case counts: what might cover it does.
    return re.fullmatch("".join(parts), database, re.IGNORECASE | re.DOTALL) is not None


def _found(session: Session, database: str) -> Iterator[Access]:
    columns = {
        name
        for (name,) in session.execute(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'mysql' AND "
            "TABLE_NAME = 'user'"
        )
    }
    wanted = [name for name in (*READING, *MORE, *ADMINISTRATORS) if f"{name}_priv" in columns]
    administrators: set[str] = set()
    select = ", ".join(f"{name}_priv" for name in wanted)
    for user, host, *flags in session.execute(f"SELECT User, Host, {select} FROM mysql.user"):
        given = [name for name, flag in zip(wanted, flags, strict=True) if flag == "Y"]
        account = f"{user}@{host}"
        administrator = any(name in ADMINISTRATORS for name in given)
        if administrator:
            administrators.add(account)
        if reading := [name for name in given if name not in ADMINISTRATORS]:
            yield Access(account=account, grant=_grant(reading, "*.*"), administrator=administrator)
    for user, host, name in session.execute("SELECT User, Host, Db FROM mysql.db"):
        if covers(str(name), database):
            account = f"{user}@{host}"
            yield Access(
                account=account, grant=f"a grant ON `{name}`.*", administrator=account in administrators
            )
    for table in ("tables_priv", "columns_priv", "procs_priv"):
        for user, host, name in session.execute(f"SELECT DISTINCT User, Host, Db FROM mysql.{table}"):
            if str(name).casefold() == database.casefold():
                account = f"{user}@{host}"
                yield Access(
                    account=account,
                    grant=f"a grant on an object of `{name}` (mysql.{table})",
                    administrator=account in administrators,
                )


def _grant(given: list[str], on: str) -> str:
    names = ", ".join(name.upper().replace("_", " ") for name in given[:3])
    return f"GRANT {names}{', ...' if len(given) > 3 else ''} ON {on}"
