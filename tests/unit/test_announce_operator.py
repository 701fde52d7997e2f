"""Telling others, as a task of a run: of what is replaced, and failing alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from env_sync.airflow.operators.announce import AnnounceOperator
from env_sync.core.errors import EnvSyncError
from env_sync.domain.sync import Ensure
from env_sync.pipeline.announce import Event
from env_sync.planning.plan import Plan
from tests.unit.memory_engine import World
from tests.unit.test_operators import Run
from tests.unit.values import a_plan, a_push, a_sync


def plan(seen: Path, **hooks: Any) -> Plan:
    command = f"sh -c 'echo $ENV_SYNC_EVENT $ENV_SYNC_REPLACED_DATABASES >> {seen}'"
    return a_plan(
        a_sync("pull_shop", database="shop"),
        a_sync("pull_signon"),
        a_sync("by_hand", ensure=Ensure.DISABLED, database="museum"),
        a_push("push_library", database="library"),
        **{"before_replacing": (command,), "after_replacing": (command,), **hooks},
    )


def tell(the_plan: Plan, event: Event, *, scheduled: bool = True, **conf: Any) -> None:
    run = Run(plan=the_plan, world=World(), scheduled=scheduled, conf=conf)
    AnnounceOperator(task_id=event, plan=the_plan, event=event).execute(run.context(event))


def test_a_night_tells_of_every_database_that_it_replaces(tmp_path: Path) -> None:
    tell(plan(tmp_path / "seen"), Event.BEGINS)
    tell(plan(tmp_path / "seen"), Event.ENDS)
    assert (tmp_path / "seen").read_text().splitlines() == [
        "replacing_begins shop,signon",
        "replacing_ends shop,signon",
    ]


def test_a_run_by_hand_tells_of_what_it_was_asked_for(tmp_path: Path) -> None:
    tell(plan(tmp_path / "seen"), Event.BEGINS, scheduled=False, only=["by_hand", "push_library"])
    tell(plan(tmp_path / "seen"), Event.BEGINS, scheduled=False, restore_previous="shop")
    assert (tmp_path / "seen").read_text().splitlines() == [
        "replacing_begins museum",
        "replacing_begins shop",
    ]


@pytest.mark.parametrize("conf", [{"only": ["push_library"]}, {}, {"onyl": ["pull_shop"]}])
def test_a_run_that_replaces_nothing_tells_nobody(tmp_path: Path, conf: dict[str, Any]) -> None:
    with pytest.raises(AirflowSkipException):
        tell(plan(tmp_path / "seen"), Event.BEGINS, scheduled=False, **conf)
    assert not (tmp_path / "seen").exists()


def test_one_that_fails_does_not_keep_the_others_from_being_told(tmp_path: Path) -> None:
    hooks = ("sh -c 'exit 3'", f"touch {tmp_path / 'told'}", "no-such-program")
    with pytest.raises(EnvSyncError, match=r"(?s)exit code 3.*ToolMissing"):
        tell(plan(tmp_path / "seen", before_replacing=hooks), Event.BEGINS)
    assert (tmp_path / "told").exists()
