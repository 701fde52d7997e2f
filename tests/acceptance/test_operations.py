"""Every command of docs/operations.md, as it stands there, with the names of the scene."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping

import pytest

from sandbox.airflow import REPOSITORY
from tests.acceptance.scene import Scene

pytestmark = pytest.mark.lane("operations")

TEXT = (REPOSITORY / "docs" / "operations.md").read_text()
NAMES: Mapping[str, str] = {
    "pull_signon_staging_daily": "pull_cellar",
    "signon_production": "cellar",
    "integration": "training",
    "ENV": "training",
    "SYNC": "pull_cellar",
    "...": "a reason",
}
"""Names of the text -> names of the scene."""
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z")
# What no sync of the scene has is told as well, and so is what is not fresh.
MAY_FIND_PROBLEMS = frozenset({"check", "status"})


def commands() -> list[list[str]]:
    """The words of each `bin/env-sync` of the text, in its order."""
    found = re.findall(r"^    bin/env-sync +(.*)$|`bin/env-sync\s+([^`]+)`", TEXT, re.MULTILINE)
    lines = [block or span for block, span in found]
    return [shlex.split(" ".join(line.split()), comments=True) for line in lines]


def statements() -> list[str]:
    """The SQL of the text."""
    return re.findall(r"^    ((?:SELECT|UPDATE|ALTER) .*;)$", TEXT, re.MULTILINE)


def env_sync(scene: Scene, *words: str) -> str:
    """Run it as on a machine of Airflow's; what it printed. Its end must be a good one."""
    done = subprocess.run(
        [REPOSITORY / "bin" / "env-sync", *words],
        env={
            **os.environ,
            **scene.airflow.environment(),
            "ENV_SYNC_PYTHON": sys.executable,
            "ENV_SYNC_AIRFLOW_URL": scene.airflow.url,
            "ENV_SYNC_AIRFLOW_USER": "admin",
            "ENV_SYNC_AIRFLOW_PASSWORD": scene.airflow.passwords["admin"],
            "COLUMNS": "200",
        },
        cwd=scene.airflow.folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    allowed = (0, 1) if words[0] in MAY_FIND_PROBLEMS else (0,)
    assert done.returncode in allowed, (words, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, (words, done.stderr)
    return done.stdout + done.stderr


def pulled_twice(scene: Scene) -> None:
    """Have the database pulled and the server used, whichever test comes first."""

    def make() -> None:
        for _ in range(2):
            scene.run("training", only=["pull_cellar"])

    scene.once("cellar", make)


def test_every_command_of_operations_does_what_it_says(scene: Scene) -> None:
    pulled_twice(scene)
    scene.servers["training"].execute("UPDATE people SET email = 'changed'", database="cellar")
    dump = ""
    done = set()
    for words in commands():
        named = [NAMES.get(word, dump if TIMESTAMP.fullmatch(word) else word) for word in words]
        said = env_sync(scene, *named)
        done.add(named[0])
        if named[0] == "list":
            listed = TIMESTAMP.search(said)
            assert listed, said
            dump = listed[0]
        elif named[0] == "pause":
            assert any("pull_cellar" in name for name in scene.api.variables())
    assert done >= {"check", "plan", "pause", "pauses", "resume", "list", "run", "restore-previous", "status"}
    # What was live before that run is live again.
    assert scene.emails("training", "cellar") == {"changed"}
    for name in scene.api.variables():
        if "cellar" in name:
            scene.api.delete_variable(name)


def test_every_statement_of_operations_can_be_run(scene: Scene) -> None:
    pulled_twice(scene)
    assert len(statements()) == 3
    for statement in statements():
        database = "postgres" if statement.startswith("ALTER") else "env_sync"
        scene.servers["training"].execute(statement.replace("signon_production", "cellar"), database=database)
