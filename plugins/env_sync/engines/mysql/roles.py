"""Which roles accounts have, themselves or by other roles."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from env_sync.engines.mysql.session import Session


@frozen(kw_only=True)
class Roles:
    """The roles of a server's accounts. An account is `user@host`, a role of MariaDB `role@`."""

    of: Mapping[str, frozenset[str]]
    """What was granted to each account, and to each role."""
    everybody_has_some: bool
    """Whether the server gives roles to all accounts, whom nobody granted them: `mandatory_roles`."""

    def all_of(self, account: str) -> frozenset[str]:
        """The account itself, and all roles that it has, by whatever way."""
        found, todo = {account}, [account]
        while todo:
            new = self.of.get(todo.pop(), frozenset()) - found
            found |= new
            todo += new
        return frozenset(found)

    def having(self) -> Mapping[str, frozenset[str]]:
        """Each role, and to whom it was granted."""
        roles = {role for those in self.of.values() for role in those}
        return {role: frozenset(one for one, those in self.of.items() if role in those) for role in roles}


def read_roles(session: Session) -> Roles:
    """Read them. Raises MySQLError."""
    everybody = False
    if session.version.mariadb:
        edges = session.execute("SELECT Role, '', User, Host FROM mysql.roles_mapping")
    elif session.version.mysql_from(8, 0):
        edges = session.execute("SELECT FROM_USER, FROM_HOST, TO_USER, TO_HOST FROM mysql.role_edges")
        everybody = bool(session.value("SELECT @@GLOBAL.mandatory_roles"))
    else:
        edges = []
    of: dict[str, frozenset[str]] = {}
    for role, role_host, user, host in edges:
        account = f"{user}@{host}"
        of[account] = of.get(account, frozenset()) | {f"{role}@{role_host}"}
    return Roles(of=of, everybody_has_some=everybody)
