"""Access control lists as values, and the statements that turn one into another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import frozen
from psycopg import sql

from env_sync.engines.postgresql.access.roles import PUBLIC, Roles

OWNER = -1
"""Stands for the owner of the object, whoever that is."""


@frozen
class Right:
    """A privilege of a grantee (OWNER, PUBLIC or the oid of a role); `column` is "" for the whole object."""

    grantee: int
    privilege: str
    column: str = ""


Rights = Mapping[Right, bool]
"""What is granted, and whether it may be passed on."""


def rights(entries: Iterable[Sequence[object]], owner: int, column: str = "") -> dict[Right, bool]:
    """The rights in a list of (oid of grantee, privilege, may be passed on); who granted them is left out."""
    found: dict[Right, bool] = {}
    for grantee, privilege, grantable in entries:
        oid = int(str(grantee))
        right = Right(OWNER if oid == owner else oid, str(privilege), column)
        # The owner may always pass on what it has.
        found[right] = right.grantee != OWNER and (bool(grantable) or found.get(right, False))
    return found


def owned_by(wanted: Rights, before: int, after: int) -> dict[Right, bool]:
    """The same rights where another role is the owner: what `before` had as the owner it keeps by grants."""
    if before == after:
        return dict(wanted)
    found: dict[Right, bool] = {}
    for right, grantable in wanted.items():
        if right.grantee == after:
            found[Right(OWNER, right.privilege, right.column)] = False
            continue
        found[right] = grantable
        if right.grantee == OWNER:
            found[Right(before, right.privilege, right.column)] = False
    return found


def statements(
    kind: str, name: sql.Composable, now: Rights, wanted: Rights, roles: Roles, owner: int
) -> Iterator[sql.Composed]:
    """REVOKE and GRANT for one object of this kind ("TABLE", "SCHEMA", ...) from `now` to `wanted`."""
    gone = [
        right for right, grantable in now.items() if right not in wanted or (grantable and not wanted[right])
    ]
    new = [right for right, grantable in wanted.items() if right not in now or now[right] != grantable]
    # Taking one away takes with it what was passed on, and the right itself: all of those come again.
    for grantee, some in _by_grantee(gone):
        who = _who(grantee, roles, owner)
        if who is not None:
            yield sql.SQL("REVOKE {} ON {} {} FROM {} CASCADE").format(_list(some), sql.SQL(kind), name, who)
    for grantable in (False, True):
        for grantee, some in _by_grantee(right for right in new if wanted[right] == grantable):
            who = _who(grantee, roles, owner)
            if who is not None:
                option = sql.SQL(" WITH GRANT OPTION" if grantable else "")
                yield sql.SQL("GRANT {} ON {} {} TO {}{}").format(
                    _list(some), sql.SQL(kind), name, who, option
                )


def _by_grantee(some: Iterable[Right]) -> Iterator[tuple[int, list[Right]]]:
    found: dict[int, list[Right]] = defaultdict(list)
    for right in some:
        found[right.grantee].append(right)
    yield from sorted(found.items())


def _who(grantee: int, roles: Roles, owner: int) -> sql.Composable | None:
    """The grantee as SQL; None for a role that is gone."""
    if grantee == PUBLIC:
        return sql.SQL("PUBLIC")
    name = roles.names.get(owner if grantee == OWNER else grantee)
    return None if name is None else sql.Identifier(name)


def _list(some: Sequence[Right]) -> sql.Composed:
    parts = []
    for right in sorted(some, key=lambda one: (one.privilege, one.column)):
        column = sql.SQL(" ({})").format(sql.Identifier(right.column)) if right.column else sql.SQL("")
        parts.append(sql.SQL(right.privilege) + column)
    return sql.SQL(", ").join(parts)
