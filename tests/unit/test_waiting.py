"""Steps whose work a cluster does: asked again, deferred meanwhile, and not for ever."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferred

from env_sync.airflow.operators import waiting
from env_sync.airflow.operators.waiting import WaitingOperator
from env_sync.core.errors import Cancelled, EnvSyncError, RestoreFailed, ServerUnreachable
from env_sync.domain.settings import Options
from env_sync.domain.sync import Action
from env_sync.engines.base.contract import Waiting
from env_sync.pipeline.polling import ask, check_limit, wait_here
from env_sync.pipeline.session import Session
from tests.unit.memory_engine import World, open_memory_session
from tests.unit.values import a_plan, a_sync

COPY = a_sync(
    "copy_search",
    action=Action.COPY,
    dbms="elasticsearch",
    storagebackend="elasticsearch",
    database="search",
    source_hostname="above",
    options=Options(timeouts={"copy": dt.timedelta(hours=1)}),
)
WAITING = Waiting("it is at work")


@pytest.fixture
def session() -> Session:
    return open_memory_session(World(), COPY)


def in_turn(*answers: object) -> Callable[[], Any]:
    left = list(answers)

    def answer(*_: object) -> Any:
        given = left.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    return answer


def test_no_answer_is_no_verdict_once_it_was_begun() -> None:
    unreachable = ServerUnreachable("503")
    assert ask(in_turn(unreachable), begun=True) == Waiting("503")
    with pytest.raises(ServerUnreachable):
        ask(in_turn(unreachable), begun=False)
    with pytest.raises(RestoreFailed):
        ask(in_turn(RestoreFailed()), begun=True)


def test_there_is_a_limit(session: Session) -> None:
    now = dt.datetime.now(dt.UTC)
    check_limit(session, "copy", now - dt.timedelta(minutes=59), WAITING)
    with pytest.raises(EnvSyncError, match=r"longer than its limit \(1:00:00\): it is at work"):
        check_limit(session, "copy", now - dt.timedelta(minutes=61), WAITING)


def test_a_process_that_stays(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("env_sync.pipeline.polling.FIRST", 0.01)
    assert wait_here(session, "copy", in_turn(WAITING, ServerUnreachable("503"), "done")) == "done"
    session.cancellation.cancel()
    with pytest.raises(Cancelled):
        wait_here(session, "copy", in_turn(WAITING, "done"))


class Looking(WaitingOperator):
    def __init__(self, *, answers: Callable[[], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._answers = answers

    def look(self, session: Session, context: Context) -> object:
        return self._answers()


def looking(answers: Callable[[], Any]) -> Looking:
    plan = a_plan(COPY)
    return Looking(task_id="copy", group=plan.groups[0], plan=plan, answers=answers)


class TestOperator:
    CONTEXT: Any = {}

    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(waiting, "POLL", 0.01)

    def test_what_is_soon_done_needs_no_deferral(self, session: Session) -> None:
        assert looking(in_turn(WAITING, WAITING, "done")).work(session, self.CONTEXT) == "done"

    def test_what_takes_longer_is_deferred_with_its_beginning(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(waiting, "STAY", dt.timedelta(0))
        with pytest.raises(TaskDeferred) as deferred:
            looking(in_turn(WAITING)).work(session, self.CONTEXT)
        assert deferred.value.method_name == "resume"
        since = dt.datetime.fromisoformat((deferred.value.kwargs or {})["since"])
        assert dt.datetime.now(dt.UTC) - since < dt.timedelta(minutes=1)
        left = deferred.value.trigger.moment - dt.datetime.now(dt.UTC)
        assert left > dt.timedelta(seconds=60)

    def test_a_resumed_one_takes_no_answer_for_no_verdict(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        operator = looking(in_turn(ServerUnreachable("503"), "done"))
        monkeypatch.setattr(operator, "execute", lambda context: operator.work(session, context))
        since = dt.datetime.now(dt.UTC).isoformat()
        assert operator.resume(self.CONTEXT, None, since=since) == "done"

    def test_the_limit_counts_from_the_first_look(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        operator = looking(in_turn(WAITING))
        monkeypatch.setattr(operator, "execute", lambda context: operator.work(session, context))
        since = dt.datetime.now(dt.UTC) - dt.timedelta(hours=2)
        with pytest.raises(EnvSyncError, match="longer than its limit"):
            operator.resume(self.CONTEXT, None, since=since.isoformat())
