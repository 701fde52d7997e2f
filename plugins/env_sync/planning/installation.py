"""Where this installation keeps its configuration, and which environments it generates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve

from env_sync.config.files import environment_names
from env_sync.config.reader import read_environment
from env_sync.core.errors import NoHieradata, UnknownEnvironment
from env_sync.domain.environment import Environment
from env_sync.domain.problem import Problem
from env_sync.domain.sanitising import raw_push, says_above
from env_sync.domain.sync import Sync
from env_sync.engines.registry import offered
from env_sync.planning.plan import Plan, make_plan

ROOT = Path(__file__).resolve().parents[3]
HIERADATA = "ENV_SYNC_HIERADATA"
TRANSFORMATIONS = "ENV_SYNC_TRANSFORMATIONS"
ENVIRONMENTS = "ENV_SYNC_ENVIRONMENTS"


def hieradata_folder() -> Path:
    """The folder of hieradata: ENV_SYNC_HIERADATA, else include/hieradata/."""
    return Path(os.environ.get(HIERADATA) or ROOT / "include" / "hieradata")


def transformations_folder() -> Path:
    """The folder of transformations: ENV_SYNC_TRANSFORMATIONS, else transformation_sql/ beside hieradata."""
    return Path(os.environ.get(TRANSFORMATIONS) or hieradata_folder().parent / "transformation_sql")


def chosen_environments() -> tuple[str, ...]:
    """The environments of this instance: those of ENV_SYNC_ENVIRONMENTS, else all in hieradata.

    Raises UnknownEnvironment where one that was chosen is not in hieradata, and NoHieradata where
    there is none at all: an instance that quietly generated nothing would look healthy.
    """
    known = environment_names(hieradata_folder())
    if not known:
        raise NoHieradata(
            f"{hieradata_folder()} holds no environment: it needs a file <environment>.yaml or a folder of "
            f"node classes for each. Write one, or set {HIERADATA}."
        )
    chosen = [name.strip() for name in os.environ.get(ENVIRONMENTS, "").split(",") if name.strip()]
    if unknown := [name for name in chosen if name not in known]:
        raise UnknownEnvironment(
            f"{ENVIRONMENTS} names {', '.join(unknown)}, but {hieradata_folder()} holds "
            f"{', '.join(known) or 'no environment'}. Correct one or the other."
        )
    return tuple(dict.fromkeys(chosen)) or known


def read_plan(environment: str) -> Plan:
    """The plan of one environment, as configured now. Raises UnknownEnvironment."""
    plan = make_plan(_read(environment), offered())
    return evolve(plan, problems=(*plan.problems, *_contradicted(plan)))


def _read(environment: str) -> Environment:
    return read_environment(hieradata_folder(), environment, transformations_folder())


def _contradicted(plan: Plan) -> Iterator[Problem]:
    """A problem for each pull that says that its data was sanitised above, where hieradata says otherwise.

    Only where the environment above is in this hieradata. The pull stays: the manifest of its dump decides.
    """
    syncs = {group.sync.name: group.sync for group in plan.groups}.values()
    known = environment_names(hieradata_folder())
    read: dict[str, Environment] = {}
    for sync in syncs:
        if not isinstance(sync, Sync) or not says_above(sync):
            continue
        owner = plan.settings.owner_of(sync.url)
        if owner is None or owner not in known or owner == plan.environment:
            continue
        if owner not in read:
            read[owner] = _read(owner)
        if push := raw_push(sync, read[owner]):
            yield Problem(
                place=sync.place,
                sync=None,
                read=f"{sync.name} says that what it brings was sanitised above, but nothing sanitises what "
                f"{push.name} of {owner} pushes to {sync.url}/{sync.path} ({push.place})",
                right="see that it is sanitised there or here, or write another reason",
            )
