"""Where this installation keeps its configuration, and which environments it generates."""

from __future__ import annotations

import os
from pathlib import Path

from env_sync.engines.capabilities import CAPABILITIES
from env_sync.errors import NoHieradata, UnknownEnvironment
from env_sync.hieradata.files import environment_names
from env_sync.hieradata.reader import read_environment
from env_sync.plan import Plan, make_plan

ROOT = Path(__file__).resolve().parents[2]
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
    return make_plan(
        read_environment(hieradata_folder(), environment, transformations_folder()), CAPABILITIES
    )
