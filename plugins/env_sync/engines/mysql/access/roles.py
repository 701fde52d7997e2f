"""Which roles accounts have, themselves or by other roles."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from env_sync.engines.mysql.session import Session

PUBLIC = "PUBLIC"
"""What MariaDB calls the role that everybody has."""
_NAME = r"""(?:'(?:[^'\\]|'')*'|"(?:[^"\\]|"")*"|`(?:[^`]|``)*`|[^\s,@'"`\\]+)"""
_ROLE = re.compile(rf"({_NAME})(?:\s*@\s*({_NAME}))?")
_LIST = re.compile(rf"\s*{_ROLE.pattern}\s*(?:,\s*{_ROLE.pattern}\s*)*")


@frozen(kw_only=True)
class Roles:
    """The roles of a server's accounts. An account is `user@host`, a role of MariaDB `role@`."""

    of: Mapping[str, frozenset[str]]
    """What was granted to each account, and to each role."""
    mandatory: frozenset[str] | None = frozenset()
    """Those that every account has, though nobody granted them; None where that cannot be told."""

    def all_of(self, *accounts: str) -> frozenset[str]:
        """The accounts themselves, and all roles that were granted to them, by whatever way."""
        found, todo = set(accounts), list(accounts)
        while todo:
            new = self.of.get(todo.pop(), frozenset()) - found
            found |= new
            todo += new
        return frozenset(found)

    def is_everybodys(self, role: str) -> bool:
        """Whether every account may have a role, though nobody granted it."""
        if role.partition("@")[0] == PUBLIC or self.mandatory is None:
            return True
        return role in self.all_of(*self.mandatory)

    def having(self) -> Mapping[str, frozenset[str]]:
        """Each role, and to whom it was granted."""
        roles = {role for those in self.of.values() for role in those}
        return {role: frozenset(one for one, those in self.of.items() if role in those) for role in roles}


def read_roles(session: Session) -> Roles:
    """Read them. Raises MySQLError."""
    mandatory: frozenset[str] | None = frozenset()
    if session.version.mariadb:
        edges = session.execute("SELECT Role, '', User, Host FROM mysql.roles_mapping")
    elif session.version.mysql_from(8, 0):
        edges = session.execute("SELECT FROM_USER, FROM_HOST, TO_USER, TO_HOST FROM mysql.role_edges")
        mandatory = read_list(str(session.value("SELECT @@GLOBAL.mandatory_roles") or ""))
    else:
        edges = []
    of: dict[str, frozenset[str]] = {}
    for role, role_host, user, host in edges:
        account = f"{user}@{host}"
        of[account] = of.get(account, frozenset()) | {f"{role}@{role_host}"}
    return Roles(of=of, mandatory=mandatory)


def read_list(text: str) -> frozenset[str] | None:
    """The roles in a value of `mandatory_roles`; None where it is not understood."""
    if not text.strip():
        return frozenset()
    if not _LIST.fullmatch(text):
        return None
    return frozenset(f"{_name(user)}@{_name(host) if host else '%'}" for user, host in _ROLE.findall(text))


def _name(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote) if quote in "'\"`" else text
