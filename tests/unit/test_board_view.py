"""What the board's page and the terminal show of a status."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

import pytest
from attrs import evolve
from rich.console import Console

from env_sync.board.answers import EnvironmentAnswer
from env_sync.board.view import View, length, size
from env_sync.cli.status_view import print_status
from env_sync.domain.report import Result
from env_sync.domain.settings import Window
from env_sync.status.values import EnvironmentStatus
from tests.unit.test_status import NOW, OVER, RUNNING, TONIGHT, a_run, a_summary, status, tasks
from tests.unit.values import a_plan, a_sync, moment


def a_view(seen: EnvironmentStatus, root: str = "") -> View:
    return View(status=seen, root=root, may_edit=True)


def kinds(view: View, group: str) -> list[str]:
    return [bar.kind for lane in view.timeline.lanes if lane.group == group for bar in lane.bars]


def test_what_runs_has_its_past_and_its_estimate_side_by_side() -> None:
    view = a_view(status(tasks=RUNNING, summaries=[a_summary(seconds=3600)]))
    worked, estimate = view.timeline.lanes[0].bars
    assert (worked.kind, estimate.kind) == ("running", "estimate")
    assert worked.left + worked.width == pytest.approx(estimate.left, abs=0.01)
    assert estimate.left == pytest.approx(view.timeline.now, abs=0.01)
    # An hour, of which ten minutes are gone.
    assert worked.width / (worked.width + estimate.width) == pytest.approx(10 / 60, abs=0.01)
    assert "running since 03:00, at restore; until about 04:00" in view.timeline.lanes[0].summary


def test_what_is_over_has_the_colour_of_its_result() -> None:
    critical = a_summary(
        run="scheduled__tonight", night=24, result=Result.CRITICAL, reported=moment("2026-11-25 03:05")
    )
    assert kinds(a_view(status(tasks=OVER, summaries=[TONIGHT])), "pull_signon") == ["ok"]
    assert kinds(a_view(status(tasks=OVER, summaries=[critical])), "pull_signon") == ["critical"]
    skipped = evolve(TONIGHT, skipped=True)
    assert kinds(a_view(status(tasks=OVER, summaries=[skipped])), "pull_signon") == []


def test_the_window_is_all_but_the_margins() -> None:
    timeline = a_view(status()).timeline
    assert 0 < timeline.window.left < 5
    assert 95 < timeline.window.left + timeline.window.width < 100
    assert [text for _, text in timeline.ticks][:3] == ["22:00", "23:00", "00:00"]


def test_a_sync_after_the_windows_end_is_on_the_timeline_as_well() -> None:
    view = a_view(status(tasks=RUNNING, summaries=[a_summary(seconds=6 * 3600)]))
    (_, estimate) = view.timeline.lanes[0].bars
    end = view.timeline.window.left + view.timeline.window.width
    assert estimate.left + estimate.width > end
    assert view.status.night.late


def test_times_are_on_the_environments_clock() -> None:
    plan = a_plan(a_sync(), timezone="Europe/Paris")
    view = a_view(status(plan, now=moment("2026-11-25 02:10"), runs=[]))
    assert view.clock(moment("2026-11-25 02:00")) == "03:00"
    assert view.clock(moment("2026-11-27 02:00")) == "Fri 03:00"
    assert view.clock(moment("2026-12-27 02:00")) == "27 Dec 03:00"
    assert view.clock(None) == "–"


def test_links_name_what_may_not_stand_in_an_address() -> None:
    view = a_view(status(), root="/airflow")
    link = view.group_link("scheduled__2026-11-24T22:00:00+00:00", "pull_signon")
    assert link == (
        "/airflow/dags/env_sync_integration/runs/scheduled__2026-11-24T22%3A00%3A00%2B00%3A00/tasks/group/pull_signon"
    )
    assert view.group_link(None, "pull_signon") == "/airflow/dags/env_sync_integration"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (8.2, "8 s"), (89, "89 s"), (720, "12 min"), (18_000, "5 h"), (300_000, "3 days")],
)
def test_lengths_of_time_as_people_say_them(seconds: float | None, text: str) -> None:
    assert length(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(None, "–"), (12, "12 B"), (2_500_000, "2.5 MB"), (3 * 10**9, "3.0 GB")]
)
def test_sizes_as_people_say_them(count: int | None, text: str) -> None:
    assert size(count) == text


def printed(seen: EnvironmentStatus) -> str:
    out = io.StringIO()
    answer = EnvironmentAnswer.of(seen)
    again = EnvironmentAnswer.model_validate_json(answer.model_dump_json())
    assert again == answer
    print_status(Console(file=out, width=140, color_system=None), again)
    return out.getvalue()


def test_the_terminal_shows_the_worst_first_each_with_its_bar() -> None:
    text = printed(status(tasks=RUNNING, summaries=[a_summary(seconds=3600)]))
    lines = text.splitlines()
    assert lines[0].startswith("integration  CRITICAL  2 CRITICAL, 0 WARNING, 1 OK")
    assert "night of Tue 24 Nov, 22:00 to 08:00 UTC: running" in lines[1]
    assert "being replaced now: signon" in text
    (row,) = [line for line in lines if "pull_signon" in line]
    assert "running" in row
    assert "█" in row
    assert "░" in row
    assert "restore, until about 04:00" in row
    assert lines.index(row) > lines.index(next(line for line in lines if "pull_shop" in line))


def test_the_terminal_shows_what_is_wrong_as_a_whole() -> None:
    text = printed(status(switched_off=True, runs=[]))
    assert "! the DAG env_sync_integration is switched off" in text
    assert "no run" in text


def test_markup_in_a_reason_is_text() -> None:
    values: dict[str, Any] = {"summaries": [a_summary("pull_shop")], "runs": [a_run()]}
    assert "[bold]" in printed(status(plan=a_plan(a_sync("pull_[bold]")), **values))


def test_a_window_within_a_day_is_drawn() -> None:
    plan = a_plan(a_sync(), window=Window(opens=dt.time(1), closes=dt.time(6)))
    ticks = a_view(status(plan, now=NOW, runs=[])).timeline.ticks
    assert [text for _, text in ticks] == ["01:00", "02:00", "03:00", "04:00", "05:00", "06:00"]
    assert tasks("push_signon", None, None, None, None)
