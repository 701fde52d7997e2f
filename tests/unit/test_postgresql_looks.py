"""What is asked between the statements of a transformation, where operators of the dump are looked up too."""

from __future__ import annotations

import pytest

from env_sync.engines.postgresql import (
    definitions,
    held,
    sanitising,
    shadowing,
    standing_before,
    written_besides,
)

ASKED = {
    "what holds": held.READ,
    "where names are looked up": held.SET_PATH,
    "triggers and rules": standing_before.STANDING,
    "definitions": definitions.READ,
    "whether it is a table": sanitising.IS_TABLE,
    "triggers": written_besides.TRIGGERS,
    "rows of tables": written_besides.TABLES,
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
