"""What a copy says about itself: how that begins, and what a step may believe of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from env_sync.config.sync_fields import SAY_NONE
from env_sync.core.errors import ProofMissing, StampUnreadable
from env_sync.domain.manifest import Transformation
from env_sync.engines.base.contract import CopyState, Dump, Holder, Stamp, Work

AGAIN = "Nothing was touched; run the group again from restore."
"""What to do where there is none."""


def first_stamp(work: Work, dump: Dump, now: dt.datetime) -> Stamp:
    """What incoming says when its restore begins; `now` is the server's clock (UTC)."""
    return Stamp(
        state=CopyState.RESTORING,
        holder=work.holder,
        sync=work.sync.name,
        environment=work.sync.environment,
        source_environment=dump.environment,
        dump_key=dump.key,
        dump_sha256=dump.sha256,
        data_time=dump.data_time,
        born_in=dump.born_in,
        parents=dump.parents,
        transformations=(),
        changed=now,
        above=dump.transformations,
        reason=work.sync.reason if work.sync.none_said else "",
    )


def unreadable(where: str, remove: str) -> StampUnreadable:
    """The error for a live that says something of the pull that filled it, and nobody can read what.

    `where` names live, `remove` says how to take away what it says.
    """
    return StampUnreadable(
        f"{where} carries a stamp that cannot be read: another version of Env Sync wrote it, or somebody "
        "changed it. So nobody knows where this data is from and whether it is sanitised. Nothing was "
        f"restored or dumped. Let a pull fill it anew that has a transformation, or that says {SAY_NONE}. "
        f"Where no pull fills it, find out who wrote that, and then {remove}."
    )


def check_raw(stamp: Stamp | None, where: str, work: Work) -> Stamp:
    """Gives the stamp where incoming is what this attempt restored, and nothing was done to it since.

    `where` names the copy in the error. Raises ProofMissing.
    """
    if stamp is None or stamp.holder != work.holder or stamp.environment != work.sync.environment:
        whose = f"of {stamp.holder}, attempt {stamp.holder.attempt}" if stamp else "without a stamp"
        raise ProofMissing(f"{where} is a copy {whose}, not of this attempt. {AGAIN}")
    if stamp.state is not CopyState.RAW:
        raise ProofMissing(f"{where} is {stamp.state}: it was worked on before. {AGAIN}")
    return stamp


def nothing_to_promote(what: str) -> ProofMissing:
    """The error where there is no incoming; `what` it would be, and where."""
    return ProofMissing(f"There is no {what}, so nothing to promote. {AGAIN}")


def check_stamp(
    stamp: Stamp | None,
    where: str,
    *,
    holder: Holder,
    environment: str,
    transformations: Sequence[Transformation],
) -> Stamp:
    """Gives the stamp where it proves that just these transformations ran, in this attempt, for here.

    `where` names the copy in the error. Raises ProofMissing, saying what does not fit.
    """
    if stamp is None:
        raise ProofMissing(f"{where} carries no stamp of Env Sync: it was not made by it. {AGAIN}")
    if stamp.state is not CopyState.SANITISED:
        raise ProofMissing(f"{where} is {stamp.state}, not {CopyState.SANITISED}. {AGAIN}")
    differences = [
        f"its {what} is {found}, this step's is {wanted}"
        for what, found, wanted in (
            ("run", stamp.holder.run, holder.run),
            ("group", stamp.holder.group, holder.group),
            ("attempt", stamp.holder.attempt, holder.attempt),
            ("environment", stamp.environment, environment),
        )
        if found != wanted
    ]
    if stamp.transformations != tuple(transformations):
        differences.append(
            f"its transformations are {_named(stamp.transformations)}, this step's are "
            f"{_named(transformations)}"
        )
    if differences:
        raise ProofMissing(f"{where} was sanitised, but {'; '.join(differences)}. {AGAIN}")
    return stamp


def _named(transformations: Sequence[Transformation]) -> str:
    return ", ".join(f"{one.name} ({one.sha256[:12]})" for one in transformations) or "none"
