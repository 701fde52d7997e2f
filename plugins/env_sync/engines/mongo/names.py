"""Where the copies of a database are, and how what is Env Sync's own in them is called."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from attrs import frozen

from env_sync.domain.database_name import (
    INCOMING,
    LEASE_DATABASE,
    Refusal,
    Use,
    belonging_to_others,
    kept_for_copies,
    not_to_be_copied,
    refuse,
    too_long,
    with_slash,
)

OF_THE_SERVER = ("admin", "config", "local")
LONGEST = 63
"""Bytes of a database's name: the server takes fewer than 64;
https://www.mongodb.com/docs/manual/reference/limits/
"""
OURS = "env_sync."
"""Before the names of collections that are Env Sync's own."""
STAGED = f"{OURS}incoming."
"""Before the names of incoming's own, wherever incoming is."""
STAMP = f"{STAGED}stamp"
CATALOGUE = f"{STAGED}catalogue"
LIVE_STAMP = f"{OURS}stamp"
FORBIDDEN = '\\. "$*<>:|?\0'
"""What no name of a database may hold, beside `/`, which no dump's key can."""


@frozen(kw_only=True)
class Place:
    """Where incoming is: a database of its own, or under names of Env Sync's own in live's database."""

    database: str
    beside_live: bool

    def name(self, number: int, name: str) -> str:
        """How a collection is called there, the so-manieth of its copy.

        Beside live it is a number, so that the longest name has room.
        """
        return f"{STAGED}{number}" if self.beside_live else name


@frozen(kw_only=True)
class Copies:
    """The places of one target database."""

    live: str
    alone: Place
    """The database of its own, for what must be sanitised first."""
    beside: Place
    """Incoming names in live's own database, for what may be read by whoever may read live."""


def refusals(
    database: str, use: Use, reserved: Collection[str] = (), *, dbms: str = "mongo"
) -> Iterator[Refusal]:
    """Why a database of this name cannot be used so.

    `reserved` are the databases that a connection's extra names for Env Sync itself.
    """
    yield from with_slash(database, f"A database of MongoDB cannot be called {database!r}: it takes no /.")
    odd = next((c for c in database if not c.isprintable() or c in FORBIDDEN), "")
    if use is not Use.DUMPED and (odd or not database):
        yield from not_to_be_copied(
            database,
            odd,
            'MongoDB takes no name that is empty or holds one of / \\ . " $ * < > : | ? or a space. Correct '
            "the name in hieradata.",
        )
    yield from belonging_to_others(database, use, dbms, OF_THE_SERVER, (LEASE_DATABASE, *reserved))
    yield from kept_for_copies(database)
    yield from too_long(database, use, len(database.encode()), "bytes", LONGEST)


def copies_of(database: str, reserved: Collection[str]) -> Copies:
    """The places. Raises NameRefused where the database could not have them."""
    refuse(refusals(database, Use.REPLACED, reserved))
    return Copies(
        live=database,
        alone=Place(database=database + INCOMING, beside_live=False),
        beside=Place(database=database, beside_live=True),
    )
