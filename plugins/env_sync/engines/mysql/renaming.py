"""The one RENAME of a swap: which tables it moves in which order, and what a crash of the server left of it.

On servers before MySQL 8.0 and MariaDB 10.6 a crash leaves the moves that were done. So the stamp of each
database moves after its other tables, and stays behind while one of them does: by where the stamps are it is
known how far the server came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from env_sync.engines.mysql.identifiers import qualified
from env_sync.engines.mysql.session import Session
from env_sync.engines.mysql.stamp import TABLE

_NOT_TABLES = ("VIEW", "SYSTEM VIEW")


@frozen(kw_only=True)
class Route:
    """The tables of live go to `aside`, those of `other` to live, and in an undo those aside to `other`.

    `first`: there was no live, so nothing goes aside.
    """

    live: str
    other: str
    aside: str
    undo: bool
    first: bool


class Mixed(Exception):
    """Which tables are whose cannot be told."""


def tables_of(session: Session, database: str) -> tuple[str, ...]:
    """What a RENAME moves: tables and sequences."""
    rows = session.execute(
        "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s ORDER BY 1",
        [database],
    )
    return tuple(name for name, kind in rows if kind not in _NOT_TABLES)


def stamp_last(tables: Iterable[str]) -> list[str]:
    """In their order, but for the stamp."""
    return sorted(tables, key=lambda name: name == TABLE)


def stamp_first(tables: Iterable[str]) -> list[str]:
    """The same the other way round."""
    return sorted(tables, key=lambda name: name != TABLE)


def whole_rename(session: Session, route: Route) -> str:
    """The RENAME. In an undo live goes round by `aside`.

    The server takes the moves one after another. Both copies have tables of the same names, and their foreign
    keys and checks have names that a database can have only once.
    """
    old, new = (stamp_last(tables_of(session, name)) for name in (route.live, route.other))
    moves = [(route.live, route.aside, old), (route.other, route.live, new)]
    if route.undo:
        moves.append((route.aside, route.other, old))
    return "RENAME TABLE " + ", ".join(each for move in moves for each in _moves(*move))


def move(session: Session, of: str, to: str, tables: Sequence[str]) -> None:
    """Move tables by a statement of their own, in this order. Raises MySQLError."""
    if tables:
        session.execute("SET SESSION foreign_key_checks = 0")
        session.execute("RENAME TABLE " + ", ".join(_moves(of, to, tables)))
        session.execute("SET SESSION foreign_key_checks = 1")


def complete(session: Session, route: Route) -> bool:
    """After the stamp of what is to be live arrived there: move what is aside. False where nothing was.

    Raises MySQLError.
    """
    left = tables_of(session, route.aside) if route.undo else ()
    move(session, route.aside, route.other, stamp_last(left))
    return bool(left)


def take_back(session: Session, route: Route) -> bool:
    """Before that stamp arrived: move what was moved back to where it was. False where nothing was.

    Where the server crashes in this as well, it can be done again. Raises Mixed, MySQLError.
    """
    here, there = tables_of(session, route.live), tables_of(session, route.other)
    gone = () if route.first else tables_of(session, route.aside)
    if not gone and not route.first:
        return False
    if _live_is_leaving(here, there, gone):
        _check_apart(here, gone)
        move(session, route.aside, route.live, gone)
        return bool(gone)
    _check_apart(here, there)
    move(session, route.live, route.other, here)
    # Its stamp there says again that they are live's.
    move(session, route.aside, route.live, stamp_first(gone))
    return bool(here or gone)


def _live_is_leaving(here: Sequence[str], there: Sequence[str], gone: Sequence[str]) -> bool:
    """Whether only tables of live were moved, and not all of them. Raises Mixed."""
    if TABLE in here:
        return True
    if TABLE in gone or not gone or not here or not set(here).isdisjoint(gone):
        return False
    # Live had no stamp. What is in it is in neither of the others only where each has other tables.
    if set(here).isdisjoint(there):
        raise Mixed
    return True


def _check_apart(some: Sequence[str], others: Sequence[str]) -> None:
    """Raises Mixed where a table is in both: then somebody else moved them, or another version."""
    if not set(some).isdisjoint(others):
        raise Mixed


def _moves(of: str, to: str, tables: Iterable[str]) -> list[str]:
    return [f"{qualified(of, name)} TO {qualified(to, name)}" for name in tables]
