"""Counts with their nouns."""

from __future__ import annotations

import pytest

from env_sync.core.plural import plural


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 problems"), (1, "1 problem"), (2, "2 problems"), (11, "11 problems")]
)
def test_one_is_singular_and_everything_else_plural(count: int, expected: str) -> None:
    assert plural(count, "problem") == expected


def test_a_plural_of_its_own() -> None:
    assert (plural(1, "index", "indices"), plural(2, "index", "indices")) == ("1 index", "2 indices")
