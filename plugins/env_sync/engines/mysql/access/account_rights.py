"""What accounts may do, as far as it decides whether code that runs as them can reach out of one database."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from env_sync.engines.mysql.access.database_patterns import covers, has_wildcards
from env_sync.engines.mysql.access.roles import PUBLIC, read_roles
from env_sync.engines.mysql.session import Session

_DATABASES = ("db", "tables_priv", "columns_priv", "procs_priv")


class AccountRights:
    """The rights of all accounts of a server. An account is `user@host`, a role of MariaDB `role@`."""

    def __init__(self, session: Session) -> None:
        """Read them. Raises MySQLError."""
        self._wildcards = has_wildcards(session)
        self._databases = {str(name) for (name,) in session.execute("SHOW DATABASES")}
        self._ours = str(session.value("SELECT CURRENT_USER()"))
        self._everywhere = _everywhere(session)
        self._on: dict[str, set[str]] = {}
        for table in _DATABASES:
            for user, host, name in session.execute(f"SELECT DISTINCT User, Host, Db FROM mysql.{table}"):
                self._on.setdefault(f"{user}@{host}", set()).add(str(name))
        self._roles = read_roles(session)
        self._proxies = {
            f"{user}@{host}"
            for user, host in session.execute(
                "SELECT User, Host FROM mysql.proxies_priv WHERE Proxied_user <> ''"
            )
        }

    def only_on(self, account: str, database: str) -> bool:
        """Whether there is such an account, another than ours, whose rights are all on this one database."""
        if account not in self._everywhere or account == self._ours or self._roles.mandatory is None:
            return False
        return all(
            not self._everywhere.get(each, True)
            and each not in self._proxies
            and all(self._is(name, database) for name in self._on.get(each, ()))
            for each in self._with_roles(account)
        )

    def _is(self, pattern: str, database: str) -> bool:
        """Whether a grant's name is of this database and no other, of those that are there."""
        if self._wildcards and "%" in pattern.replace("\\%", ""):
            return False
        covered = {each for each in self._databases if covers(pattern, each, wildcards=self._wildcards)}
        return covers(pattern, database, wildcards=self._wildcards) and covered <= {database}

    def _with_roles(self, account: str) -> Collection[str]:
        # What everybody has, these have as well.
        # The server passes over a mandatory role that is not there.
        mandatory = self._roles.mandatory or frozenset()
        return self._roles.all_of(account, *(mandatory & self._everywhere.keys())) | {
            each for each in self._everywhere if each.partition("@")[0] == PUBLIC
        }


def _everywhere(session: Session) -> Mapping[str, bool]:
    """Each account, and whether it has any right on everything."""
    columns = [
        str(name)
        for (name,) in session.execute(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'mysql' "
            "AND TABLE_NAME = 'user' AND COLUMN_NAME LIKE '%\\_priv'"
        )
    ]
    mighty = " OR ".join(f"{name} = 'Y'" for name in columns)
    found = {
        f"{user}@{host}": bool(any_of_them)
        for user, host, any_of_them in session.execute(f"SELECT User, Host, {mighty} FROM mysql.user")
    }
    if session.version.mysql_from(8, 0):
        more = session.execute("SELECT DISTINCT USER, HOST FROM mysql.global_grants")
    elif session.version.mariadb and session.version.number >= (10, 5, 0):
        # What it has no column for.
        more = session.execute(
            "SELECT User, Host FROM mysql.global_priv WHERE COALESCE(JSON_VALUE(Priv, '$.access'), 0) <> 0"
        )
    else:
        more = []
    return found | {f"{user}@{host}": True for user, host in more}
