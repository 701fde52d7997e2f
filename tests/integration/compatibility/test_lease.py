"""What one code holds the other leaves alone, for as long as it is held."""

from __future__ import annotations

import time

from tests.integration.compatibility.scene import Relay, Scene
from tests.integration.compatibility.workers import Code
from tests.integration.conformance.stage import NEW_LIVE, OLD_LIVE, PULL

LIFETIME = 1.0
"""Seconds."""


def refused(scene: Scene, code: Code, holder: Relay) -> None:
    """Another group is not let through, and takes nothing away in its end."""
    other = scene.relay(PULL)
    assert not other.do(code, "start_gate")
    error = other.errors["start_gate"]
    # It may wait while it has the lock of a root's leases: nobody can read then whose they are.
    if "was locked by another process" not in error:
        assert "is held by" in error
        assert holder.run in error
    assert error.startswith("LeaseHeld: ")
    other.end(code)


def test_a_lease_is_respected_by_the_other(scene: Scene) -> None:
    scene.count(PULL)
    held = scene.relay(PULL)
    held.until(scene.first, "restore")
    # Between two steps no process is at work.
    refused(scene, scene.second, held)
    moments = scene.moments(PULL, "restore")
    with held.waiting(scene.first, "restore", moments[len(moments) // 2]):
        refused(scene, scene.second, held)
    assert held.states["restore"] == "success", held.errors
    # The same group of the same run may begin again: with incoming as the first attempt left it.
    cleared = held.again()
    cleared.until(scene.second, "restore")
    assert not held.do(scene.first, "sanitise")
    assert "attempt" in held.errors["sanitise"]
    cleared.rest(scene.second, "restore")
    held.end(scene.first)
    cleared.ends_well(scene.second)
    scene.stage.settled(NEW_LIVE)


def test_a_lease_of_the_dead_lapses_for_the_other(scene: Scene) -> None:
    dead = scene.relay(PULL, lease_lifetime=LIFETIME)
    dead.must(scene.first, "start_gate")
    assert dead.kill(scene.first, "download", 0)
    while True:
        after = scene.relay(PULL)
        if after.do(scene.second, "start_gate"):
            break
        assert "is held by" in after.errors["start_gate"]
        time.sleep(LIFETIME / 5)
    # What comes back from the dead does no harm.
    assert not dead.do(scene.first, "download")
    dead.end(scene.first)
    refused(scene, scene.first, after)
    after.end(scene.second)
    scene.stage.settled(OLD_LIVE)
