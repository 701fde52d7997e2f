"""Undo: live and previous change places. What is promised of it for every engine that keeps previous.

- A run and group does it once: a rerun, in whatever attempt, tells what was done.
- Only what proves that it was live here is made live again.
- It is looked whether that may still be done right before live is touched.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

from attrs import evolve, frozen

from env_sync.engines.base.contract import Holder, Promotion, Stamp
from env_sync.engines.base.history import UNSAID, Returned, Said, check_was_live, no_previous
from env_sync.engines.base.promotion import Swapped

SaidT = TypeVar("SaidT", bound=Said)
PreviousT = TypeVar("PreviousT", bound=Said)
ReadyT = TypeVar("ReadyT")


@frozen(kw_only=True)
class Undoing(ABC, Generic[SaidT, PreviousT, ReadyT]):
    """What an undo asks of an engine, while it holds the lease.

    Every method may raise what the engine's library raises.
    """

    unsaid: ClassVar[str] = UNSAID
    """The reason against a previous that says nothing of its past."""

    holder: Holder
    environment: str
    database: str
    """As which previous must have been live."""
    keep_previous: bool
    """Whether pulls of this sync keep it."""
    log: logging.Logger

    @property
    @abstractmethod
    def previous_named(self) -> str:
        """Previous, and where it is, in words."""

    @abstractmethod
    def read_live(self) -> SaidT | None:
        """What live says about itself; None where there is no live."""

    @abstractmethod
    def write_returned(self, said: SaidT, returned: Returned) -> None:
        """Let live, which says this, say that this undo made it live."""

    @abstractmethod
    def has_previous(self) -> bool:
        """Whether there is a previous."""

    @abstractmethod
    def read_previous(self) -> PreviousT | None:
        """What previous says about itself, after what was left of a swap was put right.

        None where there is none. Raises NoPrevious where it is of no use.
        """

    def is_another(self, previous: PreviousT) -> bool:
        """Whether what previous says of itself was said of another copy."""
        return False

    @abstractmethod
    def prepare(self, previous: PreviousT) -> ReadyT:
        """Make all ready; live is not touched. Raises NoSuchDatabase where there is none, PromoteFailed."""

    @abstractmethod
    def swap(self, ready: ReadyT) -> Swapped:
        """Let live and previous, if they are still the same, change places, and say who did it.

        Raises PromoteFailed, PreviousRefused, with live as it was.
        """


def restore_previous(
    work: Undoing[SaidT, PreviousT, ReadyT], last_look: Callable[[Stamp | None], None]
) -> Promotion:
    """Swap live and previous. See `Engine.restore_previous`. Raises what the engine's library does, too."""
    if (done := _returned_before(work)) is not None:
        return done
    previous = work.read_previous()
    if previous is None:
        raise no_previous(work.previous_named, keep_previous=work.keep_previous)
    check_previous(work, previous)
    ready = work.prepare(previous)
    last_look(previous.stamp)
    swapped = work.swap(ready)
    return Promotion(
        unavailable=swapped.unavailable, first=False, previous_kept=True, warnings=swapped.warnings
    )


def check_previous(work: Undoing[SaidT, PreviousT, ReadyT], previous: PreviousT) -> None:
    """Raises PreviousRefused unless what previous says proves that it was live here."""
    check_was_live(
        previous.was_live,
        previous.stamp,
        work.previous_named,
        database=work.database,
        environment=work.environment,
        is_another=work.is_another(previous),
        unsaid=work.unsaid,
    )


def _returned_before(work: Undoing[SaidT, PreviousT, ReadyT]) -> Promotion | None:
    """What an earlier try or attempt of this run and group did: it must not be undone by a rerun."""
    said = work.read_live()
    returned = said.returned if said is not None else None
    if said is None or returned is None or not returned.holder.same_group_as(work.holder):
        return None
    work.log.info(
        "This run has made %s live before, at %s: nothing is done. To change them back, start another run.",
        work.previous_named,
        f"{returned.at:%Y-%m-%d %H:%M:%SZ}",
    )
    if returned.holder != work.holder:
        work.write_returned(said, evolve(returned, holder=work.holder))
    return Promotion(
        unavailable=returned.unavailable, first=False, previous_kept=work.has_previous(), warnings=()
    )
