"""What ended attempts left on the disks of workers, and what became of it."""

from __future__ import annotations

from attrs import frozen

from env_sync.core.plural import plural

MEGABYTE = 1_000_000
MOST_NAMED = 3
"""How many runs are named in one line."""


@frozen(kw_only=True)
class Leftover:
    """The private folder of an ended attempt that was removed. `size`: bytes of what lay in it.

    `run` is None where the folder did not say.
    """

    environment: str
    group: str
    run: str | None
    size: int

    def __str__(self) -> str:
        """Whose it was."""
        return f"{self.group} of {self.run or f'an unknown run of {self.environment}'}"


@frozen(kw_only=True)
class Swept:
    """What was found on workers: what was removed, and in words what could not be, each with its path."""

    removed: tuple[Leftover, ...] = ()
    left: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything was found."""
        return bool(self.removed or self.left)

    def __add__(self, other: Swept) -> Swept:
        """Both, without saying a thing twice."""
        return Swept(
            removed=(*self.removed, *other.removed), left=tuple(dict.fromkeys((*self.left, *other.left)))
        )

    @property
    def size(self) -> int:
        """Bytes of all that was removed."""
        return sum(each.size for each in self.removed)

    def __str__(self) -> str:
        """What was removed, in words; "" where nothing was."""
        if not self.removed:
            return ""
        whose = [*dict.fromkeys(map(str, self.removed))]
        more = f" and {len(whose) - MOST_NAMED} more" if len(whose) > MOST_NAMED else ""
        return (
            f"{plural(len(self.removed), 'work folder')} of ended attempts removed from workers, "
            f"{self.size / MEGABYTE:.1f} MB: {', '.join(whose[:MOST_NAMED])}{more}"
        )
