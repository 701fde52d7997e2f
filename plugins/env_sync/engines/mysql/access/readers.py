"""Which accounts could read a database: grants name databases, with wildcards, whether they exist or not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator

import pymysql
from attrs import frozen

from env_sync.core.errors import AccessRefused, EnvSyncError
from env_sync.engines.mysql.access.database_patterns import covers, has_wildcards
from env_sync.engines.mysql.access.roles import PUBLIC, Roles, read_roles
from env_sync.engines.mysql.client import REFUSED, code_of
from env_sync.engines.mysql.session import Session

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
ADMINISTRATORS = ("Super", "Create_user")
"""Who has one of these on everything can give itself whatever it wants."""
PASSING_ON = "Grant"
WRITING_GRANTS = ("Insert", "Update")
"""With one of these on everything, the tables of grants among it, who may pass on rights runs the server as
well. GRANT OPTION alone passes on what one has."""
ACCEPTED = "accepted_administrators"
"""In a connection's extra: the names of accounts that run the server without such rights."""
GIVES = "rights that it can give itself"
OF_THE_SERVER = (
    *(f"{name}@localhost" for name in ("mysql.infoschema", "mysql.session", "mysql.sys", "mariadb.sys")),
    *("rdsadmin@localhost", "rdsrepladmin@%", "cloudsqlreplica@%"),
)
"""Accounts that servers make for themselves, as whom nobody can log in but whoever runs the server."""


@frozen(kw_only=True)
class Known:
    """Accounts that nobody can keep out."""

    ours: str
    """The session's own."""
    own: frozenset[str]
    """That, the server's, and roles that none but these and administrators have."""
    administrators: frozenset[str]
    """Who is one, itself or by a role."""
    closed: frozenset[str]
    """As whom nobody can log in: roles, and accounts that are locked."""
    roles: Roles
    everybodys: frozenset[str]
    """Roles that everybody has, and that make an administrator."""


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
        known = known_accounts(session)
        found = [
            one for one in _found(session, database, known.administrators) if one.account not in known.own
        ]
    # Who has no right yet gives itself one.
    others = known.administrators - known.own - known.closed - {one.account for one in found}
    return (*found, *(Access(account=one, grant=GIVES, administrator=True) for one in sorted(others)))


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


def known_accounts(session: Session) -> Known:
    """Read them. Raises MySQLError."""
    ours = str(session.value("SELECT CURRENT_USER()"))
    mighty = frozenset(_mighty(session))
    roles, closed = read_roles(session), _closed(session)
    administrators = frozenset({*mighty, *(one for one in roles.of if roles.all_of(one) & mighty)})
    # A role is no account: who is given it later would be accepted with it.
    administrators |= session.accepted_names(ACCEPTED) - closed - roles.having().keys()
    own = frozenset({ours, *OF_THE_SERVER})
    # Who makes a role of MariaDB has it, too.
    own |= _roles_of(roles, closed, own | administrators)
    return Known(
        ours=ours,
        own=own,
        administrators=administrators,
        closed=closed,
        roles=roles,
        everybodys=_everybodys(roles, mighty, closed) - own,
    )


def _everybodys(roles: Roles, mighty: Collection[str], closed: Collection[str]) -> frozenset[str]:
    """Which of the roles that everybody has, as far as that can be told, make an administrator."""
    if roles.mandatory is None:
        may_be = frozenset({*closed, *roles.having()})
    else:
        may_be = roles.mandatory | {f"{PUBLIC}@"}
    return frozenset(one for one in may_be if not roles.all_of(one).isdisjoint(mighty))


def _mighty(session: Session) -> Iterator[str]:
    """Who is an administrator by what it has itself."""
    attributes = "User_attributes" if session.version.mysql_from(8, 0) else "NULL"
    columns = ", ".join(f"{name}_priv" for name in (*ADMINISTRATORS, PASSING_ON, *WRITING_GRANTS))
    is_one = " OR ".join(f"{name}_priv = 'Y'" for name in (*ADMINISTRATORS, PASSING_ON))
    for user, host, said, *flags in session.execute(
        f"SELECT User, Host, {attributes}, {columns} FROM mysql.user WHERE {is_one}"
    ):
        has = {
            name
            for name, flag in zip((*ADMINISTRATORS, PASSING_ON, *WRITING_GRANTS), flags, strict=True)
            if flag == "Y"
        }
        written = {name for name in WRITING_GRANTS if name.upper() not in revoked_on("mysql", said)}
        if has.intersection(ADMINISTRATORS) or (PASSING_ON in has and has & written):
            yield f"{user}@{host}"


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
            "% in a name stands for other characters unless a backslash is before it), end their sessions, "
            "which may keep a right that is taken away, and run the group again. Where an account runs the "
            f"server, write its name into `{ACCEPTED}` of the connection's extra. Live is untouched."
        )
    return tuple(sorted({one.account for one in found}))


def _found(session: Session, database: str, administrators: Collection[str]) -> Iterator[Access]:
    columns = {
        name
        for (name,) in session.execute(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'mysql' AND "
            "TABLE_NAME = 'user'"
        )
    }
    wanted = [name for name in (*READING, *MORE) if f"{name}_priv" in columns]
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
        if given:
            yield Access(
                account=account,
                grant=_grant(given, "*.*"),
                administrator=account in administrators,
                writes=not ONLY_LOOKING.issuperset(given),
            )
    wildcards = has_wildcards(session)
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


def _closed(session: Session) -> frozenset[str]:
    if session.version.mariadb:
        closed = "SELECT User, Host FROM mysql.user WHERE is_role = 'Y'"
    elif session.version.mysql_from(8, 0):
        closed = "SELECT User, Host FROM mysql.user WHERE account_locked = 'Y'"
    else:
        return frozenset()
    return frozenset(f"{user}@{host}" for user, host in session.execute(closed))


def _roles_of(roles: Roles, closed: Collection[str], accounts: Collection[str]) -> frozenset[str]:
    """The roles that these accounts have, nobody else has, and as which nobody can log in."""
    if roles.mandatory is None:
        return frozenset()
    everybodys = roles.all_of(*roles.mandatory)
    having = roles.having()
    found: frozenset[str] = frozenset()
    while True:
        more = frozenset(
            role
            for role, those in having.items()
            if role in closed and role not in everybodys and those <= {*accounts, *found}
        )
        if more == found:
            return found
        found = more


def _grant(given: list[str], on: str) -> str:
    names = ", ".join(name.upper().replace("_", " ") for name in given[:3])
    return f"GRANT {names}{', ...' if len(given) > 3 else ''} ON {on}"
