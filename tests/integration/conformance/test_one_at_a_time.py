"""One sync at a time touches a live database, from wherever it is started."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

from airflow.models.base import Base
from airflow.models.variable import Variable
from sqlalchemy import create_engine

from env_sync.domain.report import Result
from tests.integration.conformance.stage import NEW_LIVE, PULL, Stage
from tests.integration.conformance.subject import TARGET

ROOT = Path(__file__).resolve().parents[3]


def test_a_second_run_has_to_wait(pushed: Stage) -> None:
    first, second = pushed.attempt(PULL), pushed.attempt(PULL)
    restore = pushed.subject.step("restore")
    first.run_until(restore)
    assert not second.run("start_gate")
    assert "is held by" in second.errors["start_gate"]
    assert first.session.holder.run in second.errors["start_gate"]
    # Its end takes nothing from the one that is at work.
    second.end()
    assert first.run_rest(restore), first.errors
    assert first.end().result is not Result.CRITICAL
    pushed.settled(NEW_LIVE)


def test_the_command_line_has_to_wait_as_well(stage: Stage) -> None:
    # It looks for pauses in Airflow's own database.
    url = f"sqlite:///{stage.folder}/airflow.db"
    Base.metadata.create_all(create_engine(url), tables=[Variable.__table__])
    stage.monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
    stage.push()
    first = stage.attempt(PULL)
    first.run_until("restore")
    refused = command_line("run", TARGET, PULL)
    assert refused.returncode == 1
    assert "is held by" in refused.stdout
    assert first.run_rest("restore"), first.errors
    assert first.end().result is not Result.CRITICAL
    done = command_line("run", TARGET, PULL)
    assert done.returncode == 0, done.stdout + done.stderr
    stage.settled(NEW_LIVE)


def test_a_holder_that_died_holds_nobody_up(pushed: Stage) -> None:
    restore = pushed.subject.step("restore")
    dead = pushed.attempt(PULL, lease_lifetime=dt.timedelta(seconds=2))
    dead.run_until(restore)
    assert dead.kill_at(restore, 3)
    # Nobody reports. The next run gets the lease as soon as it has lapsed.
    while True:
        after = pushed.attempt(PULL)
        if after.run("start_gate"):
            break
        assert "is held by" in after.errors["start_gate"]
    assert after.run_rest(after.steps()[1]), after.errors
    assert after.end().result is not Result.CRITICAL
    # What comes back from the dead does no harm.
    assert not dead.run(restore)
    dead.end()
    pushed.settled(NEW_LIVE)


def command_line(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "env_sync.cli", *arguments],
        cwd=ROOT / "plugins",
        capture_output=True,
        text=True,
        check=False,
    )
