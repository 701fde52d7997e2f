"""What one code made live the other knows: its age, what was live before, and how to go back to that."""

from __future__ import annotations

import json

from env_sync.domain.report import Result
from tests.integration.compatibility.scene import UNDO, Relay, Scene
from tests.integration.conformance.stage import BUCKET, NEW_LIVE, OLD_LIVE, PULL
from tests.integration.conformance.subject import SOURCE, TARGET
from tests.sweep import draw

KILLS = 3
"""At how many moments an undo is killed before it is done."""
REPORTS = 2
"""At how many moments it is killed and reported."""


def test_what_the_other_made_live_is_known(scene: Scene) -> None:
    pull = scene.whole(PULL, scene.first)
    scene.stage.settled(NEW_LIVE)
    if scene.stage.subject.has_store:
        the_life_story_goes_on(scene, pull)
    if scene.stage.subject.can_undo:
        what_was_live_comes_back(scene)
    scene.whole(PULL, scene.second)
    scene.stage.settled(NEW_LIVE)


def the_life_story_goes_on(scene: Scene, pull: Relay) -> None:
    """A dump of what was pulled says how old it is, and where it came from."""
    push = scene.push_below()
    push.rest(scene.second, "start_gate")
    push.ends_well(scene.second)
    dumped, downloaded = push.results["dump"], pull.results["download"]
    assert dumped["born_in"] == downloaded["born_in"]
    assert dumped["data_time"] == downloaded["data_time"]
    s3, bucket = scene.stage.s3, BUCKET.format(TARGET)
    [key] = [key for key in s3.keys(bucket, "env_sync_manifests/") if scene.stage.database in key]
    [parent] = json.loads(s3.client().get_object(Bucket=bucket, Key=key)["Body"].read())["parents"]
    assert (parent["environment"], parent["key"]) == (SOURCE, downloaded["dump_key"])
    assert parent["sha256"] == downloaded["sha256"]
    assert parent["transformations"] == pull.results["sanitise"]["transformations"]


def what_was_live_comes_back(scene: Scene) -> None:
    """An undo, whoever made live and previous, and wherever it is killed."""
    undo = scene.undo()
    undo.rest(scene.second, "start_gate")
    # It is done once by a run and group, whoever is asked again.
    undo.rest(scene.first, "start_gate")
    undo.ends_well(scene.first)
    scene.stage.settled(OLD_LIVE)
    moments = draw(f"{scene.prepared.name}, reports of an undo", scene.moments(UNDO, "promote"), REPORTS)
    for moment in moments:
        undo = scene.undo()
        undo.must(scene.first, "start_gate")
        undo.kill(scene.first, "promote", moment)
        assert undo.end(scene.second).result is Result.CRITICAL
        scene.stage.settled(OLD_LIVE, NEW_LIVE)
    expected = {OLD_LIVE: NEW_LIVE, NEW_LIVE: OLD_LIVE}[scene.stage.read()]
    undo = scene.undo()
    undo.must(scene.second, "start_gate")
    scene.killed_in_turn(undo, "promote", KILLS)
    undo.must(scene.second, "promote")
    undo.ends_well(scene.first)
    scene.stage.settled(expected)
