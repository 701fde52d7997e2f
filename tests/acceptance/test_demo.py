"""bin/demo as a newcomer runs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox import process

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)
def test_the_demo_runs_all_nights_and_finds_nothing_personal_in_integration() -> None:
    folder = process.temporary_folder()
    try:
        done = subprocess.run(
            ["bash", str(ROOT / "bin" / "demo")],
            capture_output=True,
            text=True,
            timeout=840,
            env={**os.environ, "ENV_SYNC_DEMO": str(folder / "demo")},
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    found = re.search(r"found in production ([\d,]+), in integration ([\d,]+)", done.stdout)
    assert found, done.stdout[-3000:]
    production, integration = (int(number.replace(",", "")) for number in found.groups())
    assert production > 10_000
    assert integration == 0
