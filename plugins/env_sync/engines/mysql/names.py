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

LONGEST = 64
"""Characters of a name, in MySQL and MariaDB;
https://dev.mysql.com/doc/refman/8.4/en/identifier-length.html
"""
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


def refusals(database: str, use: Use, reserved: Collection[str] = ()) -> Iterator[Refusal]:
    """Why a database of this name cannot be used so.

    `reserved` are the databases that a connection's extra names for Env Sync itself.
    """
    yield from with_slash(database)
    odd = next((c for c in database if not c.isprintable() or ord(c) > 0xFFFF), "")
    if use is not Use.DUMPED and (not database or odd or database.endswith(" ")):
        yield from not_to_be_copied(
            database,
            odd or database[-1:],
            "MySQL takes characters of Unicode's basic plane that can be printed, at least one, and no space "
            "at the end. Rename the database.",
        )
    # It takes names that differ in case alone for one, on some systems.
    folded, ours = database.lower(), tuple(name.lower() for name in (LEASE_DATABASE, *reserved))
    yield from belonging_to_others(database, use, "mysql", OF_THE_SERVER, ours, folded=folded)
    yield from kept_for_copies(database, (*COPIES, REPLACED), folded=folded)
    yield from too_long(database, use, len(database), "characters", LONGEST)


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
