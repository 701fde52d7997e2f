"""What `accepted_readers` in a connection's extra accepts: an account for privileges, or by its name alone.

An entry is `account: privilege, ...`. One that is a name alone, as entries were, accepts whatever the account
has; some name a role. Where that lets through more than is meant it is told each night.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.base.readers import ACCEPTED, Reader, Readers, accepted_by, listed
from env_sync.engines.mysql.access.privileges import ACTING

_FOR = ": "


@frozen(kw_only=True)
class Watcher(Reader):
    """An account, by which privilege it sees rows, and of which role; a session has neither."""

    privilege: str = ""
    role: str = ""


@frozen(kw_only=True)
class Accepted:
    """Names, and what accounts are accepted for."""

    names: frozenset[str] = frozenset()
    privileges: frozenset[tuple[str, str]] = frozenset()
    """Accounts and privileges, these in upper case."""

    def exactly(self, one: Watcher) -> bool:
        """Whether this is accepted of it, and nothing that it may get later."""
        return bool(one.privilege) and (one.name, one.privilege.upper()) in self.privileges

    def by_role(self, one: Watcher) -> bool:
        """Whether it is accepted as whoever has a role that is named."""
        return bool(one.role) and one.role in self.names and one.name not in self.names

    def __contains__(self, one: Watcher) -> bool:
        return one.name in self.names or self.exactly(one) or self.by_role(one)


@frozen(kw_only=True)
class Watching(Readers):
    """Those who were found, of whom some are accepted."""

    found: tuple[Watcher, ...]
    allowed: Accepted = Accepted()

    @property
    def refused(self) -> tuple[Watcher, ...]:
        """Those who are not accepted."""
        return tuple(each for each in self.found if each not in self.allowed)

    def wide(self, connection: ServerConnection) -> Iterator[str]:
        """Warnings of those whose acceptance says more than it should."""
        extra = f"`{ACCEPTED}` of connection {connection.connection_id}"
        inexact = [each for each in self.found if not self.allowed.exactly(each)]
        if holders := [each for each in inexact if self.allowed.by_role(each)]:
            yield (
                f"{extra} names a role, so whoever has it is accepted, and whoever is given it later: "
                f"{listed(holders, len(holders))}. Name the accounts instead: {entries(holders)}."
            )
        alone = [each for each in inexact if each.name in self.allowed.names and each.privilege in ACTING]
        if alone:
            yield (
                f"{extra} names accounts that can act as others, and says not what for, so whatever they get "
                f"later is accepted as well: {listed(alone, len(alone))}. Write {entries(alone)}."
            )


def read_accepted(connection: ServerConnection) -> Accepted:
    """What the extra accepts. Raises AccessRefused where it holds no list of names."""
    names, privileges = set(), set()
    for entry in accepted_by(connection):
        account, separator, said = entry.partition(_FOR)
        if separator:
            privileges |= {(account.strip(), one.strip().upper()) for one in said.split(",")}
        else:
            names.add(entry)
    return Accepted(names=frozenset(names), privileges=frozenset(privileges))


def entries(found: tuple[Watcher, ...] | list[Watcher]) -> str:
    """What to write to accept these, and no more."""
    of: dict[str, list[str]] = {}
    for each in found:
        if each.privilege and each.privilege not in of.setdefault(each.name, []):
            of[each.name].append(each.privilege)
    return ", ".join(f'"{name}{_FOR}{", ".join(those)}"' for name, those in of.items() if those)
