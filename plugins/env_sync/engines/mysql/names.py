"""The names of the copies of a database, and which databases cannot have them."""

from __future__ import annotations

from collections.abc import Collection

from attrs import frozen

from env_sync.core.errors import NameRefused

INCOMING = "__incoming"
PREVIOUS = "__previous"
OUTGOING = "__outgoing"
REPLACED = "__replaced"
LONGEST = 64
"""Characters of a name, in MySQL and MariaDB."""
OF_THE_SERVER = ("mysql", "sys", "information_schema", "performance_schema")


@frozen(kw_only=True)
class Copies:
    """The databases that are live and its copies.

    `replaced` is where previous goes in the swap that replaces it, until it is dropped, right after.
    """

    live: str
    incoming: str
    previous: str
    outgoing: str
    replaced: str

    @property
    def all(self) -> tuple[str, ...]:
        """All five."""
        return (self.live, self.incoming, self.previous, self.outgoing, self.replaced)


def copies_of(database: str, reserved: Collection[str] = ()) -> Copies:
    """The names of the copies. Raises NameRefused where one of them could not be, or be told apart."""
    shown = "".join(c if c.isprintable() else "?" for c in database)
    if not database or shown != database or database.endswith(" ") or any(ord(c) > 0xFFFF for c in database):
        raise NameRefused(
            f"A database cannot be called {shown!r}: MySQL takes characters of Unicode's basic plane that "
            "can be printed, at least one, and no space at the end. Rename the database."
        )
    if database.lower() in (*OF_THE_SERVER, *(name.lower() for name in reserved)):
        raise NameRefused(
            f"Database {database} belongs to the server or to Env Sync itself and is never replaced. Name "
            "another database in hieradata."
        )
    if database.lower().endswith((INCOMING, PREVIOUS, OUTGOING, REPLACED)):
        raise NameRefused(
            f"Database {database} has the name of a copy that Env Sync makes ({INCOMING}, {PREVIOUS}, "
            f"{OUTGOING}, {REPLACED}) and may be dropped at any time. Name the live database in hieradata, "
            "or rename this one."
        )
    room = LONGEST - len(INCOMING)
    if len(database) > room:
        raise NameRefused(
            f"The name of database {database} is {len(database)} characters long; with {INCOMING} it must "
            f"fit into {LONGEST}, so it may have {room}. Rename the database."
        )
    return Copies(
        live=database,
        incoming=database + INCOMING,
        previous=database + PREVIOUS,
        outgoing=database + OUTGOING,
        replaced=database + REPLACED,
    )
