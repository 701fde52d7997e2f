"""The sharing out of integration tests among workers."""

from __future__ import annotations

import pytest

from tests.integration.scheduling import next_unit, servers_of, unit_of

CONFORMANCE = "tests/integration/conformance/test_kills.py::test_a_task_that_is_killed"


@pytest.mark.parametrize(
    ("nodeid", "servers"),
    [
        (f"{CONFORMANCE}[PostgreSQL 18-push-dump]", "PostgreSQL 18"),
        (f"{CONFORMANCE}[PostgreSQL 15 to 18]", "PostgreSQL 15 to 18"),
        (f"{CONFORMANCE}[MongoDB]", "MongoDB"),
        ("tests/integration/compatibility/test_lease.py::test_a[Files-1234567 begins]", "Files"),
        (f"{CONFORMANCE}[Elasticsearch 7.17-push-dump]", "elasticsearch"),
        ("tests/integration/mysql/test_mysql_pull.py::test_a[x]", "mysql"),
        ("tests/integration/test_store.py::TestKeys::test_a[moto-Some text]", "test_store"),
    ],
)
def test_the_servers_of_a_test(nodeid: str, servers: str) -> None:
    assert servers_of(nodeid) == servers


def test_one_file_on_two_kinds_of_servers_is_two_units() -> None:
    assert unit_of(f"{CONFORMANCE}[MongoDB]") != unit_of(f"{CONFORMANCE}[Files]")
    assert unit_of(f"{CONFORMANCE}[MongoDB-a]") == unit_of(f"{CONFORMANCE}[MongoDB-b]")


WAITING = {"pg|a": 3, "my|a": 4, "pg|b": 3, "my|b": 1, "pg|c": 1}


@pytest.mark.parametrize(
    ("mine", "others", "unit"),
    [
        # The largest kind that nobody has begun.
        ([], [], "pg|a"),
        ([], ["pg"], "my|a"),
        # What was begun is gone on with.
        (["my"], ["pg"], "my|a"),
        (["gone", "pg"], ["my"], "pg|a"),
        # A new kind rather than another worker's.
        (["gone"], ["pg"], "my|a"),
        # At the end, the last of another worker's.
        (["gone"], ["pg", "my"], "pg|c"),
    ],
)
def test_what_a_worker_takes_next(mine: list[str], others: list[str], unit: str) -> None:
    assert next_unit(WAITING, mine, others) == unit
