"""What a version wrote whose formats cannot be read does no harm, and errors say what to do."""

from __future__ import annotations

import re

import pytest

from tests.integration.compatibility.conftest import STRANGER
from tests.integration.compatibility.scene import Relay, Scene
from tests.integration.compatibility.workers import Code
from tests.integration.conformance.stage import NEW_LIVE, OLD_LIVE, PULL
from tests.integration.conformance.subject import SOURCE, TARGET, Subject
from tests.sweep import sample

KILLS = 3
"""At how many moments of the stranger's promote the present code tries to go on."""
KNOWN = re.compile(
    r"(LeaseHeld|LeaseLost|NameRefused|NotUnderstood|ProofMissing|PromoteFailed|PreviousRefused): "
)
"""Errors that say what is the matter and what to do."""


def is_refused_or_right(relay: Relay, code: Code, step: str) -> None:
    """A step succeeds, or says why it does not."""
    assert relay.do(code, step) or KNOWN.match(relay.errors[step]), relay.errors[step]


@pytest.fixture
def without_leases(subject: Subject) -> None:
    """No version has been on the servers yet: a stranger reads no lease that another has left."""
    for environment in (SOURCE, TARGET):
        subject.forget_leases(environment)


@pytest.mark.parametrize("prepared", STRANGER, indirect=True)
@pytest.mark.usefixtures("without_leases")
def test_what_is_not_understood_does_no_harm(scene: Scene) -> None:
    stranger, present = scene.first, scene.second
    stage = scene.stage
    scene.whole(PULL, stranger)
    moments = sample(f"{scene.prepared.name}, promote", scene.moments(PULL, "promote"), KILLS)
    for moment in moments:
        stage.fill_target_anew()
        relay = scene.relay(PULL)
        relay.until(stranger, "promote")
        other = scene.relay(PULL)
        assert not other.do(present, "start_gate")
        assert KNOWN.match(other.errors["start_gate"]), other.errors["start_gate"]
        other.end(present)
        relay.kill(stranger, "promote", moment)
        is_refused_or_right(relay, present, "promote")
        assert scene.is_whole()
        scene.nobody_gets_in()
        relay.end(present)
        assert scene.is_whole()
        scene.nobody_gets_in()
        # What cannot be read is nobody's to drop but who wrote it, who puts it right at the latest next time.
        relay.end(stranger)
        scene.whole(PULL, stranger)
        stage.settled(NEW_LIVE)
    undo_of_a_stranger(scene)
    results_of_a_stranger(scene)


def undo_of_a_stranger(scene: Scene) -> None:
    """What a stranger made live, and what it kept, is made live again only where it proves what it was."""
    if not scene.stage.subject.can_undo:
        return
    scene.stage.fill_target_anew()
    scene.whole(PULL, scene.first)
    undo = scene.undo()
    undo.must(scene.second, "start_gate")
    is_refused_or_right(undo, scene.second, "promote")
    undo.end(scene.second)
    scene.stage.settled(OLD_LIVE, NEW_LIVE)


def results_of_a_stranger(scene: Scene) -> None:
    """A step that cannot read what an earlier one left is refused."""
    live = scene.stage.read()
    relay = scene.relay(PULL)
    relay.until(scene.first, "restore")
    assert not relay.do(scene.second, "restore")
    # The gate of a cluster reads the stranger's lease before it reads a result.
    known = re.compile("NotUnderstood: ") if scene.stage.subject.has_store else KNOWN
    assert known.match(relay.errors["restore"]), relay.errors["restore"]
    assert "incoming" not in scene.stage.subject.copies(TARGET, scene.stage.database)
    relay.end(scene.second)
    relay.end(scene.first)
    scene.stage.settled(live)
