"""What the session's own account may do, by the grants that it has itself and by its active roles."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen

from env_sync.engines.mysql.access.database_patterns import covers, has_wildcards
from env_sync.engines.mysql.identifiers import unquoted
from env_sync.engines.mysql.session import Session

EVERYTHING = "ALL PRIVILEGES"
_NAME = r"(?:\*|`(?:[^`]|``)*`)"
_GRANT = re.compile(rf"GRANT (?P<what>.+?) ON (?P<database>{_NAME})\.\* TO ", re.DOTALL)


@frozen(kw_only=True)
class OwnGrant:
    """Privileges on a whole database, whose name may have wildcards; or on all of them, `*`."""

    privileges: frozenset[str]
    on: str
    grantable: bool


@frozen(kw_only=True)
class OwnGrants:
    """All of them that are on whole databases. `wildcards` as for `covers`."""

    grants: Sequence[OwnGrant]
    wildcards: bool

    def may(self, privilege: str, database: str) -> bool:
        """Whether the account has this privilege, in SQL's words, on a database."""
        return any(
            (one.on == "*" or covers(one.on, database, wildcards=self.wildcards))
            and not one.privileges.isdisjoint({privilege, EVERYTHING})
            for one in self.grants
        )

    @property
    def on_everything(self) -> frozenset[str]:
        """What the account may do everywhere, in SQL's words; GRANT OPTION among it."""
        found: set[str] = set()
        for one in self.grants:
            if one.on == "*":
                found |= one.privileges - {"USAGE"}
                if one.grantable:
                    found.add("GRANT OPTION")
        return frozenset(found)


def own_grants(session: Session) -> OwnGrants:
    """Read them. Raises MySQLError."""
    question = "SHOW GRANTS"
    if session.version.mysql_from(8, 0):
        roles = str(session.value("SELECT CURRENT_ROLE()"))
        if roles.upper() != "NONE":
            # Without their names what they give is not told.
            question = f"SHOW GRANTS FOR CURRENT_USER() USING {roles}"
    return OwnGrants(
        grants=tuple(one for (text,) in session.execute(question) if (one := read_grant(str(text)))),
        wildcards=has_wildcards(session),
    )


def read_grant(text: str) -> OwnGrant | None:
    """A line of SHOW GRANTS; None for one that is not on whole databases."""
    match = _GRANT.match(text)
    if match is None:
        return None
    return OwnGrant(
        privileges=frozenset(part.strip().upper() for part in match["what"].split(",")),
        on=unquoted(match["database"]),
        grantable="WITH GRANT OPTION" in text[match.end() :],
    )
