"""Where the copies of a database are, and how what is Env Sync's own in them is called."""

from __future__ import annotations

from attrs import frozen

from env_sync.core.errors import NameRefused

INCOMING = "__incoming"
PREVIOUS = "__previous"
OF_THE_SERVER = ("admin", "config", "local")
LONGEST = 63
"""Bytes of a database's name: the server takes fewer than 64."""
OURS = "env_sync."
"""Before the names of collections that are Env Sync's own."""
STAGED = f"{OURS}incoming."
"""Before the names of incoming's own, wherever incoming is."""
STAMP = f"{STAGED}stamp"
CATALOGUE = f"{STAGED}catalogue"
LIVE_STAMP = f"{OURS}stamp"
FORBIDDEN = '/\\. "$*<>:|?\0'


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


def copies_of(database: str, reserved: tuple[str, ...]) -> Copies:
    """The places. Raises NameRefused where the database could not have them."""
    shown = "".join(c if c.isprintable() else "?" for c in database)
    if not database or shown != database or any(c in FORBIDDEN for c in database):
        raise NameRefused(
            f"A database cannot be called {shown!r}: MongoDB takes no name that is empty or holds one of "
            '/ \\ . " $ * < > : | ? or a space. Correct the name in hieradata.'
        )
    if database in OF_THE_SERVER or database in reserved:
        raise NameRefused(
            f"Database {database} belongs to the server or to Env Sync itself and is never replaced. Name "
            "another database in hieradata."
        )
    if database.endswith((INCOMING, PREVIOUS)):
        raise NameRefused(
            f"Database {database} has the name of a copy that Env Sync makes ({INCOMING}, {PREVIOUS}) and "
            "may be dropped at any time. Name the live database in hieradata, or rename this one."
        )
    length = len(database.encode())
    if length > LONGEST - len(INCOMING):
        raise NameRefused(
            f"The name of database {database} is {length} bytes long; with {INCOMING} it must fit into "
            f"{LONGEST}, so it may have {LONGEST - len(INCOMING)}. Rename the database."
        )
    return Copies(
        live=database,
        alone=Place(database=database + INCOMING, beside_live=False),
        beside=Place(database=database, beside_live=True),
    )
