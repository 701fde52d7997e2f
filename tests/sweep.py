"""A sweep tries every item of a long list; in an ordinary run it tries a sample of them.

`bin/test` makes the seed of the sample from the commit: one commit always tries the same items, and many
commits together try them all. `bin/test --exhaustive` tries every item.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
EXHAUSTIVE = "ENV_SYNC_TEST_EXHAUSTIVE"
SEED = "ENV_SYNC_TEST_SEED"


def exhaustive() -> bool:
    """Whether sweeps try every item."""
    return os.environ.get(EXHAUSTIVE, "") == "1"


def seed() -> str:
    """What samples are drawn by."""
    return os.environ.get(SEED) or "0"


def sample(name: str, items: Sequence[T], at_most: int) -> list[T]:
    """At most so many of the items, in their order, the first and the last among them.

    `name` is the sweep's own, so that sweeps of equal length do not all leave out the same places. With
    `--exhaustive`, or where there are no more than `at_most`, all items are given.
    """
    if at_most < 2:
        raise ValueError(f"a sample has its first and its last item: {at_most} are too few")
    if exhaustive() or len(items) <= at_most:
        return list(items)
    between = random.Random(f"{seed()} {name}").sample(range(1, len(items) - 1), at_most - 2)
    return [items[place] for place in sorted([0, *between, len(items) - 1])]


def draw(name: str, items: Sequence[T], at_most: int) -> list[T]:
    """At most so many of the items, in their order, whichever; else as `sample`."""
    if exhaustive() or len(items) <= at_most:
        return list(items)
    places = random.Random(f"{seed()} {name}").sample(range(len(items)), at_most)
    return [items[place] for place in sorted(places)]


def strides(name: str, longest: int) -> Iterator[int]:
    """Numbers from 0 on without end, for a sweep that ends where there is nothing left to try.

    From one to the next it is at most `longest`; with `--exhaustive` no number is left out.
    """
    draw = random.Random(f"{seed()} {name}")
    number = 0
    while True:
        yield number
        number += 1 if exhaustive() else draw.randint(1, longest)


def header() -> str:
    """What pytest's header says about sweeps."""
    if exhaustive():
        return "sweeps: every item"
    return f"sweeps: samples, {SEED}={seed()} (every item with {EXHAUSTIVE}=1)"
