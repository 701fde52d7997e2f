"""The pages, made of statuses without a server: whatever a status may hold, it can be shown."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from attrs import evolve

from env_sync.board.pages import TEMPLATES
from env_sync.board.view import View
from env_sync.domain.pause import Pause
from env_sync.domain.problem import Problem
from env_sync.domain.report import Result
from env_sync.domain.settings import Sanitise, Settings
from env_sync.domain.sync import Ensure, Place
from env_sync.status.values import EnvironmentStatus
from tests.unit.test_status import (
    NOW,
    OVER,
    PLAN,
    RUNNING,
    TONIGHT,
    a_report,
    a_run,
    a_summary,
    a_sweep,
    status,
    tasks,
)
from tests.unit.values import a_bucket_sync, a_plan, a_recovery, a_sync


def page(seen: EnvironmentStatus, template: str = "environment.html", *, may_edit: bool = True) -> str:
    view = View(status=seen, root="", may_edit=may_edit)
    return TEMPLATES.get_template(template).render(
        base="/env-sync", root="", names=["integration"], environment="integration", view=view, views=[view]
    )


EVERYTHING = a_plan(
    a_sync("pull_signon", "03:00"),
    a_bucket_sync("assets", "04:00"),
    a_sync("by_hand", ensure=Ensure.DISABLED, database="museum"),
)


@pytest.mark.parametrize("template", ["environment.html", "all.html"])
@pytest.mark.parametrize("may_edit", [True, False])
@pytest.mark.parametrize(
    "seen",
    [
        status(),
        status(runs=[]),
        status(switched_off=True, runs=[]),
        status(switched_off=None, runs=[]),
        status(EVERYTHING),
        status(a_plan()),
        status(a_plan(a_recovery(), environment="production", protected=True)),
        status(tasks=RUNNING, summaries=[a_summary(seconds=7 * 3600)]),
        status(tasks=OVER, summaries=[TONIGHT]),
        status(tasks=tasks("push_signon", "success", "failed", "upstream_failed", "failed")),
        status(summaries=[evolve(TONIGHT, undo=True)], now=NOW + dt.timedelta(days=20)),
        status(runs=[a_run(state="failed")]),
    ],
)
def test_every_status_can_be_shown(seen: EnvironmentStatus, template: str, may_edit: bool) -> None:
    text = page(seen, template, may_edit=may_edit)
    assert seen.environment in text
    assert ("<dialog" in text) is may_edit
    assert ("data-action" in text) <= may_edit


def test_what_people_and_servers_wrote_is_text() -> None:
    evil = '<script>alert("x")</script>'
    pause = Pause(by=evil, why=f'"{evil}', until=NOW + dt.timedelta(hours=1))
    failed = a_summary(result=Result.CRITICAL, reported=NOW)
    problem = Problem(place=Place("x.yaml", 1), sync=None, read=evil, right=evil)
    values: dict[str, Any] = {
        "plan": evolve(PLAN, problems=(problem,)),
        "pauses": {"pull_signon": pause},
        "summaries": [failed],
        "reports": [a_report(failed, what=evil, why=(evil,), dump_key=f'"{evil}')],
    }
    text = page(status(**values))
    assert evil not in text
    assert "&lt;script&gt;" in text
    assert '=""&lt;' not in text


def test_the_page_says_when_the_night_ends_after_its_window() -> None:
    assert "Past the window." in page(status(tasks=RUNNING, summaries=[a_summary(seconds=6 * 3600)]))
    assert "Past the window." not in page(status(tasks=RUNNING, summaries=[a_summary(seconds=3600)]))


def test_an_undo_in_a_protected_environment_asks_for_the_name() -> None:
    plan = a_plan(a_recovery(), environment="production", protected=True)
    text = page(status(plan))
    assert text.count('data-confirm="signon"') == 2
    assert 'data-confirm="' not in page(status())


def test_an_undo_where_sanitising_is_required_tells_how_raw_data_is_confirmed() -> None:
    required = Settings(sanitise=Sanitise.REQUIRED)
    text = page(status(evolve(PLAN, settings=required)))
    assert 'data-raw="signon NOT SANITISED"' in text
    assert "data-raw" not in page(status())
    # A recovery is never refused for that, so one confirmation is asked for.
    plan = a_plan(a_recovery(), environment="production", protected=True, sanitise=Sanitise.REQUIRED)
    assert "data-raw" not in page(status(plan))


def test_the_heading_says_whether_what_comes_down_must_be_sanitised() -> None:
    required = page(status(evolve(PLAN, settings=Settings(sanitise=Sanitise.REQUIRED))))
    assert (">must sanitise<" in required, ">need not sanitise<" in required) == (True, False)
    optional = page(status())
    assert (">must sanitise<" in optional, ">need not sanitise<" in optional) == (False, True)
    protected = page(status(a_plan(a_recovery(), environment="production", protected=True)))
    assert "sanitise<" not in protected


def test_what_failed_in_the_night_can_be_rerun_as_a_whole() -> None:
    failed = evolve(TONIGHT, result=Result.CRITICAL)
    text = page(status(tasks=OVER, summaries=[failed]))
    assert 'data-action="rerun"' in text
    assert "Rerun failed (1)" in text
    assert 'data-action="rerun"' not in page(status(tasks=OVER, summaries=[TONIGHT]))


def test_what_was_swept_from_workers_is_one_line_and_what_lies_there_a_warning() -> None:
    last = a_report(TONIGHT, swept=a_sweep(left=("/work/<1> could not be removed",)))
    text = page(status(summaries=[TONIGHT], reports=[last]))
    assert "1 folder of ended attempts, 1.2 GB." in text
    assert "<b>Left on a worker.</b> /work/&lt;1&gt; could not be removed." in text
    assert "ended attempts" not in page(status(summaries=[TONIGHT]))
