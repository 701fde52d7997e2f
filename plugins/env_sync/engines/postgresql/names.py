"""The names of the copies of a database, and which databases cannot have them."""

from __future__ import annotations

from collections.abc import Collection

from attrs import frozen

from env_sync.core.errors import NameRefused

INCOMING = "__incoming"
PREVIOUS = "__previous"
OUTGOING = "__outgoing"
REPLACED = "__replaced"
LONGEST = 63
"""Bytes of a name that the server keeps (NAMEDATALEN - 1 of an ordinary build)."""
OF_THE_SERVER = ("postgres", "template0", "template1")


@frozen(kw_only=True)
class Copies:
    """The databases that are the three copies of a target, and the one that a push may make of live.

    `replaced` is what previous is called from the swap that replaces it until it is dropped, right after.
    """

    live: str
    incoming: str
    previous: str
    outgoing: str
    replaced: str


def copies_of(database: str, reserved: Collection[str] = ()) -> Copies:
    """The names of the copies. Raises NameRefused where one of them could not be, or be told apart."""
    shown = "".join(c if c.isprintable() else "?" for c in database)
    if not database or shown != database:
        raise NameRefused(
            f"A database cannot be called {shown!r}: Env Sync takes any character that can be printed, and "
            "at least one. Rename the database."
        )
    if database in OF_THE_SERVER or database in reserved:
        raise NameRefused(
            f"Database {database} belongs to the server or to Env Sync itself and is never replaced. Name "
            "another database in hieradata."
        )
    if database.endswith((INCOMING, PREVIOUS, OUTGOING, REPLACED)):
        raise NameRefused(
            f"Database {database} has the name of a copy that Env Sync makes ({INCOMING}, {PREVIOUS}, "
            f"{OUTGOING}, {REPLACED}) and may be dropped at any time. Name the live database in hieradata, "
            "or rename this one."
        )
    length = len(database.encode())
    if length > LONGEST - len(INCOMING):
        raise NameRefused(
            f"The name of database {database} is {length} bytes long; with {INCOMING} it must fit into "
            f"{LONGEST}, so it may have {LONGEST - len(INCOMING)}. Rename the database."
        )
    return Copies(
        live=database,
        incoming=database + INCOMING,
        previous=database + PREVIOUS,
        outgoing=database + OUTGOING,
        replaced=database + REPLACED,
    )


def names_of_copies(database: str) -> tuple[str, ...]:
    """Live and its copies by name, whether a database of that name could have them or not."""
    return (database, *(database + copy for copy in (INCOMING, PREVIOUS, OUTGOING, REPLACED)))
