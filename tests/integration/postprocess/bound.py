"""The postprocess that this repository's own configuration binds to a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from env_sync.config.bindings import read_bindings
from env_sync.config.yaml_reader import read_yaml

COMMON = Path(__file__).parents[3] / "include" / "hieradata" / "common.yaml"


def bound(database: str, environment: str, dbms: str) -> Any:
    """The only one."""
    bindings, faults = read_bindings([read_yaml(COMMON, COMMON.name)], environment, ())
    assert (faults, bindings.hidden) == ((), None)
    [postprocess] = bindings.of(environment, database, dbms)
    return postprocess
