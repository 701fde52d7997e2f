"""The sharing out of integration tests among workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def unit(servers: str, folder: str, name: str) -> str:
    return unit_of(f"tests/integration/{folder}/test_{name}.py::test_a[{servers}]")


PG_A, PG_B, PG_C = (unit("PostgreSQL 18", "conformance", name) for name in "abc")
MY_A, MY_B = (unit("MariaDB", "conformance", name) for name in "ab")
WAITING = {PG_A: 3, MY_A: 4, PG_B: 3, MY_B: 1, PG_C: 1}
PG, MY = "PostgreSQL 18", "MariaDB"


@pytest.mark.parametrize(
    ("mine", "others", "expected"),
    [
        # The largest kind that nobody has begun.
        ([], [], PG_A),
        ([], [PG], MY_A),
        # What was begun is gone on with.
        ([MY], [PG], MY_A),
        (["gone", PG], [MY], PG_A),
        # A new kind rather than another worker's.
        (["gone"], [PG], MY_A),
        # At the end, the last of another worker's.
        (["gone"], [PG, MY], PG_C),
    ],
)
def test_what_a_worker_takes_next(mine: list[str], others: list[str], expected: str) -> None:
    assert next_unit(WAITING, mine, others) == expected


@pytest.mark.parametrize("thief", [False, True])
def test_no_worker_comes_back_to_subjects_after_a_folder_has_cleared_their_servers(thief: bool) -> None:
    waiting = {
        unit("x", "elasticsearch", "a"): 9,
        unit("Elasticsearch 7.17", "conformance", "b"): 8,
        unit("x", "elasticsearch", "c"): 7,
        unit("Elasticsearch 7.17", "conformance", "d"): 6,
    }
    mine, taken = ["gone"] if thief else [], []
    while waiting:
        taken.append(next_unit(waiting, mine, ["elasticsearch"] if thief and mine == ["gone"] else []))
        mine.append("elasticsearch")
        del waiting[taken[-1]]
    of_subjects = ["conformance" in each for each in taken]
    # One that is taken from another worker comes first: nothing is shared on this worker's servers yet.
    assert of_subjects == ([False, True, True, False] if thief else [True, True, False, False])


ENDS_ITS_WORKER = """
import os, pytest

@pytest.mark.parametrize("number", range(8))
def test_some(number):
    if number == 2:
        os._exit(1)
"""
BY_SERVERS = """
from tests.integration.scheduling import ByServers

def pytest_xdist_make_scheduler(config, log):
    return ByServers(config, log)
"""


def test_a_test_that_ends_its_worker_fails_and_all_others_run(tmp_path: Path) -> None:
    folder = tmp_path / "tests/integration/some"
    folder.mkdir(parents=True)
    (tmp_path / "conftest.py").write_text(BY_SERVERS)
    (folder / "test_some.py").write_text(ENDS_ITS_WORKER)
    (folder / "test_other.py").write_text(ENDS_ITS_WORKER.replace("number == 2", "False"))
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", ".", "-n", "2", "tests"]
    run = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "1 failed, 15 passed" in run.stdout, run.stdout
    assert "crashed while running" in run.stdout
