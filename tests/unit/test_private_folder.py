"""What lies in the private folder of a group after each step, however that ended."""

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from env_sync.core.errors import AccessRefused, Cancelled, ServerUnreachable, WorkFolderRefused
from env_sync.domain.sync import Sync
from env_sync.pipeline import private_folder
from env_sync.pipeline.download import download
from env_sync.pipeline.dump import dump
from env_sync.pipeline.folder_lock import alone
from env_sync.pipeline.folder_notes import read_whose
from env_sync.pipeline.private_folder import filling, using_up
from env_sync.pipeline.promote import promote
from env_sync.pipeline.restore import restore
from env_sync.pipeline.sanitise import sanitise
from env_sync.pipeline.session import Session, make_folder
from env_sync.pipeline.upload import upload
from tests.unit.memory_engine import Database, World, open_memory_session, put
from tests.unit.values import a_push, a_sync


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path / "work"))
    world = World(live=Database("yesterday;"))
    put(world, "2026-11-23 22:30", "ada@home.example;", a_sync())
    return world


def on(worker: str, world: World, monkeypatch: pytest.MonkeyPatch, sync: Sync | None = None) -> Session:
    """A session of a step on a worker with a disk of its own."""
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", worker)
    session = open_memory_session(world, sync or a_sync())
    world.lease = session.holder
    return session


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def fails(world: World, step: str, problem: BaseException) -> None:
    def fail() -> None:
        raise problem

    world.trouble[step] = fail


