"""bin/demo as a newcomer runs it, and with one transformation missing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import process

ROOT = Path(__file__).resolve().parents[2]
LEAKING = "sanitise_signon_production.sql"
MINUTES = 60  # seconds

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The demo's folder, empty at first; a later demo goes on with what it finds there."""
    folder = process.temporary_folder()
    yield folder / "demo"
    shutil.rmtree(folder)


def demo(folder: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", str(ROOT / "bin" / "demo"), *arguments],
        env={**os.environ, "ENV_SYNC_DEMO": str(folder), **env},
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
    running = demo(folder)
    said, _ = running.communicate()
    assert running.returncode == 0, said
    production, integration = counts(said)
    assert production > 90_000
    assert integration == 0
    assert "CRITICAL" not in said
    # Only what a first pull must tell: nobody was let in yet.
    warnings = re.findall(r"WARNING +│ (.*?) +│", said)
    assert warnings == ["pulled and promoted: signon_production is"]


@pytest.mark.timeout(15 * MINUTES)
def test_a_transformation_that_is_left_out_is_found_out(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "include", tmp_path / "include")
    changed = 0
    for file in (tmp_path / "include" / "hieradata" / "integration").iterdir():
        text = file.read_text()
        without = re.sub(rf".*transformation_sql_filename: .*{LEAKING}.*\n", "", text)
        changed += text != without
        file.write_text(without)
    assert changed == 1
    running = demo(folder, ENV_SYNC_HIERADATA=str(tmp_path / "include" / "hieradata"))
    said, _ = running.communicate()
    assert running.returncode == 1, said
    assert counts(said)[1] > 1000
    assert re.search(r"WRONG: [\d,]+ personal values in integration: signon_production", said), said


@pytest.mark.timeout(15 * MINUTES)
def test_serving_ends_with_a_signal_and_leaves_no_process(folder: Path) -> None:
    running = demo(folder, "--serve")
    assert running.stdout
    url = ""
    for line in running.stdout:
        if found := re.search(r"The Airflow UI: (http://127\.0\.0\.1:(\d+))", line):
            url = found[1]
            break
    assert url, "it ended before it said where the UI is"
    assert process.listens(int(url.rpartition(":")[2]))
    running.send_signal(signal.SIGTERM)
    rest = running.stdout.read()
    assert running.wait() == 130, rest
    assert "nothing of it runs any more" in rest
    assert not process.listens(int(url.rpartition(":")[2]))
    left = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/environ")
        if str(folder).encode() in _read(path)
    ]
    assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
