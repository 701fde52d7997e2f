"""Why an engine refuses the name of a database: values and parts of such rules, for each engine's own.

An engine has one function that yields its refusals. `check` tells all of them, at the line of hieradata;
what the engine itself does with a name raises the first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum, auto

from attrs import frozen

from env_sync.core.errors import NameRefused
from env_sync.domain.sync import Action, Sync

INCOMING = "__incoming"
PREVIOUS = "__previous"
OUTGOING = "__outgoing"
COPIES = (INCOMING, PREVIOUS, OUTGOING)
"""What is added to a database's name for its copies; each as long as the others."""
REPLACED = "__replaced"
"""What a swap of whole databases adds to the name of what goes away."""
LEASE_DATABASE = "env_sync"
"""Where leases are kept, unless the connection's extra names another database."""


class Use(Enum):
    """What a sync does with the database that it names."""

    DUMPED = auto()
    """It is dumped, or a snapshot of it is taken."""
    COPIED = auto()
    """A copy of it is transformed and dumped."""
    REPLACED = auto()
    """A copy that was filled takes its place."""


ADDED: Mapping[Use, str] = {Use.DUMPED: "", Use.COPIED: OUTGOING, Use.REPLACED: INCOMING}
"""What is added to the name for the copy that is made."""


@frozen(kw_only=True)
class Refusal:
    """One reason against a name, in the words of `check` and in those of an error."""

    right: str
    """What would be right; the name itself is told before it."""
    error: str
    """Or "" for what is no matter of the engine: the store refuses it."""
    size: str = ""
    """How long the name is, such as `54 bytes`, where that is why."""


def use_of(sync: Sync) -> Use:
    """What a sync does with its database."""
    if sync.action is not Action.PUSH:
        return Use.REPLACED
    return Use.COPIED if sync.pre_dump_transformation and not sync.pre_dump_in_place else Use.DUMPED


def refuse(refusals: Iterable[Refusal]) -> None:
    """Raises NameRefused with the first of these, where there is any."""
    for refusal in refusals:
        if refusal.error:
            raise NameRefused(refusal.error)


def with_slash(database: str, error: str = "") -> Iterator[Refusal]:
    """A refusal where the name has a `/`; `error` where the server takes none either, not only the store."""
    if "/" in database:
        yield Refusal(right="a name with `/` cannot be part of the dump's key", error=error)


def not_to_be_copied(database: str, found: str, takes: str) -> Iterator[Refusal]:
    """A refusal of a name in which the character `found` was, or "" where the name is empty.

    `takes` says what may be in a name, and what to do.
    """
    of_what = f"a name with `{found}`" if found else "such a name"
    yield Refusal(
        right=f"no copy of {of_what} can be made; rename the database",
        error=f"A database cannot be called {_printed(database)!r}: {takes}",
    )


def belonging_to_others(
    database: str,
    use: Use,
    dbms: str,
    of_the_server: Collection[str],
    ours: Collection[str],
    *,
    folded: str = "",
) -> Iterator[Refusal]:
    """A refusal of a database of the server or of Env Sync itself, unless it is only dumped.

    `folded` is the name as the server compares it, where that is not as it is written.
    """
    compared = folded or database
    if use is Use.DUMPED or not (compared in of_the_server or compared in ours):
        return
    of_it = compared in of_the_server
    whose = f"a database of {dbms} itself" if of_it else "the database in which Env Sync keeps its leases"
    yield Refusal(
        right=f"a pull never replaces {whose}" if use is Use.REPLACED else f"no copy is made of {whose}",
        error=f"Database {database} belongs to the server or to Env Sync itself and is never replaced. Name "
        "another database in hieradata.",
    )


def kept_for_copies(database: str, kept: tuple[str, ...] = COPIES, *, folded: str = "") -> Iterator[Refusal]:
    """A refusal of a name that ends as those of copies do; `folded` as above."""
    if (folded or database).endswith(kept):
        yield Refusal(
            right=f"names ending in {' or '.join(kept)} are kept for copies",
            error=f"Database {database} has the name of a copy that Env Sync makes ({', '.join(kept)}) and "
            "may be dropped at any time. Name the live database in hieradata, or rename this one.",
        )


def too_long(database: str, use: Use, length: int, unit: str, longest: int) -> Iterator[Refusal]:
    """A refusal of a name that is too long with what is added to it for its copy, if any is made."""
    copy = ADDED[use]
    room = longest - len(copy)
    if length > room:
        reason = f", since `{copy}` is added to it" if copy else ""
        added = f"with {copy} it must fit into {longest}, so " if copy else ""
        yield Refusal(
            size=f"{length} {unit}",
            right=f"a name may have at most {room} {unit}{reason}",
            error=f"The name of database {database} is {length} {unit} long; {added}it may have {room}. "
            "Rename the database.",
        )


def _printed(database: str) -> str:
    """A name with `?` for what cannot be printed."""
    return "".join(c if c.isprintable() else "?" for c in database)
