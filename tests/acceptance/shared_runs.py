"""Runs by hand that several tests look at: each is started once, by whichever test comes first."""

from __future__ import annotations

import datetime as dt
import json

from tests.acceptance.scene import Scene

STAGING = "env_sync_staging"
TRAINING = "env_sync_training"
PAUSE = "env_sync_pause_staging_pull_theatre"
REASON = "a release is being tested"


def failed(scene: Scene) -> str:
    """One sync of staging that succeeded and one that failed."""
    only = ["pull_theatre", "pull_library_badly"]
    return scene.once("failed", lambda: scene.run("staging", "failed", only=only))


def cleared(scene: Scene) -> str:
    """Two syncs of staging, one of them disabled, of which the other was cleared and so ran twice."""

    def make() -> str:
        run = scene.run("staging", only=["pull_theatre", "pull_cinema"])
        scene.servers["staging"].execute("UPDATE people SET email = 'changed by hand'", database="theatre")
        scene.api.clear_group(STAGING, run, "pull_theatre")
        scene.finish("staging", run)
        return run

    return scene.once("cleared", make)


def pause(scene: Scene, until: dt.timedelta) -> None:
    """Pause the sync of theatre until so long from now."""
    end = dt.datetime.now(dt.UTC) + until
    record = {"by": "on-call", "why": REASON, "until": end.isoformat()}
    scene.api.set_variable(PAUSE, json.dumps(record))


def paused(scene: Scene) -> str:
    """A sync of staging that was asked for while it was paused, which it no longer is."""

    def make() -> str:
        pause(scene, dt.timedelta(hours=1))
        try:
            return scene.run("staging", only=["pull_theatre"])
        finally:
            scene.api.delete_variable(PAUSE)

    return scene.once("paused", make)


def killed(scene: Scene) -> str:
    """A sync of training whose process was killed in its transformation."""

    def make() -> str:
        with scene.held("training", "stadium"):
            run = scene.trigger("training", only=["pull_stadium_slowly"])
            scene.wait_for_transformation("training", "stadium").kill()
            scene.finish("training", run, "failed")
            scene.wait_for_no_session("training", "stadium")
        return run

    return scene.once("killed", make)
