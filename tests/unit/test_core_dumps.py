"""No core dump of a process that had rows or passwords in its memory."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from env_sync.core import core_dumps as module
from env_sync.core.core_dumps import no_core_dumps
from tests.unit.core_dumps import core_dumps

SCRIPT = """
import os, resource, signal, sys
from env_sync.core.core_dumps import no_core_dumps
largest = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (largest, largest))
with no_core_dumps():
    if sys.argv[1] == "inside":
        os.kill(os.getpid(), signal.SIGABRT)
os.kill(os.getpid(), signal.SIGABRT)
"""


def test_within_the_block_there_are_none_and_after_it_as_before() -> None:
    before = core_dumps()
    with no_core_dumps():
        assert core_dumps() == (0, 0)
        with no_core_dumps():
            assert core_dumps() == (0, 0)
        assert core_dumps() == (0, 0)
    assert core_dumps() == before
    assert before[1] == 1


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="this process may dump no core at all"
)
def test_the_kernel_dumps_nothing(tmp_path: Path) -> None:
    """Outside of the block it would: WCOREDUMP tells."""
    dumped = {}
    for where in ("inside", "after"):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, where],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])},
        )
        _, status = os.waitpid(process.pid, 0)
        process.returncode = 0
        assert os.WTERMSIG(status) == signal.SIGABRT
        dumped[where] = os.WCOREDUMP(status)
    assert dumped["inside"] is False
    if not dumped["after"]:
        pytest.skip("this machine dumps no core of a Python process, whatever its limits")
