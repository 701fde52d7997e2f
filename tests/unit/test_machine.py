"""Whether a process that was at work is known to be gone."""

from __future__ import annotations

import subprocess
import sys

from attrs import evolve

from env_sync.core.process_identity import this_process


def test_a_process_that_lives_is_not_dead() -> None:
    assert not this_process().is_known_to_be_dead()


def test_a_process_that_ended_is_dead_and_one_elsewhere_cannot_be_judged() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    gone = evolve(this_process(), pid=done.pid)
    assert gone.is_known_to_be_dead()
    assert not evolve(gone, host="another").is_known_to_be_dead()
    assert not evolve(gone, namespace="pid:[1]").is_known_to_be_dead()
    assert not evolve(gone, namespace="").is_known_to_be_dead()


def test_another_process_with_the_same_number_is_not_it() -> None:
    assert evolve(this_process(), started="1").is_known_to_be_dead()
