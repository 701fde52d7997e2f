"""Sweeps whose items are tests: one function with many values of a parameter.

`@pytest.mark.sweep("step", at_most=3)` lets an ordinary run try three of the steps, other ones for each set
of the remaining parameters, and `--exhaustive` all of them. Several names are parameters that belong
together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from enum import Enum

import pytest

from tests.parameters import parameters_of
from tests.sweep import draw

MARK = "sweep"
PLAIN = (str, int, float, Enum, type(None))


def sweep_over(items: Sequence[pytest.Item], fixture: str, at_most: int) -> None:
    """Make a sweep of each test that a fixture of this name is a parameter of, over its values."""
    for item in items:
        if fixture in parameters_of(item):
            item.add_marker(pytest.mark.sweep(fixture, at_most=at_most))


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
    params = parameters_of(item)
    if not {*swept} <= {*params}:
        raise pytest.UsageError(f"{item.nodeid} has no parameter {' and '.join(swept)} to sweep over")
    others = {name: value for name, value in params.items() if name not in swept}
    if unclear := [name for name, value in others.items() if not isinstance(value, PLAIN)]:
        # Each worker must draw the same, and what is printed of an object may be another in each.
        raise pytest.UsageError(f"{item.nodeid} has parameters without a plain value: {', '.join(unclear)}")
    return f"{item.nodeid.partition('[')[0]} {sorted((name, str(value)) for name, value in others.items())}"
