from pathlib import Path

import pytest
from attrs import evolve

from env_sync.core.errors import AccessRefused, ServerUnreachable
from env_sync.engines.base.contract import CleanUp, Holder
from env_sync.pipeline import clean_up as finish_module
from env_sync.pipeline.clean_up import Finished, finish
from env_sync.pipeline.download import download
from env_sync.pipeline.promote import promote
from env_sync.pipeline.restore import restore
from env_sync.pipeline.sanitise import sanitise
from env_sync.pipeline.session import Session
from tests.unit.memory_engine import Database, World, open_memory_session, put
from tests.unit.values import a_bucket_sync, a_sync


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path / "work"))
    monkeypatch.setattr(finish_module, "BETWEEN_ATTEMPTS", 0.0)
    world = World(live=Database("yesterday;"))
    session = open_memory_session(world, a_sync())
    world.lease = session.holder
    put(world, "2026-11-23 22:30", "raw;", session.sync)
    restore(session, download(session))
    # And a dump that a retry of download fetched, which no restore needs any more.
    download(session)
    return session


def world_of(session: Session) -> World:
    return session.engine.world  # type: ignore[attr-defined, no-any-return]


def test_it_removes_the_raw_copy_and_the_dump_and_gives_the_lease_back(session: Session) -> None:
    assert session.dump_file.exists()
    assert finish(session) == Finished(promoted=False, notes=(), failures=())
    world = world_of(session)
    assert (world.incoming, world.lease) == (None, None)
    assert not session.folder.exists()


def test_doing_it_again_is_harmless(session: Session) -> None:
    finish(session)
    world_of(session).journal.clear()
    # Without the lease nothing is touched, and nobody can tell what live is.
    assert finish(session) == Finished(promoted=None, notes=(), failures=())
    assert world_of(session).journal == []


def test_it_knows_what_this_attempt_promoted(session: Session) -> None:
    sanitise(session, download(session))
    promote(session)
    assert finish(session).promoted is True


def test_it_does_not_take_an_earlier_attempts_promotion_for_this_ones(session: Session) -> None:
    sanitise(session, download(session))
    promote(session)
    live = world_of(session).live
    assert live is not None
    assert live.stamp is not None
    live.stamp = evolve(live.stamp, holder=evolve(session.holder, attempt="earlier"))
    assert finish(session).promoted is False


def test_it_leaves_anothers_lease_and_copy_alone(session: Session) -> None:
    world = world_of(session)
    other = Holder(run="another run", group="pull_signon", attempt="x")
    assert world.incoming is not None
    assert world.incoming.stamp is not None
    world.incoming.stamp = evolve(world.incoming.stamp, holder=other)
    world.lease = other
    finish(session)
    assert world.lease == other
    assert world.incoming is not None


def test_a_server_that_is_gone_is_told_not_raised(session: Session) -> None:
    def gone() -> None:
        raise ServerUnreachable("no answer")

    world_of(session).trouble["clean_up"] = gone
    finished = finish(session)
    assert finished.promoted is None
    [failure] = finished.failures
    assert failure == (
        "the server could not be cleaned up: ServerUnreachable: no answer A copy that is not promoted may "
        "still stand there, closed to everybody else; the next run of this sync removes it"
    )
    assert world_of(session).journal.count("clean_up") == 3
    assert not session.folder.exists()


def test_a_server_that_comes_back_is_cleaned_up(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(finish_module, "BETWEEN_ATTEMPTS", 10.0)
    monkeypatch.setattr("env_sync.pipeline.clean_up.time.sleep", waited.append)

    def gone_twice() -> None:
        if len(waited) < 2:
            raise ServerUnreachable("no answer")

    world = world_of(session)
    world.trouble["clean_up"] = gone_twice
    assert finish(session) == Finished(promoted=False, notes=(), failures=())
    assert waited == [10.0, 10.0]
    assert (world.incoming, world.lease) == (None, None)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"Cleaning up failed (attempt {attempt} of 3): ServerUnreachable: no answer" for attempt in (1, 2)
    ]


def test_a_trouble_of_an_unknown_kind_may_pass(session: Session) -> None:
    def wrong() -> None:
        raise RuntimeError("the value of a row")

    world_of(session).trouble["clean_up"] = wrong
    [failure] = finish(session).failures
    assert failure.startswith("the server could not be cleaned up: RuntimeError in wrong, line ")
    assert "the value of a row" not in failure
    assert world_of(session).journal.count("clean_up") == 3


def test_what_the_engine_put_right_is_in_the_report(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(session)
    assert world.live is not None
    world.live.open = False
    tidied = CleanUp(live_reopened=True, incoming_dropped=True, notes=("dropped one", "ended another"))
    monkeypatch.setattr(session.engine, "clean_up", lambda: tidied)
    assert finish(session).notes == (
        "live was found closed by a promote that did not finish, and was reopened",
        "dropped one",
        "ended another",
    )


def test_a_bucket_sync_leaves_nothing_to_clean_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path / "work"))
    session = open_memory_session(World(live=None), a_bucket_sync())
    session.folder.mkdir(parents=True)
    assert finish(session) == Finished(promoted=None, notes=(), failures=())
    assert session.folder.exists()


def test_a_lease_that_cannot_be_given_back_is_told(session: Session) -> None:
    def gone() -> None:
        raise ServerUnreachable("no answer")

    world_of(session).trouble["release_lease"] = gone
    assert len(finish(session).failures) == 1


def test_a_trouble_that_does_not_pass_is_not_tried_again(session: Session) -> None:
    def refused() -> None:
        raise AccessRefused("permission denied")

    world_of(session).trouble["clean_up"] = refused
    [failure] = finish(session).failures
    assert "AccessRefused: permission denied" in failure
    assert world_of(session).journal.count("clean_up") == 1


def test_a_folder_that_cannot_be_removed_is_told_and_the_server_is_cleaned_all_the_same(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(finish_module, "remove_folder", refuse)
    [failure] = finish(session).failures
    assert failure == (
        f"the work folder {session.folder} could not be removed (Permission denied), and may hold a raw "
        "dump: remove it by hand"
    )
    assert world_of(session).incoming is None
