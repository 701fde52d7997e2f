"""The names of the copies of a database, and which databases cannot have them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from attrs import frozen

from env_sync.domain.database_name import (
    COPIES,
    INCOMING,
    LEASE_DATABASE,
    OUTGOING,
    PREVIOUS,
    REPLACED,
    Refusal,
    Use,
    belonging_to_others,
    kept_for_copies,
    not_to_be_copied,
    refuse,
    too_long,
    with_slash,
)

LONGEST = 63
"""Bytes of a name that the server keeps (NAMEDATALEN - 1 of an ordinary build);
https://www.postgresql.org/docs/current/limits.html
"""
OF_THE_SERVER = ("postgres", "template0", "template1", "rdsadmin")


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


def refusals(database: str, use: Use, reserved: Collection[str] = ()) -> Iterator[Refusal]:
    """Why a database of this name cannot be used so.

    `reserved` are the databases that a connection's extra names for Env Sync itself.
    """
    yield from with_slash(database)
    if use is not Use.DUMPED and not (database and database.isprintable()):
        yield from not_to_be_copied(
            database,
            next((c for c in database if not c.isprintable()), ""),
            "Env Sync takes any character that can be printed, and at least one. Rename the database.",
        )
    yield from belonging_to_others(database, use, "postgresql", OF_THE_SERVER, (LEASE_DATABASE, *reserved))
    yield from kept_for_copies(database, (*COPIES, REPLACED))
    yield from too_long(database, use, len(database.encode()), "bytes", LONGEST)


def copies_of(database: str, reserved: Collection[str] = ()) -> Copies:
    """The names of the copies. Raises NameRefused where one of them could not be, or be told apart."""
    refuse(refusals(database, Use.REPLACED, reserved))
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
