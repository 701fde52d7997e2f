"""Locks of leases that other accounts hold: anybody may take one, so it counts for nothing."""

from __future__ import annotations

import logging
from typing import Protocol

from attrs import frozen


class LockHolder(Protocol):
    """Whose session holds a lock; prints itself in words."""

    @property
    def ours(self) -> bool:
        """Whether it is a session of our own account."""


@frozen(kw_only=True)
class LockTry:
    """What came of taking a lock: it was taken, or who had it instead, as far as that could be seen."""

    taken: bool
    instead: tuple[LockHolder, ...] = ()

    @property
    def strange(self) -> bool:
        """Whether other accounts alone hold it: it says nothing."""
        return not self.taken and bool(self.instead) and not any(one.ours for one in self.instead)

    @property
    def held(self) -> bool:
        """Whether a session of our own account holds it, or one that just ended did: try again."""
        return not self.taken and not self.strange

    @property
    def who(self) -> str:
        """Who has it instead, in words."""
        return ", ".join(map(str, self.instead)) or "just ended"


def warn_of_strange_lock(warnings: list[str], log: logging.Logger, held: str) -> None:
    """Tell once of a lock that another account holds; `held` says in words which, and who that is."""
    warning = f"{held}, so it does not count. Find out what for it was taken, and end that session."
    if warning not in warnings:
        warnings.append(warning)
        log.warning("%s", warning)
