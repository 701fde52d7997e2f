"""Accounts that could read a copy before it is sanitised, and which of them a connection accepts by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from attrs import frozen

from env_sync.core.errors import AccessRefused
from env_sync.domain.finding import Finding, note
from env_sync.engines.base.contract import ServerConnection

ACCEPTED = "accepted_readers"
"""In a connection's extra: the names of accounts that may read what is not sanitised yet."""
WRITERS = "accepted_lease_writers"
"""The same of other accounts of Env Sync that keep their leases in the same place."""
OPEN = "open_to_anybody"
"""In a connection's extra: that the server lets in whoever comes is known, and may be."""
ANYBODY = "anybody without a login"
"""The name of whoever comes."""
SHOWN = 5
"""How many a message names."""


@frozen(kw_only=True)
class Reader:
    """Who could read it."""

    name: str
    """By this it is accepted."""
    by: str
    """What lets it: `role x`."""
    administrator: bool = False
    """Whether it runs the server: it is told of, and stops nothing."""

    def __str__(self) -> str:
        return f"{self.name} (by {self.by})"


@frozen(kw_only=True)
class Readers:
    """All who were found. `told` is False where the server does not tell of all."""

    found: tuple[Reader, ...]
    accepted: frozenset[str] = frozenset()
    told: bool = True

    @property
    def refused(self) -> tuple[Reader, ...]:
        """Those who stop a pull that sanitises."""
        return tuple(each for each in self.found if not each.administrator and each.name not in self.accepted)

    @property
    def known(self) -> tuple[Reader, ...]:
        """Those who may: administrators, and who is accepted."""
        refused = self.refused
        return tuple(each for each in self.found if each not in refused)

    @property
    def said(self) -> str:
        """Who runs the server, for a look before the night; "" where nobody was found."""
        administrators = [each for each in self.found if each.administrator]
        if not administrators:
            return ""
        return f"administrators can read incoming: {listed(administrators, len(administrators))}"

    def findings(self, connection: ServerConnection) -> Iterator[Finding]:
        """Those who are accepted by name, for a look before the night."""
        named = [each for each in self.known if not each.administrator and each.name != ANYBODY]
        if named:
            yield note(
                f"{listed(named, len(named))} can read incoming before it is sanitised, and may: {ACCEPTED} "
                f"of connection {connection.connection_id} names them."
            )


def accepted_by(connection: ServerConnection, key: str = ACCEPTED) -> frozenset[str]:
    """The names that a connection accepts. Raises AccessRefused where its extra holds no list of names."""
    said = connection.extra.get(key) or ()
    if not isinstance(said, list | tuple) or not all(isinstance(each, str) for each in said):
        raise AccessRefused(
            f"`{key}` in the extra of connection {connection.connection_id} is no list of names: write "
            f'"{key}": ["one", "another"]. Nothing was touched.'
        )
    return frozenset(said)


def refuse_writers(found: Collection[Reader], touch: str, take: str) -> None:
    """Raises AccessRefused where others could change the leases.

    `touch` says what those rule, `take` what to do about them.
    """
    if found:
        raise AccessRefused(
            f"{listed(found)} could change who may touch {touch}: nothing was touched. {take}"
        )


def writers_advice(connection: ServerConnection, rights: str) -> str:
    """What to do about those who could change the leases, by which rights."""
    return (
        f"Take their {rights} away; or, where one is an account of Env Sync, write its name into "
        f"`{WRITERS}` in the extra of connection {connection.connection_id}."
    )


def listed(readers: Iterable[Reader], shown: int = SHOWN) -> str:
    """The first of them by name, and how many more there are."""
    said = [str(each) for each in readers]
    more = f", and {len(said) - shown} more" if len(said) > shown else ""
    return f"{', '.join(said[:shown])}{more}"


def advice(connection: ServerConnection) -> str:
    """What to do about those who are refused."""
    return (
        "Take that from them; or, where one may read it as it is above, write its name into "
        f"`{ACCEPTED}` in the extra of connection {connection.connection_id}."
    )
