"""What the board reads from Airflow's metadata database: right, and in few queries."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from airflow.models.dag import DagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from env_sync.airflow.pause_store import all_pauses, remove_pause, set_pause
from env_sync.board.overview import read_replacing, read_statuses
from env_sync.core.serialization import from_plain
from env_sync.domain.pause import Pause
from env_sync.domain.report import Report, Result
from env_sync.status.values import EnvironmentStatus, Phase
from tests.integration.board.conftest import ENVIRONMENTS, NIGHTS, NOW, History


@pytest.fixture
def queries(history: History) -> Iterator[list[str]]:
    asked: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(history.engine, "before_cursor_execute", count)
    yield asked
    event.remove(history.engine, "before_cursor_execute", count)


def integration(session: Session, now: dt.datetime = NOW) -> EnvironmentStatus:
    (status,) = read_statuses(session, ["integration"], now)
    return status


def test_155_syncs_and_30_nights_are_read_in_six_queries(
    session: Session, history: History, queries: list[str]
) -> None:
    statuses = read_statuses(session, tuple(ENVIRONMENTS), NOW)
    assert history.syncs == 155
    assert sum(len(status.syncs) for status in statuses) == 155
    assert len(queries) == 6
    assert {len(status.syncs[0].past) for status in statuses} == {14}


def test_each_sync_has_what_its_last_report_says(session: Session) -> None:
    status = integration(session)
    rows = session.execute(
        select(XComModel.task_id, XComModel.value).where(XComModel.dag_id == "env_sync_integration")
    )
    reports: dict[str, list[Report]] = {}
    for task, value in rows:
        reports.setdefault(task.removesuffix(".report"), []).append(from_plain(Report, value))
    for sync in status.syncs:
        own = sorted(reports[sync.sync], key=lambda report: report.reported)
        assert sync.last == own[-1]
        good = [report for report in own if report.result is not Result.CRITICAL]
        assert sync.freshness.last_success == good[-1].reported
        if sync.action == "pull":
            assert sync.holding is not None
            assert sync.holding.dump_key == good[-1].dump_key
            assert sync.undo == sync.database
        else:
            assert sync.holding is None


def test_the_night_that_is_running_is_told_with_estimates(session: Session) -> None:
    night = integration(session).night
    assert (night.opened, night.closes) == (
        dt.datetime(2026, 11, 24, 22, tzinfo=dt.UTC),
        dt.datetime(2026, 11, 25, 8, tzinfo=dt.UTC),
    )
    phases = {each.phase for each in night.attempts}
    assert {Phase.OVER, Phase.RUNNING, Phase.WAITING} <= phases
    for each in night.attempts:
        if each.phase in (Phase.RUNNING, Phase.WAITING):
            assert each.ends is not None
            assert each.ends >= NOW
    assert night.ends is not None


def test_the_window_is_told_in_three_queries_and_by_the_tasks_alone(
    session: Session, queries: list[str]
) -> None:
    replacing = read_replacing(session, "integration", NOW)
    assert len(queries) == 3
    running = session.scalars(
        select(TaskInstance.task_id).where(
            TaskInstance.dag_id == "env_sync_integration", TaskInstance.state == "running"
        )
    )
    pulls = {task.partition(".")[0] for task in running if task.startswith("pull")}
    assert {f"pull_{database}_daily" for database in replacing.databases} == pulls
    assert replacing.replacing
    assert replacing.since is not None
    assert replacing.waiting


def test_pauses_are_those_of_this_environment_alone(session: Session) -> None:
    # An underscore is no wildcard.
    for environment in ("integration", "integrationX", "production"):
        set_pause(
            environment, "push_service_01_production_daily", Pause(by=environment, why="it"), session=session
        )
    session.flush()
    paused = [sync for sync in integration(session).syncs if sync.pause]
    assert [(sync.sync, sync.pause and sync.pause.by) for sync in paused] == [
        ("push_service_01_production_daily", "integration")
    ]
    assert len(all_pauses(session=session)) == 3
    assert remove_pause("integration", "push_service_01_production_daily", session=session)
    assert len(all_pauses(session=session)) == 2
    session.rollback()


def test_a_dag_that_is_switched_off_or_gone_is_told(session: Session) -> None:
    assert integration(session).switched_off is False
    dag = update(DagModel).where(DagModel.dag_id == "env_sync_integration")
    session.execute(dag.values(is_paused=True))
    assert integration(session).switched_off is True
    session.execute(dag.values(is_stale=True))
    assert integration(session).switched_off is None
    session.rollback()


def test_a_month_later_all_is_stale_and_nothing_is_at_work(session: Session) -> None:
    status = integration(session, NOW + dt.timedelta(days=40))
    assert {sync.result for sync in status.syncs} == {Result.CRITICAL}
    assert {sync.freshness.last_success for sync in status.syncs} == {None}
    assert not status.replacing.replacing


def test_a_report_of_a_version_without_all_its_fields_still_counts(session: Session) -> None:
    task = "pull_service_00_production_daily.report"
    rows = session.scalars(
        select(XComModel).where(XComModel.dag_id == "env_sync_integration", XComModel.task_id == task)
    ).all()
    assert len(rows) == NIGHTS
    for row in rows:
        row.value = {name: fact for name, fact in row.value.items() if name not in ("replaced", "undo")}
    session.flush()
    sync = next(each for each in integration(session).syncs if each.sync == task.removesuffix(".report"))
    assert sync.holding is not None
    assert sync.last is not None
    session.rollback()
