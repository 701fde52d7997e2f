"""What a copy says of its past, and whether that lets it be made live again."""

from __future__ import annotations

import datetime as dt
from typing import Protocol

from attrs import frozen

from env_sync.core.errors import NoPrevious, PreviousRefused
from env_sync.engines.base.contract import CopyState, Holder, Stamp

UNSAID = "it does not say that it was ever live"
"""The reason against a copy that says nothing of its past."""


@frozen(kw_only=True)
class Promoted:
    """What promote adds to what it makes live; `unavailable` in seconds, `at` in UTC."""

    at: dt.datetime
    unavailable: float
    first: bool


@frozen(kw_only=True)
class Returned:
    """What an undo adds to what it makes live again; `unavailable` in seconds, `at` in UTC."""

    holder: Holder
    at: dt.datetime
    unavailable: float


@frozen(kw_only=True)
class WasLive:
    """That a copy was live: as which database, in which environment, until when (UTC)."""

    database: str
    environment: str
    until: dt.datetime


class Said(Protocol):
    """What a copy says about itself; each engine keeps that in its own way."""

    @property
    def stamp(self) -> Stamp | None:
        """What the pull wrote that filled it."""

    @property
    def promoted(self) -> Promoted | None:
        """How it was promoted, where it is live."""

    @property
    def returned(self) -> Returned | None:
        """By which undo it is live again, where it is."""

    @property
    def was_live(self) -> WasLive | None:
        """That it was live, where it is not any more."""


def no_previous(where: str, *, keep_previous: bool) -> NoPrevious:
    """The error where there is no such copy."""
    reason = (
        "no pull has replaced live yet, or somebody dropped it"
        if keep_previous
        else "keep_previous is false for this sync, so a pull drops what it replaces"
    )
    return NoPrevious(
        f"There is no {where}: {reason}. Live is untouched; to go back further, pull an older dump by its "
        "timestamp."
    )


def check_was_live(
    was: WasLive | None,
    stamp: Stamp | None,
    where: str,
    *,
    database: str,
    environment: str,
    is_another: bool = False,
    unsaid: str = UNSAID,
) -> None:
    """Raises PreviousRefused unless a copy proves that it was live here.

    `is_another`: what it says of itself was said of another copy than this. `unsaid` is the reason where
    nothing is said.
    """
    refusals = []
    if was is None:
        refusals.append(unsaid)
    else:
        if is_another:
            refusals.append("it is another database than the one that was live, which it says it is")
        if (was.environment, was.database) != (environment, database):
            refusals.append(f"it was live as {was.database} in {was.environment}")
    if stamp is not None and (stamp.state, stamp.environment) != (CopyState.SANITISED, environment):
        refusals.append(f"it was pulled for {stamp.environment} and is {stamp.state}")
    if refusals:
        raise PreviousRefused(
            f"{where} does not prove that it was live here as {database} in {environment}: "
            f"{'; '.join(refusals)}. It may hold anything, so it is not made live. Live is untouched; pull "
            "again, or an older dump by its timestamp."
        )
