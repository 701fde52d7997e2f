"""As whom what a dump brings runs in live: never as the sync's account, nor as whom the dump names.

An object gets the definer that the object of its kind and name has in live, or the one that the connection
names, where that account has rights on this database alone. Where there is none, or the connection does not
accept the privilege that it takes, views and routines run as their invoker; triggers and events, which
cannot, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve, frozen

from env_sync.core.shown_names import shown_name
from env_sync.engines.base.accepted_readers import DEFINER, SET_USER, accepts
from env_sync.engines.mysql.access.account_rights import AccountRights
from env_sync.engines.mysql.access.own_grants import EVERYTHING, own_grants
from env_sync.engines.mysql.identifiers import qualified
from env_sync.engines.mysql.invoker import as_invoker, runs_as_invoker
from env_sync.engines.mysql.objects import Object
from env_sync.engines.mysql.session import Server, Session

Key = tuple[str, str]
SETTING = frozenset({"SET USER", "SET_ANY_DEFINER", "SET_USER_ID", "SUPER", EVERYTHING})
"""Privileges to make objects as somebody else: of MariaDB, of MySQL from 8.4 and of 8.0, of old servers."""
SHOWN = 10


@frozen(kw_only=True)
class Decided:
    """What live is to have. `objects` have their final text; `definer` is "" for what runs as its invoker."""

    objects: tuple[Object, ...]
    as_they_are: frozenset[Key]
    """Which of them live has already."""
    warnings: tuple[str, ...]


def decide(
    server: Server,
    live: str,
    *,
    before: Sequence[Object],
    new: Sequence[Object],
    there: Mapping[Key, Object],
    undo: bool,
) -> Decided:
    """Decide for each of `new`. `before` is what live had before the swap, `there` what it has now.

    In an undo the definers of `new` are those that live itself had. Raises MySQLError.
    """
    with server.session() as session:
        rights, own = AccountRights(session), own_grants(session)
    may_set = accepts(server.connection, SET_USER) and not own.on_everything.isdisjoint(SETTING)
    had = {one.key: one.definer for one in before}
    named = str(server.connection.extra.get(DEFINER) or "")
    objects: list[Object] = []
    as_they_are: set[Key] = set()
    invokers: dict[str, list[str]] = {}
    left_out: list[str] = []
    for one in new:
        now = there.get(one.key)
        wanted = had.get(one.key) or (one.definer if undo else "") or named
        safe = bool(wanted) and rights.only_on(wanted, live)
        if now is not None and _same(now, one) and rights.only_on(now.definer, live):
            objects.append(now)
            as_they_are.add(one.key)
        elif may_set and safe:
            objects.append(evolve(one, definer=wanted))
        elif (invoker := as_invoker(one)) is not None:
            objects.append(evolve(invoker, definer=""))
            if now is not None and _same(now, invoker):
                as_they_are.add(one.key)
            elif not runs_as_invoker(one):
                invokers.setdefault(one.definer or "whoever made it", []).append(str(one))
        else:
            left_out.append(str(one))
    return Decided(
        objects=tuple(objects),
        as_they_are=frozenset(as_they_are),
        warnings=tuple(_warnings(server, live, invokers, left_out, may_set=may_set)),
    )


def _same(one: Object, other: Object) -> bool:
    """Whether they are the same but for the definer, and for where SQL SECURITY INVOKER stands."""
    one, other = evolve(one, definer=""), evolve(other, definer="")
    if one == other:
        return True
    return runs_as_invoker(one) and runs_as_invoker(other) and as_invoker(one) == as_invoker(other)


def _warnings(
    server: Server,
    live: str,
    invokers: Mapping[str, Sequence[str]],
    left_out: Sequence[str],
    *,
    may_set: bool,
) -> Iterator[str]:
    connection = server.connection
    accepting = (
        ""
        if may_set
        else f', say "{SET_USER}": true in the extra of connection {connection.connection_id}, and grant '
        f"{connection.login} SET USER (MySQL: SET_ANY_DEFINER, before 8.4 SET_USER_ID)"
    )
    how = (
        f"make it in {live} by hand as an account that has rights on {live} alone, or name that account in "
        f"{DEFINER} of the extra{accepting}: docs/mysql.md says what that means"
    )
    for definer, names in invokers.items():
        yield (
            f"What ran above as {definer} runs in {live} as whoever uses it (SQL SECURITY INVOKER): "
            f"{some(names)}. If one of them is to run as a definer, {how}."
        )
    if left_out:
        yield (
            f"Left out of {live}, for they would run as Env Sync or as an account that the dump names: "
            f"{some(left_out)}. To have one of them, {how}."
        )


def cannot_be_made_again(session: Session, objects: Sequence[Object]) -> tuple[Object, ...]:
    """Those of live that our account could not make as whom they are. Raises MySQLError."""
    if not own_grants(session).on_everything.isdisjoint(SETTING):
        return ()
    ours = str(session.value("SELECT CURRENT_USER()"))
    return tuple(one for one in objects if one.definer != ours)


def drop_ours(session: Session, live: str) -> tuple[str, ...]:
    """Drop each view and routine of live that gives its users the rights of our account; gives their names.

    None is made so. It is looked at all the same, for the server alone knows how it read what was made.
    """
    found = session.execute(
        "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s "
        "AND SECURITY_TYPE = 'DEFINER' AND DEFINER = CURRENT_USER() UNION ALL "
        "SELECT 'VIEW', TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s "
        "AND SECURITY_TYPE = 'DEFINER' AND DEFINER = CURRENT_USER()",
        [live, live],
    )
    for kind, name in found:
        session.execute(f"DROP {kind} IF EXISTS {qualified(live, name)}")
    return tuple(f"{kind.lower()} {shown_name(name)}" for kind, name in found)


def some(names: Sequence[str]) -> str:
    """The first names of a list."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
