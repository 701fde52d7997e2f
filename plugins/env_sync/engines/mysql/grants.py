"""Which accounts could read a database: grants name databases, with wildcards, whether they exist or not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator

import pymysql
from attrs import frozen

from env_sync.engines.mysql.connecting import REFUSED, code_of
from env_sync.engines.mysql.patterns import covers, has_wildcards
from env_sync.engines.mysql.roles import read_roles
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
ONLY_LOOKING = frozenset({"Select", "Execute", "Show_view", "Lock_tables"})
"""With these alone nothing is changed, and nothing is made that others run."""
ADMINISTRATORS = ("Super", "Create_user", "Grant")
"""Who has one of these on everything can give itself whatever it wants."""
MIGHTY = ("ROLE_ADMIN", "SET_ANY_DEFINER", "SET_USER_ID", "BACKUP_ADMIN", "CLONE_ADMIN")
"""Privileges of MySQL 8 to take any role, to make objects as any account, or to copy the whole server."""
IS_ADMINISTRATOR = " OR ".join(f"{name}_priv = 'Y'" for name in ADMINISTRATORS)
"""Whether a row of mysql.user is of one."""
OF_THE_SERVER = ("mysql.infoschema", "mysql.session", "mysql.sys", "mariadb.sys", "rdsadmin")
"""Accounts that servers make for themselves, as whom nobody can log in but whoever runs the server."""


@frozen(kw_only=True)
class Access:
    """An account that could get at a database, by which grant, and whether it is an administrator.

    `by_name`: the grant names some databases, this one among them. `writes`: more than looking is granted.
    """

    account: str
    grant: str
    administrator: bool
    by_name: bool = False
    writes: bool = False

    def __str__(self) -> str:
        return f"{self.account} by {self.grant}"


def accesses(session: Session, database: str) -> tuple[Access, ...]:
    """Every account but the session's own that could get at a database. Raises AccessRefused, MySQLError."""
    with asking_for_grants(f"get at {database}"):
        own = own_accounts(session)
        return tuple(one for one in _found(session, database) if one.account not in own)


@contextlib.contextmanager
def asking_for_grants(what: str) -> Iterator[None]:
    """Raises AccessRefused where the block may not read them; `what` ends "who could"."""
    try:
        yield
    except pymysql.err.MySQLError as error:
        if code_of(error) in REFUSED:
            raise AccessRefused(
                "The account may not read the grants of others (tables user, db and tables_priv of mysql), "
                f"so it cannot be told who could {what}. As an administrator: GRANT SELECT ON mysql.* TO it. "
                "Live is untouched."
            ) from None
        raise


def own_accounts(session: Session) -> frozenset[str]:
    """The session's own account, the server's, and roles that none but these and administrators have.

    Raises MySQLError.
    """
    ours = str(session.value("SELECT CURRENT_USER()"))
    own = frozenset({ours, *(f"{name}@localhost" for name in OF_THE_SERVER)})
    return own | _roles_of(session, own | _administrators(session))


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
    attributes = "User_attributes" if "User_attributes" in columns else "NULL"
    for user, host, said, *flags in session.execute(
        f"SELECT User, Host, {attributes}, {select} FROM mysql.user"
    ):
        revoked = revoked_on(database, said)
        given = [
            name
            for name, flag in zip(wanted, flags, strict=True)
            if flag == "Y" and name.upper().replace("_", " ") not in revoked
        ]
        account = f"{user}@{host}"
        administrator = any(name in ADMINISTRATORS for name in given)
        if administrator:
            administrators.add(account)
        if reading := [name for name in given if name not in ADMINISTRATORS]:
            yield Access(
                account=account,
                grant=_grant(reading, "*.*"),
                administrator=administrator,
                writes=not ONLY_LOOKING.issuperset(reading),
            )
    wildcards = has_wildcards(session)
    if session.version.mysql_from(8, 0):
        for user, host, name in session.execute(
            "SELECT USER, HOST, PRIV FROM mysql.global_grants WHERE PRIV IN %s", [MIGHTY]
        ):
            yield Access(account=f"{user}@{host}", grant=f"GRANT {name} ON *.*", administrator=True)
    of_databases = (*READING, *MORE)
    select = ", ".join(f"{name}_priv" for name in of_databases)
    for user, host, name, *flags in session.execute(f"SELECT User, Host, Db, {select} FROM mysql.db"):
        if covers(str(name), database, wildcards=wildcards):
            account = f"{user}@{host}"
            given = [name for name, flag in zip(of_databases, flags, strict=True) if flag == "Y"]
            yield Access(
                account=account,
                grant=f"a grant ON `{name}`.*",
                administrator=account in administrators,
                by_name=str(name).strip("%") != "" or not wildcards,
                writes=not ONLY_LOOKING.issuperset(given),
            )
    for table in ("tables_priv", "columns_priv", "procs_priv"):
        for user, host, name in session.execute(f"SELECT DISTINCT User, Host, Db FROM mysql.{table}"):
            if str(name).casefold() == database.casefold():
                account = f"{user}@{host}"
                yield Access(
                    account=account,
                    grant=f"a grant on an object of `{name}` (mysql.{table})",
                    administrator=account in administrators,
                    by_name=True,
                )


def revoked_on(database: str, attributes: str | None) -> frozenset[str]:
    """The privileges that an account of MySQL has on everything but this database, as SQL calls them.

    `attributes` is what `mysql.user` has in `User_attributes`, a JSON object.
    """
    restrictions = json.loads(attributes).get("Restrictions", []) if attributes else []
    return frozenset(
        name for one in restrictions if one.get("Database") == database for name in one["Privileges"]
    )


def _administrators(session: Session) -> set[str]:
    # Who makes a role of MariaDB has it, too.
    rows = session.execute(f"SELECT User, Host FROM mysql.user WHERE {IS_ADMINISTRATOR}")
    return {f"{user}@{host}" for user, host in rows}


def _roles_of(session: Session, accounts: Collection[str]) -> frozenset[str]:
    """The roles that these accounts have, nobody else has, and as which nobody can log in."""
    if session.version.mariadb:
        closed = "SELECT User, Host FROM mysql.user WHERE is_role = 'Y'"
    elif session.version.mysql_from(8, 0):
        closed = "SELECT User, Host FROM mysql.user WHERE account_locked = 'Y'"
    else:
        return frozenset()
    roles = read_roles(session)
    if roles.everybody_has_some:
        return frozenset()
    having = roles.having()
    locked = {f"{user}@{host}" for user, host in session.execute(closed)}
    found: frozenset[str] = frozenset()
    while True:
        more = frozenset(
            role for role, those in having.items() if role in locked and those <= {*accounts, *found}
        )
        if more == found:
            return found
        found = more


def _grant(given: list[str], on: str) -> str:
    names = ", ".join(name.upper().replace("_", " ") for name in given[:3])
    return f"GRANT {names}{', ...' if len(given) > 3 else ''} ON {on}"
