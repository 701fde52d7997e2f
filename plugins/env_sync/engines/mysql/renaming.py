"""The one RENAME of a swap: which tables it moves in which order, and what a crash of the server left of it.

On servers before MySQL 8.0 and MariaDB 10.6 a crash leaves the moves that were done. The journal names the
tables of both sides, so it is known which those are: what it does not name is never moved. The stamp of each
database moves after its other tables, so where that of what is to be live arrived, all of it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from env_sync.engines.mysql.identifiers import qualified
from env_sync.engines.mysql.metadata import TABLE
from env_sync.engines.mysql.session import Session

_NOT_TABLES = ("VIEW", "SYSTEM VIEW")


@frozen(kw_only=True)
class Tables:
    """What a RENAME moves: the tables of live, and those of the copy that is to be live."""

    old: tuple[str, ...]
    new: tuple[str, ...]


@frozen(kw_only=True)
class Route:
    """The tables of live go to `aside`, those of `other` to live, and in an undo those aside to `other`.

    `first`: there was no live, so nothing goes aside. `tables` is None where the version that began the swap
    did not write them down.
    """

    live: str
    other: str
    aside: str
    undo: bool
    first: bool
    tables: Tables | None


@frozen
class Move:
    """One table changes its database."""

    of: str
    to: str
    table: str

    @property
    def back(self) -> Move:
        """The same the other way round."""
        return Move(self.to, self.of, self.table)


class Mixed(Exception):
    """Which tables are whose cannot be told."""


def tables_of(session: Session, database: str) -> tuple[str, ...]:
    """What a RENAME moves: tables and sequences."""
    rows = session.execute(
        "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s ORDER BY 1",
        [database],
    )
    return tuple(name for name, kind in rows if kind not in _NOT_TABLES)


def both_tables(session: Session, live: str, other: str) -> Tables:
    """The tables of live and of the copy that is to be live."""
    return Tables(old=tables_of(session, live), new=tables_of(session, other))


def stamp_last(tables: Iterable[str]) -> list[str]:
    """In their order, but for the stamp."""
    return sorted(tables, key=lambda name: name == TABLE)


def stamp_first(tables: Iterable[str]) -> list[str]:
    """The same the other way round."""
    return sorted(tables, key=lambda name: name != TABLE)


def moves(route: Route, tables: Tables) -> list[Move]:
    """The moves of the RENAME, one after another. In an undo live goes round by `aside`.

    Both copies have tables of the same names, and their foreign keys and checks have names that a database
    can have only once.
    """
    old, new = stamp_last(tables.old), stamp_last(tables.new)
    found = [Move(route.live, route.aside, name) for name in old]
    found += [Move(route.other, route.live, name) for name in new]
    if route.undo:
        found += [Move(route.aside, route.other, name) for name in old]
    return found


def rename_text(found: Iterable[Move]) -> str:
    """The statement that makes these moves."""
    return "RENAME TABLE " + ", ".join(
        f"{qualified(one.of, one.table)} TO {qualified(one.to, one.table)}" for one in found
    )


def move(session: Session, of: str, to: str, tables: Sequence[str]) -> None:
    """Move tables by a statement of their own, in this order. Raises MySQLError."""
    _make(session, [Move(of, to, name) for name in tables])


def complete(session: Session, route: Route) -> bool:
    """After the stamp of what is to be live arrived there: make the moves that are left. False where none.

    Raises Mixed where some were not made that come before it, MySQLError.
    """
    if not tables_of(session, route.aside if route.undo else route.other):
        return False
    # An earlier version moved the stamp in the midst of the other tables.
    if route.tables is None or not route.undo:
        raise Mixed
    planned = moves(route, route.tables)
    done = _done(session, route, route.tables)
    if done < len(route.tables.old) + len(route.tables.new):
        raise Mixed
    _make(session, planned[done:])
    return done < len(planned)


def take_back(session: Session, route: Route) -> bool:
    """Before that stamp arrived: undo the moves that were made. False where none were.

    Where the server crashes in this as well, it can be done again. Raises Mixed, and touches nothing, where a
    table of another is in the way; MySQLError.
    """
    if route.tables is None:
        _check_untouched(session, route)
        return False
    done = moves(route, route.tables)[: _done(session, route, route.tables)]
    if not done:
        return False
    here = set(tables_of(session, route.live))
    arrived = {one.table for one in done if one.to == route.live}
    gone = {one.table for one in done if one.of == route.live}
    # Whoever uses live may have made or dropped tables since.
    if not arrived <= here or not gone.isdisjoint(here - arrived):
        raise Mixed
    _make(session, [one.back for one in reversed(done)])
    return True


def _done(session: Session, route: Route, tables: Tables) -> int:
    """How many of the moves were made. Raises Mixed where no number of them leaves what is there."""
    known = {*tables.old, *tables.new}
    there = known.intersection(tables_of(session, route.other))
    # A previous of before is none of ours where nothing goes there.
    gone = set() if route.first else known.intersection(tables_of(session, route.aside))
    left = {route.live: set(tables.old), route.other: set(tables.new), route.aside: set[str]()}
    planned = moves(route, tables)
    for number in range(len(planned) + 1):
        if left[route.other] == there and left[route.aside] == gone:
            return number
        if number < len(planned):
            left[planned[number].of].discard(planned[number].table)
            left[planned[number].to].add(planned[number].table)
    raise Mixed


def _check_untouched(session: Session, route: Route) -> None:
    """Without the names of the tables: raises Mixed unless it is sure that none was moved."""
    here = tables_of(session, route.live)
    if not here:
        # Live's own tables would be the first to move.
        moved = not route.first and bool(tables_of(session, route.aside))
    elif route.first:
        moved = True
    else:
        # Where nothing went aside, live may have been empty, and what is there now have come from the other.
        stays = TABLE in here or not set(here).isdisjoint(tables_of(session, route.other))
        moved = bool(tables_of(session, route.aside)) or not stays
    if moved:
        raise Mixed


def _make(session: Session, found: Sequence[Move]) -> None:
    if found:
        session.execute("SET SESSION foreign_key_checks = 0")
        session.execute(rename_text(found))
        session.execute("SET SESSION foreign_key_checks = 1")
