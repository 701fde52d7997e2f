"""bin/demo as a newcomer runs it, and its search for what must not come down."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import process
from sandbox.demo.scene import Scene

ROOT = Path(__file__).resolve().parents[2]
MINUTES = 60  # seconds
SERVING = "The UI stays up until Ctrl-C"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The demo's folder, empty at first; a later demo goes on with what it finds there."""
    folder = process.temporary_folder()
    yield folder / "demo"
    shutil.rmtree(folder)


def demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", str(ROOT / "bin" / "demo"), *arguments],
        env={**os.environ, "ENV_SYNC_DEMO": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def counts(said: str) -> tuple[int, int]:
    """How many values it says were found in production and in integration."""
    found = re.search(r"found in production ([\d,]+), in integration ([\d,]+)", said)
    assert found, said
    production, integration = (int(number.replace(",", "")) for number in found.groups())
    return production, integration


@pytest.mark.timeout(15 * MINUTES)
def test_all_nights_run_and_nothing_personal_is_in_integration(folder: Path) -> None:
    running = demo(folder, "--serve")
    assert running.stdout
    lines = []
    try:
        for line in running.stdout:
            lines.append(line)
            if SERVING in line:
                break
        said = "".join(lines)
        production, integration = counts(said)
        assert production > 100_000
        assert integration == 0, said
        assert "Left out" not in said
        assert "All is well" in said
        assert "CRITICAL" not in said
        # Only what a first pull must tell: nobody was let in yet.
        warnings = re.findall(r"WARNING +│ (.*?) +│", said)
        assert warnings == ["pulled and promoted: signon_production is"]
        url = re.search(r"The Airflow UI: http://127\.0\.0\.1:(\d+)", said)
        assert url, said
        assert process.listens(int(url[1]))
    finally:
        running.send_signal(signal.SIGTERM)
        rest = running.stdout.read()
    assert running.wait() == 130, rest
    assert "nothing of it runs any more" in rest
    assert not process.listens(int(url[1]))
    left = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/environ")
        if str(folder).encode() in _read(path)
    ]
    assert left == []


@pytest.mark.timeout(5 * MINUTES)
def test_what_came_down_is_found_by_a_second_search(folder: Path) -> None:
    running = demo(folder, "--search")
    said, _ = running.communicate()
    assert running.returncode == 0, said
    assert "All is well" in said
    servers = Scene(folder).servers
    with servers["production"] as production:
        people = production.execute("SELECT name, email FROM users", database="signon_production")
    with (
        servers["integration"] as integration,
        contextlib.closing(integration.connect("signon_production")) as connection,
    ):
        connection.execute("CREATE TABLE leak (name text, email text)")
        connection.cursor().executemany("INSERT INTO leak VALUES (%s, %s)", people)
    running = demo(folder, "--search")
    said, _ = running.communicate()
    assert running.returncode == 1, said
    assert counts(said)[1] > 1000
    assert re.search(r"WRONG: [\d,]+ personal values in integration: signon_production", said), said


@pytest.mark.timeout(MINUTES)
def test_there_must_be_something_to_search(tmp_path: Path) -> None:
    running = demo(tmp_path, "--search")
    said, _ = running.communicate()
    assert running.returncode == 1
    assert "run bin/demo first" in said


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
