"""A whole group in one process: its order, its end after every failure, its report."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import (
    Cancelled,
    DumpDamaged,
    PromoteFailed,
    RestoreFailed,
    ServerUnreachable,
    ToolFailed,
    TransferFailed,
    TransformationFailed,
)
from env_sync.domain.pause import Pause
from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.domain.report import Report, Result
from env_sync.domain.settings import Settings
from env_sync.domain.sync import Sync
from env_sync.engines.base.contract import Holder
from env_sync.pipeline import clean_up as finish_module
from env_sync.pipeline.folder_lock import alone
from env_sync.pipeline.run import run_group
from env_sync.pipeline.session import Session
from env_sync.planning.request import Request
from tests.unit.memory_engine import Database, World, open_memory_session, put
from tests.unit.values import REPLACE, a_push, a_sync

RAW, CLEAN = "ada@home.example;", "clean;"
YESTERDAY = Database(content="yesterday;")


@pytest.fixture(autouse=True)
def _work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path / "work"))
    monkeypatch.setattr(finish_module, "BETWEEN_ATTEMPTS", 0.0)


@pytest.fixture
def sync(tmp_path: Path) -> Sync:
    file = tmp_path / "sanitise_signon.sql"
    file.write_text(CLEAN)
    return a_sync(transformation=file)


@pytest.fixture
def world(sync: Sync) -> World:
    world = World(live=Database(content="yesterday;"))
    today = dt.datetime.now(dt.UTC) - dt.timedelta(hours=2)
    put(world, f"{today:%Y-%m-%d %H:%M}", RAW, sync, data_time=today)
    return world


def fails(with_: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise with_

    return fail


def run(session: Session) -> tuple[Report, list[str]]:
    said: list[str] = []
    report = run_group(session, said.append)
    return report, said


def is_whole_as_before(world: World, session: Session) -> None:
    """Live is untouched and open; nothing raw is left on the server or on disk; the lease is back."""
    assert world.live == YESTERDAY
    assert world.incoming is None
    assert world.lease is None
    assert not session.folder.exists()


def test_a_pull(world: World, sync: Sync) -> None:
    session = open_memory_session(world, sync, settings=Settings(pool_size=3))
    report, said = run(session)
    assert said == ["start_gate", "download", "restore", "sanitise", "promote", "report"]
    assert world.journal == [
        "take_lease at most 3",
        "choose",
        "download_dump",
        "verify",
        "restore",
        "sanitise",
        "promote",
        "promoted",
        "clean_up",
        "release_lease",
    ]
    assert world.live is not None
    assert world.live.content == RAW + CLEAN
    assert world.live.open
    assert world.previous == YESTERDAY
    assert world.lease is None
    assert not session.folder.exists()
    assert (report.result, report.what, report.why) == (Result.OK, "pulled and promoted", ())
    assert (report.bytes, report.unavailable, report.source_environment) == (len(RAW), 0.25, "staging")
    assert report.dump_key in world.objects


@pytest.mark.parametrize("action", ["pull", "push"])
def test_its_folder_is_its_own_between_its_steps(world: World, sync: Sync, action: str) -> None:
    """Whoever sweeps this disk meanwhile leaves it alone: nobody else knows of this run."""
    session = open_memory_session(world, sync if action == "pull" else a_push())
    idle: dict[str, bool] = {}

    def look(step: str) -> None:
        with alone(session.folder) as nobody:
            idle[step] = nobody

    assert run_group(session, look).result is not Result.CRITICAL
    assert idle["restore" if action == "pull" else "upload"] is False
    assert not session.folder.exists()


def test_a_push(world: World) -> None:
    session = open_memory_session(world, a_push(), settings=Settings(pool_sizes={"signon-postgres": 1}))
    report, said = run(session)
    assert said == ["start_gate", "dump", "upload", "report"]
    assert world.journal == ["take_lease at most 1", "dump", "upload_dump", "clean_up", "release_lease"]
    assert (report.what, report.bytes) == ("pushed", len("yesterday;"))
    assert not session.folder.exists()


def test_a_first_pull(world: World, sync: Sync) -> None:
    world.live = None
    report, _ = run(open_memory_session(world, sync))
    assert report.result is Result.OK
    assert world.live is not None


@pytest.mark.parametrize(
    ("where", "problem", "step"),
    [
        ("choose", TransferFailed("broken pipe"), "download"),
        ("download_dump", OSError(28, "No space left on device"), "download"),
        ("verify", DumpDamaged("half"), "download"),
        ("restore", RestoreFailed("wrong version"), "restore"),
        ("sanitise", TransformationFailed("division by zero"), "sanitise"),
        ("promote", PromoteFailed("not closed in time"), "promote"),
    ],
)
def test_a_pull_that_fails_leaves_live_and_nothing_else(
    world: World, sync: Sync, where: str, problem: Exception, step: str
) -> None:
    world.trouble[where] = fails(problem)
    session = open_memory_session(world, sync)
    report, said = run(session)
    assert said[-2:] == [step, "report"]
    assert world.journal[-2:] == ["clean_up", "release_lease"]
    is_whole_as_before(world, session)
    assert report.result is Result.CRITICAL
    assert report.what == f"{step} failed, live was not replaced"
    assert type(problem).__name__ in report.why[0]


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("dump", "dump failed, no dump was uploaded"),
        ("upload_dump", "upload failed, the dump may be in the bucket"),
    ],
)
def test_a_push_that_fails(world: World, where: str, what: str) -> None:
    world.trouble[where] = fails(ToolFailed("exit 1"))
    session = open_memory_session(world, a_push())
    report, _ = run(session)
    is_whole_as_before(world, session)
    assert (report.result, report.what, report.why) == (Result.CRITICAL, what, ("ToolFailed: exit 1",))


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (psycopg.errors.UniqueViolation("Key (email)=(ada@home.example) already exists."), "(23505)"),
        (ValueError("cannot read 'ada@home.example'"), "ValueError"),
        (KeyError("ada@home.example"), "KeyError"),
    ],
)
def test_whatever_happens_the_end_comes_and_no_row_is_told(
    world: World, sync: Sync, problem: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.trouble["sanitise"] = fails(problem)
    world.trouble["clean_up"] = fails(problem)
    report, _ = run(open_memory_session(world, sync))
    assert report.result is Result.CRITICAL
    assert report.line().count(said) >= 2
    assert "ada" not in report.line()
    assert "ada" not in caplog.text


@pytest.mark.parametrize(
    ("where", "step"),
    [
        ("choose", "download"),
        ("verify", "download"),
        ("restore", "restore"),
        ("sanitise", "sanitise"),
        ("promote", "promote"),
    ],
)
def test_a_cancel_stops_the_step_and_then_cleans_up(world: World, sync: Sync, where: str, step: str) -> None:
    cancellation = Cancellation()
    world.trouble[where] = cancellation.cancel
    session = open_memory_session(world, sync, cancellation=cancellation)
    report, said = run(session)
    assert said[-1] == "report"
    is_whole_as_before(world, session)
    assert report.result is Result.CRITICAL
    assert report.why[0].startswith("Cancelled: ")


def test_a_program_that_dies_of_a_cancel_is_a_cancel(world: World, sync: Sync) -> None:
    cancellation = Cancellation()

    def killed() -> None:
        cancellation.cancel()
        raise ToolFailed("pg_restore was ended by signal 15")

    world.trouble["restore"] = killed
    report, _ = run(open_memory_session(world, sync, cancellation=cancellation))
    assert report.why == (f"Cancelled: {Cancelled()}",)


def test_a_cancel_right_after_the_swap_does_not_hide_it(world: World, sync: Sync) -> None:
    cancellation = Cancellation()
    world.trouble["promoted"] = cancellation.cancel
    report, _ = run(open_memory_session(world, sync, cancellation=cancellation))
    assert report.what == "promote failed, live holds the new, sanitised data"
    assert world.live is not None
    assert world.live.content == RAW + CLEAN


def test_a_pause_that_comes_while_it_runs_skips_the_promote(world: World, sync: Sync) -> None:
    pauses: list[Pause] = []
    world.trouble["sanitise"] = lambda: pauses.append(Pause(by="ada", why="load test"))
    session = open_memory_session(world, sync, pause=lambda: pauses[-1] if pauses else None)
    report, _ = run(session)
    is_whole_as_before(world, session)
    assert (report.result, report.what, report.skipped) == (Result.OK, "skipped", True)
    assert "paused by ada" in report.why[0]


def test_a_lease_that_somebody_else_holds(world: World, sync: Sync) -> None:
    other = Holder(run="env_sync_integration/manual", group="push_signon", attempt="x")
    world.lease = other
    report, said = run(open_memory_session(world, sync))
    assert said == ["start_gate", "report"]
    assert report.what == "start_gate failed, live was not replaced"
    assert "env_sync_integration/manual push_signon holds it" in report.why[0]
    assert world.lease == other


def test_a_server_that_is_gone_from_the_start(world: World, sync: Sync) -> None:
    world.trouble["take_lease at most 4"] = fails(ServerUnreachable("no answer"))
    session = open_memory_session(world, sync)
    report, said = run(session)
    assert said == ["start_gate", "report"]
    is_whole_as_before(world, session)
    assert (report.what, report.why) == (
        "start_gate failed, live was not replaced",
        ("ServerUnreachable: no answer",),
    )


def test_an_end_that_cannot_clean_up_is_critical_even_after_a_good_pull(world: World, sync: Sync) -> None:
    world.trouble["clean_up"] = fails(ServerUnreachable("the server does not answer"))
    report, _ = run(open_memory_session(world, sync))
    assert world.journal.count("clean_up") == 3
    assert (report.result, report.what) == (Result.CRITICAL, "pulled and promoted")
    assert "the server could not be cleaned up: ServerUnreachable" in report.why[0]


def test_an_end_that_succeeds_at_last_is_no_trouble(world: World, sync: Sync) -> None:
    tries: list[int] = []

    def once() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ServerUnreachable

    world.trouble["clean_up"] = once
    report, _ = run(open_memory_session(world, sync))
    assert (report.result, len(tries)) == (Result.OK, 3)


def test_a_live_database_that_was_left_closed_is_reopened_and_said(world: World, sync: Sync) -> None:
    def killed_after_closing() -> None:
        assert world.live is not None
        world.live.open = False
        raise PromoteFailed("the connection was lost")

    world.trouble["promote"] = killed_after_closing
    session = open_memory_session(world, sync)
    report, _ = run(session)
    is_whole_as_before(world, session)
    assert any("reopened" in reason for reason in report.why)


def test_old_data_is_a_warning_that_says_where_it_comes_from(world: World, sync: Sync) -> None:
    world.objects.clear()
    world.manifests.clear()
    key = put(world, "2026-01-02 22:30", RAW, sync)
    report, _ = run(open_memory_session(world, sync))
    assert report.result is Result.WARNING
    assert key in report.why[0]
    assert "2026-01-02 22:30 UTC" in report.why[0]


def test_an_undo_on_the_command_line(world: World, sync: Sync) -> None:
    run(open_memory_session(world, sync))
    world.journal.clear()
    request = Request(nightly=False, restore_previous="signon", ignore_pauses=True)
    session = open_memory_session(
        world, sync, run="command line/1", request=request, pause=lambda: Pause(by="ada", why="undo")
    )
    report, said = run(session)
    assert said == ["start_gate", "promote", "report"]
    assert world.journal == [
        "take_lease at most 4",
        "restore_previous",
        "restored_previous",
        "clean_up",
        "release_lease",
    ]
    assert world.live == YESTERDAY
    assert (report.result, report.what, report.unavailable) == (
        Result.WARNING,
        "previous is live again",
        0.5,
    )
    assert "before the first pull" in report.why[1]
    assert "env-sync pause integration signon --pull-only" in report.line()


@pytest.mark.parametrize("postprocess", [(), (REPLACE,)])
def test_an_undo_to_before_the_first_pull_warns_where_a_pull_sanitises(
    world: World, postprocess: tuple[Postprocess, ...]
) -> None:
    sync = a_sync(postprocess=postprocess)
    run(open_memory_session(world, sync))
    request = Request(nightly=False, restore_previous="signon", ignore_pauses=True)
    report, _ = run(open_memory_session(world, sync, run="command line/1", request=request))
    assert report.what == "previous is live again"
    assert ("no transformation of Env Sync ran on it" in report.line()) == bool(postprocess)


def test_a_push_whose_transformation_fails_uploads_nothing(world: World, sync: Sync) -> None:
    def fail() -> None:
        raise TransformationFailed("line 3: no such column")

    world.trouble["transform outgoing"] = fail
    session = open_memory_session(world, a_push(pre_dump_transformation=sync.transformation))
    before = dict(world.objects)
    report, _ = run(session)
    assert (report.result, report.what) == (Result.CRITICAL, "dump failed, no dump was uploaded")
    assert "line 3: no such column" in report.why[0]
    assert world.objects == before
    assert not session.folder.exists()
    assert world.journal[-2:] == ["clean_up", "release_lease"]


def test_an_undo_without_a_previous(world: World, sync: Sync) -> None:
    request = Request(nightly=False, restore_previous="signon", ignore_pauses=True)
    session = open_memory_session(world, sync, request=request)
    report, _ = run(session)
    is_whole_as_before(world, session)
    assert (report.result, report.what) == (Result.CRITICAL, "promote failed, live was not replaced")
    assert report.why[0].startswith("NoPrevious: ")
