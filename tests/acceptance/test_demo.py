"""bin/demo as a newcomer runs it, and its search for what must not come down."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

from sandbox import process
from sandbox.demo.scene import Scene
from tests.acceptance.demo import Demo

pytestmark = pytest.mark.slow


def counts(said: str) -> tuple[int, int]:
    """How many values it says were found in production and in integration."""
    found = re.search(r"found in production ([\d,]+), in integration ([\d,]+)", said)
    assert found, said
    production, integration = (int(number.replace(",", "")) for number in found.groups())
    return production, integration


def test_all_nights_run_and_nothing_personal_is_in_integration(demo: Demo) -> None:
    demo.wait_until_it_serves()
    said = demo.said
    production, integration = counts(said)
    assert production > 100_000
    assert integration == 0, said
    assert "Left out" not in said, said
    assert "All is well" in said, said
    assert "CRITICAL" not in said, said
    # Only what a first pull must tell, that nobody was let in yet, and what a cluster without security must.
    warnings = re.sub(r"127\.0\.0\.1:\d+", "CLUSTER", "|".join(re.findall(r"WARNING +│ (.*?) +│", said)))
    assert set(warnings.split("|")) == {
        "pulled and promoted: signon_production is",
        "copied and promoted: CLUSTER does",
    }
    url = re.search(r"The Airflow UI: http://127\.0\.0\.1:(\d+)", said)
    assert url, said
    assert process.listens(int(url[1]))
    demo.stop()
    assert demo.end() == 130, demo.said
    assert "nothing of it runs any more" in demo.said.removeprefix(said)
    assert not process.listens(int(url[1]))
    left = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/environ")
        if str(demo.folder).encode() in _read(path)
    ]
    assert left == []


def test_what_came_down_is_found_by_a_second_search(demo: Demo) -> None:
    demo.wait_until_it_serves()
    demo.stop()
    demo.end()
    search = Demo(demo.folder, "--search")
    assert search.end() == 0, search.said
    assert "All is well" in search.said
    servers = Scene(demo.folder).servers
    with servers["production"] as production:
        people = production.execute("SELECT name, email FROM users", database="signon_production")
    with (
        servers["integration"] as integration,
        contextlib.closing(integration.connect("signon_production")) as connection,
    ):
        connection.execute("CREATE TABLE leak (name text, email text)")
        connection.cursor().executemany("INSERT INTO leak VALUES (%s, %s)", people)
    search = Demo(demo.folder, "--search")
    assert search.end() == 1, search.said
    assert counts(search.said)[1] > 1000
    assert re.search(r"WRONG: [\d,]+ personal values in integration: signon_production", search.said), (
        search.said
    )


def test_there_must_be_something_to_search(tmp_path: Path) -> None:
    search = Demo(tmp_path, "--search")
    assert search.end() == 1
    assert "run bin/demo first" in search.said


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