def test_a_pull_on_one_worker_downloads_once_and_leaves_nothing_once_incoming_holds_the_dump(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = on(str(tmp_path / "a"), world, monkeypatch)
    result = download(session)
    assert files(session.folder) == {"dump", "dump.json", "lock", "whose.json"}
    restore(session, result)
    assert world.journal.count("download_dump") == 1
    assert not session.folder.exists()


def test_a_push_leaves_nothing_once_the_pointer_has_moved(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = on(str(tmp_path / "a"), world, monkeypatch, a_push())
    dumped = dump(session)
    assert files(session.folder) == {"dump", "dump.json", "lock", "whose.json"}
    upload(session, dumped)
    assert world.pointer == dumped.dump_key
    assert world.journal.count("dump") == 1
    assert not session.folder.exists()


def test_a_worker_that_gets_a_later_step_leaves_nothing_either(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step on another disk: but for the first, none leaves anything."""
    first = on(str(tmp_path / "a"), world, monkeypatch)
    result = download(first)
    for worker, step in (("b", restore), ("c", sanitise)):
        step(on(str(tmp_path / worker), world, monkeypatch), result)
        assert files(tmp_path / worker) == set()
    promote(on(str(tmp_path / "a"), world, monkeypatch))
    assert files(tmp_path / "a") == set()


@pytest.mark.parametrize(
    "problem", [ServerUnreachable("no answer"), AccessRefused("no"), OSError(5, "I/O"), KeyboardInterrupt()]
)
@pytest.mark.parametrize(
    ("action", "step"), [("pull", "download_dump"), ("pull", "verify"), ("push", "dump")]
)
def test_what_fails_before_there_is_a_dump_leaves_nothing(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    step: str,
    problem: BaseException,
) -> None:
    session = on(str(tmp_path / "a"), world, monkeypatch, a_push() if action == "push" else None)
    fails(world, step, problem)
    with pytest.raises(type(problem)):
        dump(session) if action == "push" else download(session)
    assert not session.folder.exists()


@pytest.mark.parametrize(
    ("problem", "stays"),
    [
        (ServerUnreachable("no answer"), True),
        (AccessRefused("no"), False),
        (Cancelled(), False),
        (RuntimeError(), False),
        (KeyboardInterrupt(), False),
    ],
)
@pytest.mark.parametrize("step", ["restore", "upload_dump"])
def test_a_step_that_fails_keeps_the_dump_only_for_a_retry_that_may_succeed(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    problem: BaseException,
    stays: bool,
) -> None:
    session = on(str(tmp_path / "a"), world, monkeypatch, None if step == "restore" else a_push())
    result: Any = download(session) if step == "restore" else dump(session)
    fails(world, step, problem)
    work: Any = restore if step == "restore" else upload
    with pytest.raises(type(problem)):
        work(session, result)
    assert session.dump_file.exists() is stays
    assert session.folder.exists() is stays
    if stays:
        # The retry finds it, and leaves nothing.
        world.trouble.clear()
        world.journal.clear()
        work(session, result)
        assert world.journal == [step]
        assert not session.folder.exists()


def test_a_restore_that_failed_here_and_went_well_elsewhere_leaves_nothing_here(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = on(str(tmp_path / "a"), world, monkeypatch)
    result = download(session)
    fails(world, "restore", ServerUnreachable("no answer"))
    with pytest.raises(ServerUnreachable):
        restore(session, result)
    world.trouble.clear()
    restore(on(str(tmp_path / "b"), world, monkeypatch), result)
    assert session.dump_file.exists()
    sanitise(on(str(tmp_path / "a"), world, monkeypatch), result)
    assert not session.folder.exists()


def test_a_cancelled_step_leaves_nothing_whatever_it_dies_of(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = on(str(tmp_path / "a"), world, monkeypatch)
    result = download(session)

    def cancelled() -> None:
        session.cancellation.cancel()
        raise ServerUnreachable("the server closed the connection")

    world.trouble["restore"] = cancelled
    with pytest.raises(ServerUnreachable):
        restore(session, result)
    assert not session.folder.exists()


def test_a_retry_that_cannot_fetch_leaves_no_empty_folder(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = download(on(str(tmp_path / "a"), world, monkeypatch))
    session = on(str(tmp_path / "b"), world, monkeypatch)
    fails(world, "choose", ServerUnreachable("no answer"))
    with pytest.raises(ServerUnreachable):
        restore(session, result)
    assert not session.folder.exists()


def test_the_folder_says_whose_it_is(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = on(str(tmp_path / "a"), world, monkeypatch)
    download(session)
    whose = read_whose(session.folder)
    assert whose is not None
    assert (whose.run, whose.group, whose.environment, whose.attempt) == (
        session.holder.run,
        session.holder.group,
        "integration",
        "first",
    )
    # Made once by an attempt, and anew by the next.
    with filling(session):
        assert read_whose(session.folder) == whose
    again = evolve(session, holder=evolve(session.holder, attempt="second"))
    with filling(again):
        assert (found := read_whose(session.folder)) is not None
        assert (found.attempt, found.made > whose.made) == ("second", True)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", json.dumps({"run": "a run"})])
def test_a_folder_that_says_nothing_that_can_be_read(tmp_path: Path, text: str) -> None:
    assert read_whose(tmp_path) is None
    (tmp_path / "whose.json").write_text(text)
    assert read_whose(tmp_path) is None


def test_a_folder_is_locked_while_a_step_works_in_it_and_not_after(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = on(str(tmp_path / "a"), world, monkeypatch)
    with filling(session), alone(session.folder) as idle:
        assert idle is False
    with alone(session.folder) as idle:
        assert idle is True
    # A whole group in one process keeps it between its steps.
    with session.hold.kept():
        with filling(session):
            pass
        with alone(session.folder) as idle:
            assert idle is False
    with alone(session.folder) as idle:
        assert idle is True


def test_a_folder_that_is_swept_away_before_it_is_locked_is_made_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = on(str(tmp_path / "a"), world, monkeypatch)
    made = []

    def make_and_lose(folder: Path) -> None:
        make_folder(folder)
        made.append(folder)
        if len(made) == 1:
            folder.rmdir()

    monkeypatch.setattr(private_folder, "make_folder", make_and_lose)
    with filling(session):
        assert read_whose(session.folder) is not None
    assert len(made) == 2


def test_a_lock_of_a_folder_that_was_made_anew_is_taken_anew(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = on(str(tmp_path / "a"), world, monkeypatch)
    with session.hold.kept():
        with using_up(session):
            session.dump_file.touch()
        with filling(session):
            pass
        with alone(session.folder) as idle:
            assert idle is False


def test_a_folder_that_cannot_be_locked_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = on(str(tmp_path / "a"), world, monkeypatch)
    make_folder(session.folder)
    (session.folder / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WorkFolderRefused, match=r"Nothing can be put into the work folder .*temppath"):
        download(session)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_removed_fails_no_step(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = on(str(tmp_path / "a"), world, monkeypatch)
    result = download(session)

    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(private_folder, "remove_folder", refuse)
    restore(session, result)
    assert f"{session.folder} could not be removed (Permission denied)" in caplog.text
