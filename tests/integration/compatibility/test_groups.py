"""A group that the code of one commit begins is gone on with by the code of another, wherever it was left."""

from __future__ import annotations

import pytest

from env_sync.domain.report import Result
from tests.integration.compatibility.scene import Scene
from tests.integration.conformance.stage import NEW_LIVE, OLD_LIVE, PULL, PUSH
from tests.sweep import draw

GROUPS = (PUSH, PULL)
KILLS, KILLS_OF_PROMOTE = 3, 5
"""At how many moments each step is killed before it is done."""
REPORTS = {PUSH: 2, PULL: 3}
"""At how many moments of all steps a group is killed and reported."""


def chosen_by_both(scene: Scene, key: str) -> None:
    """The newest dump is found by its manifest and pointer, fetched and read through, by either code."""
    for code in (scene.second, scene.first):
        relay = scene.relay(PULL, newest=True)
        relay.until(code, "restore")
        assert relay.results["download"]["dump_key"] == key
        relay.end(code)


@pytest.mark.parametrize("name", GROUPS)
def test_a_killed_step_is_run_again_by_the_other(scene: Scene, name: str) -> None:
    scene.count(name)
    scene.wait_for_another_second()
    relay = scene.relay(name)
    for code, step in zip(scene.codes(), relay.steps, strict=False):
        scene.killed_in_turn(relay, step, KILLS_OF_PROMOTE if step == "promote" else KILLS)
        relay.must(code, step)
    relay.ends_well(scene.second)
    scene.stage.settled(NEW_LIVE if name == PULL else OLD_LIVE)
    if name == PUSH and scene.stage.subject.has_store:
        # An upload that was killed at its very end has removed its dump, and the next one makes another.
        chosen_by_both(scene, relay.results["upload"]["dump_key"])


@pytest.mark.parametrize("name", GROUPS)
def test_a_killed_step_is_put_right_by_the_report_of_the_other(scene: Scene, name: str) -> None:
    scene.count(name)
    moments = [(step, moment) for step in scene.steps(name) for moment in scene.moments(name, step)]
    for step, moment in draw(f"{scene.prepared.name}, reports of {name}", moments, REPORTS[name]):
        relay = scene.relay(name)
        relay.until(scene.first, step)
        relay.kill(scene.first, step, moment)
        scene.nobody_gets_in()
        report = relay.end(scene.second)
        assert report.result is Result.CRITICAL
        assert step in report.line()
        expected = (OLD_LIVE, NEW_LIVE) if step == "promote" else (OLD_LIVE,)
        live = scene.stage.settled(*expected)
        if name == PULL:
            assert ("live holds the new" in report.what) == (live == NEW_LIVE)
        if live == NEW_LIVE:
            scene.stage.fill_target_anew()
