"""Sweeps whose items are tests: one function with many values of a parameter.

`@pytest.mark.sweep("step", at_most=3)` lets an ordinary run try three of the steps, other ones for each set
of the remaining parameters, and `--exhaustive` all of them. Several names are parameters that belong together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest

from tests.sweep import draw

MARK = "sweep"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not drawn. Items that were chosen by name are few enough to be all tried."""
    kept = set(drawn(items))
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def drawn(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The items that belong to no sweep, and a sample of each sweep."""
    sweeps: dict[tuple[str, int], list[pytest.Item]] = defaultdict(list)
    kept = []
    for item in items:
        if (mark := item.get_closest_marker(MARK)) is None:
            kept.append(item)
        else:
            sweeps[_sweep_of(item, mark.args), mark.kwargs["at_most"]].append(item)
    for (name, at_most), swept in sweeps.items():
        kept += draw(name, swept, at_most)
    return kept


def _sweep_of(item: pytest.Item, swept: Sequence[str]) -> str:
    """What all items of a sweep have in common: the function, and the values of its other parameters."""
    callspec: Any = getattr(item, "callspec", None)
    if callspec is None or not {*swept} <= {*callspec.indices}:
        raise pytest.UsageError(f"{item.nodeid} has no parameter {' and '.join(swept)} to sweep over")
    others = {name: place for name, place in callspec.indices.items() if name not in swept}
    return f"{item.nodeid.partition('[')[0]} {sorted(others.items())}"
