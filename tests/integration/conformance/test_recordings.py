"""The statements that reach the servers in each scenario of lease, clean-up, promote, undo and kill.

They were recorded once, and are compared from then on: see recordings/README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.s3 import VersityGW
from tests.integration.conformance.conftest import drop, set_stage
from tests.integration.conformance.recorder import Recorder
from tests.integration.conformance.recording import (
    DATABASE,
    compare,
    rendered,
)
from tests.integration.conformance.scenarios import (
    ALL,
    ENGINES,
    NOT_RECORDED,
    RECORDED,
    ROWS,
    Scene,
    scenarios_of,
)
from tests.integration.conformance.stage import NEW, Stage
from tests.integration.conformance.subject import SOURCE, TARGET, Subject


@pytest.fixture(scope="module")
def prepared(
    subject: Subject, s3: VersityGW, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Stage]:
    """A stage for all scenarios of an engine: one database and one dump of it."""
    folder = tmp_path_factory.mktemp("recordings")
    with (
        pytest.MonkeyPatch.context() as patched,
        set_stage(subject, s3, RECORDED, folder, request, patched) as stage,
    ):
        drop(stage)
        # Those of another engine, under the same name.
        stage.empty_bucket()
        Scene(stage, Recorder(subject, folder / "none")).forget()
        subject.fill(SOURCE, RECORDED, NEW, ROWS, private=True)
        # One job: what several read at once comes in another order each time.
        stage.push(jobs=1)
        yield stage
        drop(stage)


@pytest.fixture
def scene(request: pytest.FixtureRequest, subject: Subject, tmp_path: Path) -> Scene:
    """The stage as each scenario finds it, whatever was done there before."""
    if subject.name in NOT_RECORDED:
        pytest.skip(NOT_RECORDED[subject.name])
    stage: Stage = request.getfixturevalue("prepared")
    return Scene(stage, Recorder(subject, tmp_path / "events", tuple(roots(subject).values())))


@pytest.mark.parametrize("recorded", ALL)
def test_recorded(scene: Scene, recorded: str) -> None:
    engine = ENGINES[scene.subject.name]
    scenario = scenarios_of(engine)[recorded]
    scene.begin(scenario)
    try:
        scenario.work(scene)
    except BaseException:
        scene.forget()
        raise
    title = f"{scene.subject.name}: {scenario.title}"
    compare(engine.folder, recorded, rendered(title, scene.recorder.events(), names(scene)))


def names(scene: Scene) -> dict[str, str]:
    """What is called otherwise on each machine, and what stands for it."""
    stage, subject = scene.stage, scene.subject
    found = {
        str(stage.work_folder): "<work>",
        str(stage.folder / "transformations"): "<transformations>",
        sys.prefix: "<python>",
        RECORDED: DATABASE,
    }
    return found | {root: f"<{environment}>" for environment, root in roots(subject).items()}


def roots(subject: Subject) -> dict[str, str]:
    """The directory of each environment below which the copies are, where they are files."""
    found = {}
    for environment in (SOURCE, TARGET):
        extra = subject.connection(environment)["extra"]
        if isinstance(extra, dict) and "root" in extra:
            found[environment] = str(extra["root"])
    return found
