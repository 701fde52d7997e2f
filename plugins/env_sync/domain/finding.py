"""What a preflight found: problems that would stop a sync, notes on what else is worth knowing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum

from attrs import frozen

from env_sync.core.errors import EnvSyncError


class Level(StrEnum):
    """How bad a finding is: a problem stops a sync, or lets others read what they must not."""

    PROBLEM = "problem"
    NOTE = "note"


@frozen
class Finding:
    """One thing that was found. `fix` is what to do about it; "" where `what` says it already."""

    level: Level
    what: str
    fix: str = ""


@frozen(kw_only=True)
class Checked:
    """One subject of a preflight: a server, a bucket or a sync of an environment, and what was found.

    `said` is one line about it that is worth showing also where nothing was found; it may be "".
    """

    environment: str
    subject: str
    findings: tuple[Finding, ...]
    said: str = ""

    def count(self, level: Level) -> int:
        """How many of its findings are of a level."""
        return sum(finding.level is level for finding in self.findings)


def problem(what: str, fix: str = "") -> Finding:
    """A finding that would stop a sync."""
    return Finding(Level.PROBLEM, what, fix)


def note(what: str, fix: str = "") -> Finding:
    """A finding that would stop nothing."""
    return Finding(Level.NOTE, what, fix)


def problems(*looks: Callable[[], object], refusals: tuple[type[EnvSyncError], ...]) -> Iterator[Finding]:
    """A problem for each look that raises one of `refusals`: one that is found hides no other."""
    for look in looks:
        try:
            look()
        except refusals as refused:
            yield problem(str(refused))
