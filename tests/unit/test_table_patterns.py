from __future__ import annotations

import pytest

from env_sync.engines.postgresql.table_patterns import Relation, matches

PEOPLE = Relation("public", "people", True)
LOG = Relation("log", "visits", False)
ODD = Relation("Odd.Schema", 'a "Table".$1', False)


@pytest.mark.parametrize(
    ("pattern", "relation"),
    [
        ("people", PEOPLE),
        ("PEOPLE", PEOPLE),
        ("p*", PEOPLE),
        ("peopl?", PEOPLE),
        ("public.people", PEOPLE),
        ("*.people", PEOPLE),
        ("people|visits", PEOPLE),
        ("p[aeiou]ople", PEOPLE),
        ("log.*", LOG),
        ("l?g.v*", LOG),
        ('"Odd.Schema".*', ODD),
        ('*."a ""Table"".$1"', ODD),
        ("database.log.visits", LOG),
    ],
)
def test_a_pattern_that_names_it(pattern: str, relation: Relation) -> None:
    assert matches(pattern, relation)


@pytest.mark.parametrize(
    ("pattern", "relation"),
    [
        ("visits", LOG),
        ("*", LOG),
        ("people2", PEOPLE),
        ("eopl", PEOPLE),
        ('"People"', PEOPLE),
        ('"p*"', PEOPLE),
        ("log.people", PEOPLE),
        ("odd.schema.*", ODD),
        ("people$", PEOPLE),
        ("people[]", PEOPLE),
        ("peo.le", PEOPLE),
    ],
)
def test_a_pattern_that_does_not(pattern: str, relation: Relation) -> None:
    assert not matches(pattern, relation)
