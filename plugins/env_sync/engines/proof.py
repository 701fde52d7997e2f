"""The proof that a copy carries: whether it is one that promote may believe."""

from __future__ import annotations

from collections.abc import Sequence

from env_sync.engines.contract import CopyState, Holder, Stamp
from env_sync.errors import ProofMissing
from env_sync.manifest import Transformation

AGAIN = "Nothing was touched; run the group again from restore."
"""What to do where there is none."""


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
