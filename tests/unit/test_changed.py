"""The choice of tests that a change can affect."""

from __future__ import annotations

import uuid

import pytest

from tests.changed import ROOT, engine_of, is_affected

RECORDINGS = "tests/integration/conformance/recordings"
KILLS = "tests/integration/conformance/test_kills.py"


def affected(test: str, *changed: str, subject: str = "") -> bool:
    file = ROOT / test
    assert file.exists()
    return is_affected(file, engine_of(file, subject), frozenset(ROOT / name for name in changed))


@pytest.mark.parametrize(
    ("test", "changed"),
    [
        # What it imports, directly and not.
        ("tests/unit/test_pause.py", "plugins/env_sync/domain/pause.py"),
        ("tests/unit/test_steps.py", "plugins/env_sync/core/secret.py"),
        # Itself, and what is around it.
        ("tests/unit/test_pause.py", "tests/unit/test_pause.py"),
        ("tests/unit/hieradata/test_hieradata_files.py", "tests/unit/hieradata/conftest.py"),
        ("tests/unit/test_pause.py", "tests/conftest.py"),
        # What it reads or starts.
        ("tests/unit/test_deployment.py", "docker-compose.yaml"),
        ("tests/unit/test_docs.py", "docs/board.md"),
        ("tests/integration/test_deployment_roles.py", "deploy/role.sql"),
        ("tests/dag_integrity/test_dags.py", "plugins/env_sync/airflow/operators/report.py"),
        ("tests/acceptance/test_undo.py", "plugins/env_sync/engines/postgresql/swap.py"),
        # What lies beside the modules that read it, by a pattern or by names that they make.
        ("tests/integration/conformance/test_recordings.py", f"{RECORDINGS}/mariadb/promote.txt"),
        ("tests/unit/test_recording.py", f"{RECORDINGS}/mariadb/promote.txt"),
        ("tests/unit/test_stored_values.py", "tests/unit/stored/734d67c.json"),
        (
            "tests/integration/conformance/test_round_trip.py",
            "tests/integration/conformance/mysql/rich_mariadb.sql",
        ),
        ("tests/unit/test_board_pages.py", "plugins/env_sync/board/templates/parts.html"),
        # What all tests are run with.
        ("tests/unit/test_pause.py", "requirements/test.txt"),
        ("tests/unit/test_pause.py", "bin/test"),
    ],
)
def test_what_a_change_affects(test: str, changed: str) -> None:
    assert affected(test, changed)


@pytest.mark.parametrize(
    ("test", "changed"),
    [
        ("tests/unit/test_pause.py", "plugins/env_sync/board/view.py"),
        ("tests/unit/test_pause.py", "docs/board.md"),
        ("tests/unit/test_pause.py", "CHANGELOG.md"),
        ("tests/unit/test_pause.py", "tests/unit/test_plan.py"),
        ("tests/integration/mysql/test_mysql_pull.py", "plugins/env_sync/engines/postgresql/swap.py"),
        ("tests/unit/hieradata/test_hieradata_files.py", f"{RECORDINGS}/mariadb/promote.txt"),
        ("tests/integration/mysql/test_mysql_pull.py", "plugins/env_sync/board/templates/parts.html"),
    ],
)
def test_what_it_does_not(test: str, changed: str) -> None:
    assert not affected(test, changed)


@pytest.mark.parametrize(
    ("subject", "changed", "expected"),
    [
        ("PostgreSQL 18", "plugins/env_sync/engines/postgresql/swap.py", True),
        ("MariaDB", "plugins/env_sync/engines/postgresql/swap.py", False),
        ("MariaDB", "tests/integration/conformance/postgresql/subject.py", False),
        ("DocumentDB", "plugins/env_sync/engines/mongo/engine.py", True),
        ("Files", "plugins/env_sync/engines/base/contract.py", True),
        ("Files", "plugins/env_sync/pipeline/promote.py", True),
        ("Files", "tests/integration/conformance/stage.py", True),
    ],
)
def test_a_scenario_is_affected_by_its_own_engine(subject: str, changed: str, expected: bool) -> None:
    assert affected(KILLS, changed, subject=subject) is expected


def test_what_nothing_names_affects_every_test() -> None:
    assert affected("tests/unit/test_pause.py", f"{uuid.uuid4()}.new")


def test_a_deleted_file_affects_who_named_it() -> None:
    assert affected("tests/unit/test_pause.py", "plugins/env_sync/was_here.py") is False
    assert affected("tests/acceptance/test_undo.py", "plugins/env_sync/was_here.py")
