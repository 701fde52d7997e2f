"""A problem of the configuration: where, what was read, what would be right."""

from __future__ import annotations

from attrs import frozen

from env_sync.domain.sync import Place


@frozen(kw_only=True, order=True)
class Problem:
    """One mistake in the configuration of one environment.

    `sync` is the name of the sync that is left out because of it, or None where the problem takes
    no sync away. `read` says what stands there, `right` what would be right.
    """

    place: Place
    sync: str | None
    read: str
    right: str

    def __str__(self) -> str:
        return f"{self.place}: {self.read}; {self.right}"
