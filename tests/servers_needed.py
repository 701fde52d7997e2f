"""Which parts of `bin/setup-servers` a choice of tests needs, so that `bin/test` installs no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from tests.parameters import parameters_of

FIXTURES: Mapping[str, str] = {
    "postgresql15": "postgresql-15",
    "mariadb": "mariadb",
    "s3": "versitygw",
    "clusters": "elasticsearch",
}
SUBJECTS: Mapping[str, str] = {
    "PostgreSQL 12": "postgresql-others",
    "PostgreSQL 13": "postgresql-others",
    "PostgreSQL 14": "postgresql-others",
    "PostgreSQL 15": "postgresql-15",
    "PostgreSQL 17": "postgresql-others",
    "MariaDB": "mariadb",
    "Elasticsearch": "elasticsearch",
}
"""By how the name of a subject of the conformance suite begins."""
EVERYTHING = ("postgresql-15", "mariadb", "chromium", "versitygw", "postgresql-others", "elasticsearch")
"""All parts; those that PyPI has are in the virtual environment."""
WHOLE = ("tests/acceptance/", "tests/integration/test_sandbox_servers.py")
"""Where any of the servers is started, by the beginning of a test's id."""


def servers_needed(items: Iterable[pytest.Item]) -> list[str]:
    """The parts that these tests need, in the order in which they are set up."""
    needed: set[str] = set()
    for item in items:
        if item.nodeid.startswith(WHOLE):
            return list(EVERYTHING)
        subject = str(parameters_of(item).get("subject", ""))
        needed |= {part for name, part in FIXTURES.items() if name in getattr(item, "fixturenames", ())}
        needed |= {part for name, part in SUBJECTS.items() if subject.startswith(name)}
    return [part for part in EVERYTHING if part in needed]
