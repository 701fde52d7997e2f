"""What is asked between the statements of a transformation, where operators of the dump are looked up too."""

from __future__ import annotations

import pytest

from env_sync.engines.postgresql import (
    definitions,
    existing_triggers,
    invariants,
    sanitise,
    shadowing,
    trigger_writes,
)

ASKED = {
    "what holds": invariants.READ,
    "where names are looked up": invariants.SET_PATH,
    "triggers and rules": existing_triggers.STANDING,
    "definitions": definitions.READ,
    "whether it is a table": sanitise.IS_TABLE,
    "triggers": trigger_writes.TRIGGERS,
    "rows of tables": trigger_writes.TABLES,
}
WORDS = frozenset(
    {
        "all",
        "and",
        "any",
        "as",
        "coalesce",
        "exists",
        "from",
        "join",
        "lateral",
        "operator",
        "or",
        "values",
        "where",
    }
)
"""What may stand before a bracket and calls nothing."""
COLUMNS = frozenset({"d", "m"})
"""What stands before the names of its columns."""


@pytest.mark.parametrize("text", ASKED.values(), ids=ASKED)
def test_it_calls_nothing_but_the_servers_own(text: str) -> None:
    """An operator of the dump for just these types comes before one of the server's that needs a cast."""
    text = text.replace("%s", "$1")
    assert {*shadowing.operators(text)} == set()
    assert {*shadowing.called(text)} <= WORDS | COLUMNS


def test_this_test_sees_what_is_not_the_servers() -> None:
    assert {*shadowing.operators("SELECT a & 1 = 2 AND b IN (3), c(4) OPERATOR(pg_catalog.+) 1")} == {
        "&",
        "=",
        "<>",
    }
