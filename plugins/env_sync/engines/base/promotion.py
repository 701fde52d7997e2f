"""Promoting: incoming becomes live. What all engines promise of it, over what each does in its own way.

- An attempt that was killed after the swap finds by live that it is done, and does what is left.
- Nothing is made ready before incoming has proved what it is.
- Before anything is taken away it is looked whether that may still be done; once more before the swap.
- What fails after the swap is a warning, for live is the new data.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from attrs import evolve, frozen

from env_sync.core.errors import EnvSyncError
from env_sync.domain.manifest import Transformation
from env_sync.engines.base.contract import Holder, Promotion, Stamp
from env_sync.engines.base.history import Said
from env_sync.engines.base.proof import check_stamp


@frozen(kw_only=True)
class Prepared:
    """What was made ready for the swap. Engines add to it what the swap needs."""

    stamp: Stamp
    first: bool
    """Whether there is no live yet."""
    warnings: tuple[str, ...] = ()


@frozen(kw_only=True)
class Swapped:
    """How a swap ended: seconds for which live was not to be used, and warnings."""

    unavailable: float
    warnings: tuple[str, ...] = ()


IncomingT = TypeVar("IncomingT")
PreparedT = TypeVar("PreparedT", bound=Prepared)


@frozen(kw_only=True)
class Promoting(ABC, Generic[IncomingT, PreparedT]):
    """What promoting asks of an engine, while it holds the lease.

    Every method may raise what the engine's library raises, where it does not say so.
    """

    holder: Holder
    environment: str
    keep_previous: bool
    """Whether what live was is kept after the swap."""
    log: logging.Logger

    @property
    @abstractmethod
    def live_named(self) -> str:
        """Live, and where it is, in words."""

    @property
    @abstractmethod
    def incoming_named(self) -> str:
        """The same of incoming."""

    @abstractmethod
    def read_incoming(self) -> IncomingT | None:
        """What is known of incoming before it is looked at closely.

        None where there may be none because an earlier try swapped it: live is asked then.
        """

    @abstractmethod
    def read_live(self) -> Said | None:
        """What live says about itself; None where there is no live."""

    @abstractmethod
    def read_proof(self) -> Stamp | None:
        """The stamp of incoming. Raises ProofMissing where there is no incoming, or it is not ours."""

    @abstractmethod
    def prepare(self, incoming: IncomingT | None, stamp: Stamp) -> PreparedT:
        """Make incoming ready; live and previous are not touched. Raises PromoteFailed, ProofMissing."""

    def make_way(self, prepared: PreparedT) -> PreparedT:
        """Clear away what is in the way of the swap, so that it can be put back; where there is a live."""
        return prepared

    def check_same(self, prepared: PreparedT, *, last: bool) -> PreparedT:
        """See that the copies are those that were made ready; `last`: the swap is next.

        Raises PromoteFailed.
        """
        return prepared

    @abstractmethod
    def swap(self, prepared: PreparedT) -> Swapped:
        """Make incoming live; what live was is previous then. Raises PromoteFailed, with live as it was."""

    def has_previous(self) -> bool:
        """Whether there is a previous."""
        return False

    def warnings_then(self, said: Said) -> tuple[str, ...]:
        """The warnings that live keeps of its promotion."""
        return ()

    def drop_rest_of_incoming(self) -> None:
        """Drop what a swap that was killed left in the place of incoming."""

    def drop_replaced(self, *, first: bool) -> tuple[str, ...]:
        """Drop what previous was before the swap; warnings where that fails. `first`: there was no live."""
        return ()

    def drop_previous(self) -> tuple[str, ...]:
        """Drop previous; warnings where that fails."""
        return ()

    def tidy_up(self) -> tuple[str, ...]:
        """What else is to be done once all copies are in their places; warnings where that fails."""
        return ()


def promote(
    work: Promoting[IncomingT, PreparedT],
    transformations: Sequence[Transformation],
    last_look: Callable[[], None],
) -> Promotion:
    """Swap incoming with live. See `Engine.promote`. Raises what the engine's library does as well."""
    incoming = work.read_incoming()
    if incoming is None and (done := _done_before(work, transformations)) is not None:
        return done
    stamp = check_stamp(
        work.read_proof(),
        work.incoming_named,
        holder=work.holder,
        environment=work.environment,
        transformations=transformations,
    )
    prepared = work.prepare(incoming, stamp)
    last_look()
    prepared = work.check_same(prepared, last=prepared.first)
    if not prepared.first:
        prepared = work.make_way(prepared)
        # Preparing and making way take a while.
        last_look()
        prepared = work.check_same(prepared, last=True)
    swapped = work.swap(prepared)
    return _finish(
        work,
        Promotion(
            unavailable=swapped.unavailable,
            first=prepared.first,
            previous_kept=not prepared.first,
            warnings=(*prepared.warnings, *swapped.warnings),
        ),
    )


def warning_of(name: object, problem: EnvSyncError) -> tuple[str, ...]:
    """The warning where a copy could not be dropped after the swap."""
    return (f"{name} is still there: {problem}",)


def _done_before(
    work: Promoting[IncomingT, PreparedT], transformations: Sequence[Transformation]
) -> Promotion | None:
    """What an earlier try of this attempt did, if it was killed after the swap."""
    said = work.read_live()
    if said is None or said.stamp is None or said.promoted is None:
        return None
    if said.stamp.holder != work.holder or said.stamp.transformations != tuple(transformations):
        return None
    work.log.info("%s was promoted by an earlier try of this step.", work.live_named)
    kept = work.has_previous()
    promotion = _finish(
        work,
        Promotion(
            unavailable=said.promoted.unavailable,
            first=said.promoted.first,
            previous_kept=kept and not said.promoted.first,
            warnings=work.warnings_then(said),
        ),
    )
    work.drop_rest_of_incoming()
    return promotion


def _finish(work: Promoting[IncomingT, PreparedT], promotion: Promotion) -> Promotion:
    """Drop what the swap replaced, and previous where it is not to be kept."""
    kept = promotion.previous_kept
    warnings = [*promotion.warnings, *work.drop_replaced(first=promotion.first)]
    if kept and not work.keep_previous:
        left = work.drop_previous()
        kept = bool(left)
        warnings += left
    return evolve(promotion, previous_kept=kept, warnings=(*warnings, *work.tidy_up()))
