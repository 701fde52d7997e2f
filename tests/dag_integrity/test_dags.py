"""The DAGs that Airflow reads: no import error, the expected groups and edges, everything serialises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path(os.environ.get("ENV_SYNC_REFERENCE") or ROOT.parent / "shared" / "reference" / "hieradata")
IDS = Path(__file__).with_name("ids.json")
NAMED_TRANSFORMATIONS = (
    "sanitise_publishing_api_production.sql",
    "anonymise_email_addresses.sql",
    "content_publisher.sql",
    "sanitise_whitehall.sql",
)


def _process(home: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=240,
        env={
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("AIRFLOW", "ENV_SYNC"))
            },
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "PYTHONPATH": f"{ROOT / 'plugins'}{os.pathsep}{ROOT}",
            **env,
        },
    )


def _read(home: Path, **env: str) -> dict[str, Any]:
    done = _process(home, "-m", "tests.dag_integrity.read_dags", str(ROOT / "dags"), **env)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index('{"errors"') :])
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="module")
def shipped(home: Path) -> dict[str, Any]:
    """The DAGs of the hieradata that comes with the product."""
    return _read(home)


@pytest.fixture(scope="module")
def real(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The DAGs of GOV.UK's real files, with empty transformations of the names that they mention."""
    if not REFERENCE.is_dir():
        pytest.skip(f"the real files are not here; ENV_SYNC_REFERENCE names their folder ({REFERENCE})")
    transformations = tmp_path_factory.mktemp("transformations")
    for name in NAMED_TRANSFORMATIONS:
        (transformations / name).write_text("SELECT 1;\n")
    return _read(home, ENV_SYNC_HIERADATA=str(REFERENCE), ENV_SYNC_TRANSFORMATIONS=str(transformations))


def test_there_is_no_import_error_and_one_dag_per_environment(shipped: dict[str, Any]) -> None:
    assert shipped["errors"] == {}
    assert set(shipped["dags"]) == {"env_sync_production", "env_sync_staging", "env_sync_integration"}


def test_ids_are_stable(shipped: dict[str, Any]) -> None:
    """An id that changes loses its history and its pauses: change ids.json only on purpose."""
    ids = {dag: sorted(found["tasks"]) for dag, found in shipped["dags"].items()}
    assert ids == json.loads(IDS.read_text())


def test_real_files_give_their_dags_and_only_their_true_problem(real: dict[str, Any]) -> None:
    assert real["errors"] == {}
    assert set(real["dags"]) == {"env_sync_production", "env_sync_staging", "env_sync_integration"}
    tasks = {dag: found["tasks"] for dag, found in real["dags"].items()}
    assert "config_problems" in tasks["env_sync_staging"]
    assert "config_problems" not in tasks["env_sync_integration"]
    assert "config_problems" not in tasks["env_sync_production"]
    for found in real["dags"].values():
        assert "no engine for" not in found["doc"]
    assert "pull_publishing_api_production_daily.promote" in tasks["env_sync_integration"]
    mirrored = tasks["env_sync_integration"]["s3_sync_content_publisher_from_staging_daily.bucket_sync"]
    assert mirrored["after"] == ["s3_sync_content_publisher_from_staging_daily.start_gate"]


@pytest.mark.parametrize("files", ["shipped", "real"])
def test_everything_serialises_and_comes_back(files: str, request: pytest.FixtureRequest) -> None:
    for dag, found in request.getfixturevalue(files)["dags"].items():
        assert found["again"] == sorted(found["tasks"]), dag


@pytest.mark.parametrize("files", ["shipped", "real"])
def test_groups_are_tied_to_others_by_their_gates_alone(files: str, request: pytest.FixtureRequest) -> None:
    for found in request.getfixturevalue(files)["dags"].values():
        for task_id, task in found["tasks"].items():
            if "." not in task_id:
                continue
            group, step = task_id.rsplit(".", 1)
            for before in task["after"]:
                if before.rsplit(".", 1)[0] != group:
                    assert step == "start_gate", task_id
                    assert before.endswith(".report") or before == "selection", task_id


@pytest.mark.parametrize("files", ["shipped", "real"])
def test_each_step_has_the_rule_that_its_place_needs(files: str, request: pytest.FixtureRequest) -> None:
    for found in request.getfixturevalue(files)["dags"].values():
        for task_id, task in found["tasks"].items():
            step = task_id.rsplit(".", 1)[-1]
            if step == "start_gate":
                assert task["rule"] == "all_done"
                assert task["setup"]
            elif step in ("report", "night"):
                assert task["rule"] == "all_done", task_id
                assert task["teardown"], task_id
                assert task["fails_run"] == (step == "night"), task_id
            else:
                assert task["rule"] == "all_success", task_id
                assert not task["teardown"], task_id


