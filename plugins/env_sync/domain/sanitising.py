"""Whether data was sanitised: by which transformations, here or above, and how that is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from env_sync.domain.environment import Environment
from env_sync.domain.manifest import Parent, Transformation
from env_sync.domain.postprocess.kinds import KINDS
from env_sync.domain.postprocess.postprocess import RULE
from env_sync.domain.sync import Action, AnySync, Ensure, Sync

FILE = "a transformation"
"""What stands for transformations of every name: one may take the place of another."""
ABOVE = "sanitised above"
"""How a reason begins where what comes down needs nothing more here."""


class Badge(StrEnum):
    """What is shown of data, or of what a sync brings."""

    SANITISED = "SANITISED"
    ABOVE = "SANITISED ABOVE"
    """Not here, but in an environment that it came through."""
    NOT = "NOT SANITISED"


def is_rule(transformation: Transformation) -> bool:
    """Whether this is a rule that ran, and not a file."""
    return transformation.name.startswith(RULE)


def ways_in(transformations: Iterable[Transformation]) -> frozenset[str]:
    """The ways in which these sanitise: by a file, and by each rule that does."""
    ways = set()
    for one in transformations:
        if not is_rule(one):
            ways.add(FILE)
            continue
        kind = KINDS.get(one.name.removeprefix(RULE))
        if kind is not None and kind.sanitises:
            ways.add(one.name)
    return frozenset(ways)


def ways_of(sync: Sync) -> frozenset[str]:
    """The ways in which a pull or copy sanitises."""
    rules = {one.name for one in sync.postprocess if one.sanitises}
    return frozenset(rules | {FILE} if sync.transformation else rules)


def badge_of_data(
    here: Iterable[Transformation], above: Iterable[Transformation], parents: Sequence[Parent]
) -> Badge:
    """The badge of data that was transformed `here`, and before that `above` and as its `parents` tell."""
    if ways_in(here):
        return Badge.SANITISED
    earlier = [*above, *(one for parent in parents for one in (*parent.transformations, *parent.before))]
    return Badge.ABOVE if ways_in(earlier) else Badge.NOT


def badge_of(sync: AnySync) -> Badge | None:
    """The badge of what a sync is configured to bring; None for what does not come from above.

    That of a push that sanitises nothing itself, and does not say that it need not, is that of its live.
    """
    if isinstance(sync, Sync):
        if sync.action is Action.PUSH:
            if sync.pre_dump_transformation is not None:
                return Badge.SANITISED
            if not sync.none_said:
                return None
        elif sync.recovery:
            return None
    if sync.sanitises:
        return Badge.SANITISED
    return Badge.ABOVE if sync.none_said and sync.reason.lower().startswith(ABOVE) else Badge.NOT


def says_above(sync: Sync) -> bool:
    """Whether a sync says, and nothing but its reason does, that what it brings was sanitised above."""
    return sync.writes and badge_of(sync) is Badge.ABOVE


def raw_push(pull: Sync, source: Environment) -> Sync | None:
    """The push that makes the dumps of a pull, where by its environment's configuration none is sanitised.

    None where one is, or where that configuration does not tell.
    """
    dumps = (pull.url, pull.path, pull.dbms, pull.database)
    pushes = [
        each
        for each in _kept(source)
        if each.action is Action.PUSH and (each.url, each.path, each.dbms, each.database) == dumps
    ]
    return pushes[0] if pushes and all(_is_raw(each, source) for each in pushes) else None


def _is_raw(push: Sync, source: Environment) -> bool:
    if (badge := badge_of(push)) is not None:
        return badge is Badge.NOT
    filling = [each for each in _kept(source) if each.writes and each.live == push.live and not each.recovery]
    # One that fills it and is left out for a problem is not among them.
    told = bool(filling) or not push.filled_by
    return told and all(badge_of(each) is Badge.NOT for each in filling)


def _kept(source: Environment) -> list[Sync]:
    return [each for each in source.syncs if each.ensure is not Ensure.ABSENT]


def badge_text(sync: AnySync) -> str:
    """The badge with its reason, in one line; "" where there is none, or nothing to be told."""
    badge = badge_of(sync)
    if badge is None or badge is Badge.SANITISED:
        return ""
    return told(badge, sync.reason if sync.none_said else "no transformation")


def told(badge: str, reason: str) -> str:
    """A badge and why it is so, where that was said."""
    return f"{badge}: {reason}" if reason else badge
