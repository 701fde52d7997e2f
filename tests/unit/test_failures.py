"""Which tests failed, as the end of bin/test's output tells it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest

@pytest.fixture
def broken():
    raise ValueError("there is\\nno server")

def test_passes(): pass

def test_fails(): assert 1 == 2, "they differ\\nin more than a line"

def test_fails_in_its_setup(broken): pass

def test_fails_without_a_traceback(): pytest.fail("MISSING: a server", pytrace=False)
"""


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "xdist"])
def test_each_test_that_failed_is_a_line_with_the_first_line_of_why(
    tmp_path: Path, workers: list[str]
) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    told = tmp_path / "told"
    command = [sys.executable, "-m", "pytest", "-p", "tests.failures", "--failures", str(told), *workers]
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert sorted(told.read_text().splitlines()) == [
        "ERROR test_some.py::test_fails_in_its_setup - ValueError: there is",
        "FAILED test_some.py::test_fails - AssertionError: they differ",
        "FAILED test_some.py::test_fails_without_a_traceback - Failed: MISSING: a server",
    ]
