"""Nothing lower imports anything higher, and what reads the configuration imports no Airflow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from env_sync.engines.registry import ENGINES
from tests.imports import imported

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "plugins" / "env_sync"

# From the lowest to the highest. A new module is placed here, or the first test fails. A folder stands
# for all that is in it, and `*` for the name of any one; a module may import what is in its own layer.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("__init__", "core"),
    ("domain",),
    # What is known of each engine before it is used.
    ("engines.__init__", "engines.*.__init__", "engines.*.names", "engines.*.descriptor"),
    ("engines.registry",),
    ("config",),
    ("planning",),
    ("engines.base",),
    ("status",),
    ("engines", "store"),
    ("pipeline",),
    ("alerts",),
    # What Airflow runs, and what asks it for something.
    ("airflow",),
    ("board",),
    ("cli",),
)
# These read the configuration, are read with it, or do the steps: on a laptop, in a second, without Airflow.
# Only when the store is opened, in a function, is a hook of Airflow's asked.
WITHOUT_AIRFLOW = (
    "core",
    "domain",
    "config",
    "planning",
    "engines",
    "store",
    "status",
    "pipeline",
    "alerts",
)

FILES = sorted(PACKAGE.rglob("*.py"))


def module(file: Path) -> str:
    """The name of a module within the package, such as `steps.dump`."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


MODULES: Mapping[str, Path] = {module(file): file for file in FILES}


def layer(name: str) -> int:
    """The layer of a module: that of its own entry, else that of its folder."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        for number, entries in enumerate(LAYERS):
            if any(_fits(parts[:length], entry) for entry in entries):
                return number
    raise KeyError(name)


def _fits(parts: Sequence[str], entry: str) -> bool:
    known = entry.split(".")
    return len(known) == len(parts) and all(map(fnmatchcase, parts, known))


# What is known of each engine before it is used.
DESCRIBING = [name for name in MODULES if layer(name) == layer("engines.__init__")]


def ours(name: str) -> str | None:
    """Which module of the package an imported name is; None for other packages, and for names in a module."""
    if name != "env_sync" and not name.startswith("env_sync."):
        return None
    inner = name.removeprefix("env_sync").removeprefix(".")
    for known in (inner, f"{inner}.__init__" if inner else "__init__"):
        if known in MODULES:
            return known
    return None


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_its_place(name: str) -> None:
    assert layer(name) >= 0


def test_every_place_has_its_module() -> None:
    folders = {".".join(name.split(".")[:-1]) for name in MODULES}
    known = [each.split(".") for each in {*MODULES, *folders}]
    assert [
        entry for entries in LAYERS for entry in entries if not any(_fits(each, entry) for each in known)
    ] == []


@pytest.mark.parametrize("name", MODULES)
def test_nothing_lower_imports_anything_higher(name: str) -> None:
    higher = [
        f"{MODULES[name].relative_to(ROOT)}:{line} imports {target}"
        for each, line in imported(MODULES[name])
        if (target := ours(each)) is not None and layer(target) > layer(name)
    ]
    assert higher == []


def test_every_engine_of_the_registry_is_described_where_its_driver_is_not() -> None:
    """It names them in strings, which the tests here do not follow."""
    assert {engine.partition(":")[0].removeprefix("env_sync.") for engine in ENGINES} == {
        name for name in DESCRIBING if name.endswith(".descriptor")
    }


@pytest.mark.parametrize("name", [*DESCRIBING, "engines.registry"])
def test_what_is_known_of_engines_needs_no_driver(name: str) -> None:
    packages = {each.partition(".")[0] for each, _ in imported(MODULES[name])}
    assert packages - sys.stdlib_module_names <= {"attrs", "env_sync"}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in MODULES
        if any(name == each or name.startswith(f"{each}.") for each in (*WITHOUT_AIRFLOW, *DESCRIBING))
    ],
)
def test_what_reads_the_configuration_imports_no_airflow(name: str) -> None:
    """Neither itself nor through another module of ours."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        for each, line in imported(MODULES[current], in_functions=False):
            assert each.partition(".")[0] != "airflow", f"{MODULES[current]}:{line} (from {name})"
            if (target := ours(each)) is not None:
                todo.append(target)


def test_the_layers_are_really_read() -> None:
    """The tests above would pass if nothing were found to be imported."""
    found = {ours(each) for each, _ in imported(PACKAGE / "airflow" / "dag_factory.py")}
    assert {"airflow.operators.classes", "planning.plan", "planning.schedule"} <= found
    assert {each for each, _ in imported(PACKAGE / "cli" / "main.py")} & {"env_sync.pipeline.session"}
    assert not {each for each, _ in imported(PACKAGE / "cli" / "main.py", in_functions=False)} & {
        "env_sync.pipeline.session"
    }


@pytest.mark.parametrize("command", [["check"], ["plan", "testing"], ["--help"]])
def test_check_and_plan_import_no_airflow(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "testing.yaml").write_text(
        "govuk_env_sync::tasks:\n"
        "  push_signon:\n"
        "    {hour: 1, minute: 0, action: push, dbms: postgresql, storagebackend: s3, database: signon,\n"
        "     url: govuk-testing-database-backups, path: signon}\n"
    )
    script = (
        "import sys\n"
        "from env_sync.cli.main import app\n"
        "try:\n"
        "    app()\n"
        "except SystemExit as end:\n"
        "    heavy = sorted({'airflow', 'psycopg', 'boto3'} & sys.modules.keys())\n"
        "    sys.exit(f'imported: {heavy}' if heavy else end.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--hieradata", str(tmp_path), *command],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PACKAGE.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "push_signon" in done.stdout or command != ["plan", "testing"]
