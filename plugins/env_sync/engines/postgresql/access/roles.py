"""Roles of a server: their names, and as which of them ours may act."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from env_sync.engines.postgresql.access.administrator import ADMINISTRATORS, MIGHTY
from env_sync.engines.postgresql.session import Session

DROPPED = "a role that was dropped"
"""The name of a role that is no more: sessions outlive it."""
PUBLIC = 0
"""Stands for everybody where a grant names a role."""


@frozen(kw_only=True)
class Roles:
    """All roles by oid; `ours` is the session's."""

    names: Mapping[int, str]
    usable: frozenset[int]
    """Those that ours is, or is a member of with all that it takes to act as them, and give them objects."""
    ours: int
    superuser: bool
    mighty: frozenset[int] = frozenset()
    """Those that are administrators: nobody should be made a member of one to keep an owner."""

    def can_be(self, role: int) -> bool:
        """Whether ours may own objects as this role, and give them to it."""
        return role in self.usable

    def to_act_as(self, role: int) -> str:
        """What an administrator can do so that ours may act as a role, or need not."""
        name, ours = self.names.get(role, str(role)), self.names[self.ours]
        if role in self.mighty or role not in self.names:
            return f"give what belongs to {name}, an administrator, to the application's own role (OWNER TO)"
        return f"GRANT {name} TO {ours}"

    def named(self, name: str) -> int | None:
        """The oid of a role; None where there is none."""
        return next((oid for oid, known in self.names.items() if known == name), None)


def read_roles(session: Session) -> Roles:
    """The roles of the session's server."""
    rows = session.execute(
        "SELECT r.oid::bigint, r.rolname, r.rolname = current_user, r.rolsuper, "
        f"pg_catalog.pg_has_role(r.oid, 'USAGE') AND pg_catalog.pg_has_role(r.oid, %s), {MIGHTY} "
        "FROM pg_catalog.pg_roles r",
        [becoming(session), list(ADMINISTRATORS), list(ADMINISTRATORS)],
    )
    ours = next((oid, superuser) for oid, _, is_ours, superuser, *_ in rows if is_ours)
    return Roles(
        names={oid: name for oid, name, *_ in rows},
        usable=frozenset(oid for oid, *_, usable, _ in rows if usable),
        ours=ours[0],
        superuser=ours[1],
        mighty=frozenset(oid for oid, *_, mighty in rows if mighty),
    )


def becoming(session: Session) -> str:
    """What pg_has_role() calls the right to SET ROLE.

    Since 16 a membership says apart whether its rights are inherited and whether SET ROLE works.
    """
    return "SET" if session.version >= 16 else "MEMBER"