def test_what_decides_the_run_is_the_last_real_step_of_each_group(shipped: dict[str, Any]) -> None:
    for found in shipped["dags"].values():
        followed = {
            before for task in found["tasks"].values() if not task["teardown"] for before in task["after"]
        }
        deciding = {
            task_id.rsplit(".", 1)[-1]
            for task_id, task in found["tasks"].items()
            if not task["teardown"] and task_id not in followed
        }
        assert deciding <= {"promote", "upload", "bucket_sync", "request", "config_problems"}


def test_the_trigger_form_knows_the_syncs(shipped: dict[str, Any]) -> None:
    for found in shipped["dags"].values():
        names = {task_id.rsplit(".", 1)[0].split("__")[0] for task_id in found["tasks"] if "." in task_id}
        assert set(found["only"]["items"]["enum"]) == {*names, "all"}


def test_every_dag_and_group_says_what_it_is(shipped: dict[str, Any]) -> None:
    for dag, found in shipped["dags"].items():
        assert "env_sync" in found["tags"]
        assert dag.removeprefix("env_sync_") in found["tags"]
        assert "| Time |" in found["doc"]
        for name, doc in found["groups"].items():
            assert "Configured at" in doc, name


def test_only_the_chosen_environments_are_generated(home: Path) -> None:
    assert set(_read(home, ENV_SYNC_ENVIRONMENTS="integration")["dags"]) == {"env_sync_integration"}


def test_an_unknown_environment_is_an_error_that_names_it(home: Path) -> None:
    found = _read(home, ENV_SYNC_ENVIRONMENTS="integraton")
    assert found["dags"] == {}
    assert "integraton" in "".join(found["errors"].values())


def test_broken_files_still_give_a_dag_that_shows_the_problem(home: Path, tmp_path: Path) -> None:
    (tmp_path / "hieradata").mkdir()
    (tmp_path / "hieradata" / "staging.yaml").write_text("govuk_env_sync::tasks: [\n")
    (tmp_path / "hieradata" / "testing.yaml").write_text(
        "govuk_env_sync::tasks:\n"
        "  push_good: {hour: 1, minute: 0, action: push, dbms: postgresql, storagebackend: s3, database: a,\n"
        "    database_hostname: h, url: govuk-testing-database-backups, path: p}\n"
        "  push_bad: {hour: 25, minute: 0, action: push, dbms: postgresql, storagebackend: s3, database: b,\n"
        "    database_hostname: h, url: govuk-testing-database-backups, path: p}\n"
    )
    found = _read(home, ENV_SYNC_HIERADATA=str(tmp_path / "hieradata"))
    assert found["errors"] == {}
    assert "config_problems" in found["dags"]["env_sync_staging"]["tasks"]
    testing = found["dags"]["env_sync_testing"]["tasks"]
    assert "config_problems" in testing
    assert "push_good.dump" in testing
    assert "push_bad.dump" not in testing


def test_no_module_of_ours_is_loaded_as_a_plugin(home: Path) -> None:
    """Without plugins/.airflowignore Airflow runs each of our modules under its bare name."""
    script = (
        "import sys, airflow.plugins_manager as manager\n"
        "ask = getattr(manager, 'ensure_plugins_loaded', None) or manager._get_plugins\n"
        "ask()\n"
        "print([name for name in ('plan', 'store', 'dag_factory', 'cli', 'lease') if name in sys.modules])"
    )
    done = _process(home, "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_reading_the_dag_file_imports_no_driver(home: Path) -> None:
    """Each task reads it anew, so what only some tasks need would cost all of them, a second and more."""
    script = (
        "import runpy, sys\n"
        f"runpy.run_path({str(ROOT / 'dags' / 'env_sync.py')!r})\n"
        "drivers = {'psycopg', 'pymysql', 'pymongo', 'elasticsearch', 'boto3', 'botocore'}\n"
        "sys.exit(', '.join(sorted(drivers & sys.modules.keys())) or None)\n"
    )
    done = _process(home, "-c", script, PYTHONPATH=str(ROOT / "plugins"))
    assert done.returncode == 0, done.stderr
