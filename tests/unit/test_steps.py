"""Each step by itself, and run again after every kind of accident, on an engine and a store in memory."""

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from env_sync.core.errors import (
    DumpDamaged,
    DumpOfAnotherEnvironment,
    DumpTooSmall,
    LeaseLost,
    NothingToRestore,
    PauseActive,
    ProofMissing,
    TransformationFailed,
)
from env_sync.domain.manifest import Parent, Transformation
from env_sync.domain.pause import Pause
from env_sync.domain.sync import Sync
from env_sync.engines.base.contract import CopyState
from env_sync.pipeline.download import download
from env_sync.pipeline.dump import dump
from env_sync.pipeline.promote import promote
from env_sync.pipeline.restore import restore
from env_sync.pipeline.results import Downloaded
from env_sync.pipeline.sanitise import sanitise, transformations_of
from env_sync.pipeline.session import Session
from env_sync.pipeline.upload import upload
from env_sync.planning.request import Request
from tests.unit.memory_engine import DAMAGED, NOW, Database, World, open_memory_session, put
from tests.unit.values import REPLACE, a_push, a_sync, moment

SECRET_ROWS = "ada@home.example;"
CLEAN = "clean;"


@pytest.fixture(autouse=True)
def _work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path / "work"))


@pytest.fixture
def sql(tmp_path: Path) -> Path:
    file = tmp_path / "sanitise_signon.sql"
    file.write_text(CLEAN)
    return file


@pytest.fixture
def world() -> World:
    return World(live=Database(content="yesterday;"))


def pulling(world: World, sql: Path | None = None, **more: Any) -> Session:
    """A session of a pull that holds the lease."""
    session = open_memory_session(world, a_sync(transformation=sql), **more)
    world.lease = session.holder
    return session


def pushing(world: World, sync: Sync | None = None, **more: Any) -> Session:
    session = open_memory_session(world, sync or a_push(), **more)
    world.lease = session.holder
    return session


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def downloaded(world: World, session: Session) -> Downloaded:
    put(world, "2026-11-23 22:30", SECRET_ROWS, session.sync)
    result = download(session)
    world.journal.clear()
    return result


class TestDownload:
    def test_what_it_tells_with_a_manifest(self, world: World) -> None:
        session = pulling(world)
        parent = Parent(
            environment="production", key="k", sha256="s", transformations=(), pulled_into="staging"
        )
        key = put(
            world,
            "2026-11-23 22:30",
            SECRET_ROWS,
            session.sync,
            data_time=moment("2026-11-20 01:00"),
            parents=(parent,),
        )
        assert download(session) == Downloaded(
            dump_key=key,
            timestamp="2026-11-23T223000Z",
            size=len(SECRET_ROWS),
            sha256=sha(SECRET_ROWS),
            source_environment="staging",
            born_in="production",
            data_time=moment("2026-11-20 01:00"),
            warnings=(),
        )
        assert session.dump_file.read_text() == SECRET_ROWS
        assert session.dump_file.parent.stat().st_mode & 0o077 == 0

    def test_without_a_manifest_the_bucket_and_the_key_tell(self, world: World) -> None:
        session = pulling(world)
        put(world, "2026-11-23 22:30", SECRET_ROWS, session.sync)
        result = download(session)
        assert (result.source_environment, result.born_in) == ("staging", "staging")
        assert result.data_time == moment("2026-11-23 22:30")

    def test_the_timestamp_that_was_asked_for(self, world: World) -> None:
        session = pulling(
            world, request=Request(nightly=False, only=("pull_signon",), timestamp="2026-11-22T223000Z")
        )
        put(world, "2026-11-22 22:30", "older", session.sync)
        put(world, "2026-11-23 22:30", "newer", session.sync)
        assert download(session).timestamp == "2026-11-22T223000Z"
        assert session.dump_file.read_text() == "older"

    def test_a_dump_that_is_much_smaller_is_refused_by_the_syncs_own_ratio(self, world: World) -> None:
        session = pulling(world)
        put(world, "2026-11-22 22:30", "x" * 100, session.sync)
        put(world, "2026-11-23 22:30", "x" * 49, session.sync)
        with pytest.raises(DumpTooSmall):
            download(session)
        assert not session.dump_file.exists()

    def test_a_damaged_dump_does_not_stay(self, world: World) -> None:
        session = pulling(world)
        put(world, "2026-11-23 22:30", DAMAGED.decode(), session.sync)
        with pytest.raises(DumpDamaged, match=r"govuk-staging-database-backups/signon-postgres/.*ends in"):
            download(session)
        assert not session.folder.exists()

    def test_nothing_to_restore(self, world: World) -> None:
        with pytest.raises(NothingToRestore):
            download(pulling(world))

    def test_it_needs_the_lease(self, world: World) -> None:
        session = pulling(world)
        world.lease = None
        with pytest.raises(LeaseLost):
            download(session)

    def test_a_dump_that_another_environment_pushed_into_this_bucket_is_refused(self, world: World) -> None:
        session = pulling(world)
        put(world, "2026-11-23 22:30", SECRET_ROWS, session.sync, environment="production")
        with pytest.raises(DumpOfAnotherEnvironment, match=r"of staging, but .* production pushed it"):
            download(session)
        assert not list(session.folder.glob("*"))
        assert world.live == Database(content="yesterday;")


class TestRestore:
    def test_the_dump_in_the_work_folder_is_used(self, world: World) -> None:
        session = pulling(world)
        restore(session, downloaded(world, session))
        assert world.journal == ["restore"]
        assert world.incoming is not None
        assert (world.incoming.content, world.incoming.open) == (SECRET_ROWS, False)
        assert world.live == Database(content="yesterday;")

    def test_a_lost_work_folder_is_filled_again_with_the_same_dump(self, world: World) -> None:
        session = pulling(world)
        result = downloaded(world, session)
        put(world, "2026-11-23 23:00", "a newer dump, which nobody has looked at", session.sync)
        for file in session.folder.iterdir():
            file.unlink()
        session.folder.rmdir()
        restore(session, result)
        assert world.journal == ["choose", "download_dump", "verify", "restore"]
        assert world.incoming is not None
        assert world.incoming.content == SECRET_ROWS

    @pytest.mark.parametrize("accident", ["no note", "half a note", "no dump", "half a dump", "another"])
    def test_a_work_folder_that_is_not_whole_is_not_believed(self, world: World, accident: str) -> None:
        session = pulling(world)
        result = downloaded(world, session)
        note = session.dump_file.with_suffix(".json")
        if accident == "no note":
            note.unlink()
        elif accident == "half a note":
            note.write_text(note.read_text()[:20])
        elif accident == "no dump":
            session.dump_file.unlink()
        elif accident == "half a dump":
            session.dump_file.write_text(SECRET_ROWS[:5])
        else:
            note.write_text(note.read_text().replace(result.sha256, sha("another")))
        restore(session, result)
        assert world.journal == ["choose", "download_dump", "verify", "restore"]

    def test_an_object_that_was_replaced_is_refused(self, world: World) -> None:
        session = pulling(world)
        result = downloaded(world, session)
        world.objects[result.dump_key] = b"something else, of a good size"
        session.dump_file.unlink()
        with pytest.raises(DumpDamaged, match="somebody replaced it"):
            restore(session, result)
        assert world.incoming is None


class TestSanitise:
    def test_the_raw_copy_of_this_attempt_is_sanitised(self, world: World, sql: Path) -> None:
        session = pulling(world, sql)
        result = downloaded(world, session)
        restore(session, result)
        world.journal.clear()
        done = sanitise(session, result)
        assert world.journal == ["sanitise"]
        assert done.transformations == (Transformation(name="sanitise_signon.sql", sha256=sha(CLEAN)),)
        assert world.incoming is not None
        assert world.incoming.content == SECRET_ROWS + CLEAN

    def test_no_transformation_is_a_proof_as_well(self, world: World) -> None:
        session = pulling(world)
        result = downloaded(world, session)
        restore(session, result)
        assert sanitise(session, result).transformations == ()
        assert world.incoming is not None
        assert world.incoming.stamp is not None
        assert world.incoming.stamp.state is CopyState.SANITISED

    @pytest.mark.parametrize("state", [CopyState.RESTORING, CopyState.SANITISING, CopyState.TRANSFORMED])
    def test_a_copy_that_was_touched_is_restored_first(
        self, world: World, sql: Path, state: CopyState
    ) -> None:
        session = pulling(world, sql)
        result = downloaded(world, session)
        restore(session, result)
        assert world.incoming is not None
        assert world.incoming.stamp is not None
        world.incoming = Database("half " + CLEAN, evolve(world.incoming.stamp, state=state), open=False)
        world.journal.clear()
        sanitise(session, result)
        assert world.journal == ["choose", "download_dump", "verify", "restore", "sanitise"]
        assert not session.folder.exists()
        assert world.incoming.content == SECRET_ROWS + CLEAN

    def test_what_is_sanitised_already_is_left_alone(self, world: World, sql: Path) -> None:
        session = pulling(world, sql)
        result = downloaded(world, session)
        restore(session, result)
        first = sanitise(session, result)
        world.journal.clear()
        assert sanitise(session, result) == first
        assert world.journal == []

    def test_a_postprocess_runs_and_is_part_of_the_proof(self, world: World, sql: Path) -> None:
        session = pulling(world, sql)
        sync = evolve(session.sync, postprocess=(REPLACE,))
        session = evolve(session, group=evolve(session.group, sync=sync))
        result = downloaded(world, session)
        restore(session, result)
        done = sanitise(session, result)
        assert done.transformations == transformations_of(sync)
        assert [one.name for one in done.transformations] == [sql.name, "postprocess/replace_text"]
        assert world.incoming
        assert world.incoming.content.endswith(f"{CLEAN}{REPLACE};")
        # With another rule than that which ran it is no proof.
        other = evolve(sync, postprocess=(evolve(REPLACE, table="another"),))
        changed = evolve(session, group=evolve(session.group, sync=other))
        with pytest.raises(ProofMissing):
            promote(changed)
        promote(session)

    def test_unless_with_another_text(self, world: World, sql: Path) -> None:
        session = pulling(world, sql)
        result = downloaded(world, session)
        restore(session, result)
        sanitise(session, result)
        sql.write_text("cleaner;")
        world.journal.clear()
        sanitise(session, result)
        assert world.journal == ["choose", "download_dump", "verify", "restore", "sanitise"]
        assert not session.folder.exists()
        assert world.incoming is not None
        assert world.incoming.content == SECRET_ROWS + "cleaner;"

    @pytest.mark.parametrize("foreign", ["attempt", "dump", "missing"])
    def test_a_copy_that_is_not_of_this_attempt_and_dump_is_made_anew(
        self, world: World, sql: Path, foreign: str
    ) -> None:
        session = pulling(world, sql)
        result = downloaded(world, session)
        restore(session, result)
        sanitise(session, result)
        assert world.incoming is not None
        assert world.incoming.stamp is not None
        stamp = world.incoming.stamp
        if foreign == "attempt":
            stamp = evolve(stamp, holder=evolve(stamp.holder, attempt="an earlier one"))
        elif foreign == "dump":
            stamp = evolve(stamp, dump_sha256=sha("another dump"))
        world.incoming = None if foreign == "missing" else Database("foreign", stamp, open=False)
        world.journal.clear()
        sanitise(session, result)
        assert world.journal == ["choose", "download_dump", "verify", "restore", "sanitise"]
        assert not session.folder.exists()
        assert world.incoming is not None
        assert world.incoming.content == SECRET_ROWS + CLEAN

    def test_a_transformation_that_is_gone_stops_it(self, world: World, sql: Path) -> None:
        session = pulling(world, sql)
        result = downloaded(world, session)
        restore(session, result)
        sanitise(session, result)
        sql.unlink()
        with pytest.raises(TransformationFailed, match="cannot be read"):
            sanitise(session, result)
        with pytest.raises(TransformationFailed, match="cannot be read"):
            promote(session)
        assert world.live == Database(content="yesterday;")


class TestPromote:
    def ready(self, world: World, sql: Path, **more: Any) -> Session:
        session = pulling(world, sql, **more)
        result = downloaded(world, session)
        restore(session, result)
        sanitise(session, result)
        return session

    def test_live_becomes_previous(self, world: World, sql: Path) -> None:
        result = promote(self.ready(world, sql))
        assert world.live is not None
        assert world.live.content == SECRET_ROWS + CLEAN
        assert world.previous == Database(content="yesterday;")
        assert (result.unavailable, result.first, result.previous_kept) == (0.25, False, True)

    def test_a_raw_copy_is_never_promoted(self, world: World, sql: Path) -> None:
        session = pulling(world, sql)
        restore(session, downloaded(world, session))
        with pytest.raises(ProofMissing):
            promote(session)
        assert world.live == Database(content="yesterday;")

    def test_nor_one_that_was_sanitised_with_another_text(self, world: World, sql: Path) -> None:
        session = self.ready(world, sql)
        sql.write_text("another;")
        with pytest.raises(ProofMissing):
            promote(session)

    def test_a_pause_that_came_meanwhile_stops_it_with_live_untouched(self, world: World, sql: Path) -> None:
        pause = Pause(by="ada", why="load test", until=None)
        session = self.ready(world, sql, pause=lambda: pause)
        with pytest.raises(PauseActive, match="paused by ada until it is resumed: load test"):
            promote(session)
        assert world.live == Database(content="yesterday;")

    @pytest.mark.parametrize("why_not", ["over", "ignored"])
    def test_unless_it_is_over_or_ignored(self, world: World, sql: Path, why_not: str) -> None:
        until = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1) if why_not == "over" else None
        request = Request(nightly=False, only=("pull_signon",), ignore_pauses=why_not == "ignored")
        session = self.ready(world, sql, request=request, pause=lambda: Pause(by="ada", why="x", until=until))
        promote(session)
        assert world.previous is not None


class TestPush:
    def test_a_database_that_was_born_here(self, world: World) -> None:
        session = pushing(world)
        result = dump(session)
        assert result.dump_key == "signon-postgres/2026-11-24T030000Z-signon.gz"
        assert (result.size, result.sha256) == (len("yesterday;"), sha("yesterday;"))
        assert (result.born_in, result.data_time) == ("integration", NOW)

    def test_a_pulled_database_is_as_old_as_its_dump_and_tells_its_story(
        self, world: World, sql: Path
    ) -> None:
        pull = pulling(world, sql)
        key = put(
            world,
            "2026-11-23 22:30",
            SECRET_ROWS,
            pull.sync,
            data_time=moment("2026-11-17 01:00"),
            parents=(
                Parent(
                    environment="production", key="k", sha256="s", transformations=(), pulled_into="staging"
                ),
            ),
        )
        result = download(pull)
        restore(pull, result)
        sanitise(pull, result)
        promote(pull)
        push = pushing(world)
        dumped = dump(push)
        assert (dumped.born_in, dumped.data_time) == ("production", moment("2026-11-17 01:00"))
        upload(push, dumped)
        manifest = world.manifests[dumped.dump_key]
        assert manifest.data_time == moment("2026-11-17 01:00")
        assert [parent.key for parent in manifest.parents] == [key, "k"]
        assert manifest.parents[0] == Parent(
            environment="staging",
            key=key,
            sha256=sha(SECRET_ROWS),
            transformations=(Transformation(name="sanitise_signon.sql", sha256=sha(CLEAN)),),
            pulled_into="integration",
        )

    def test_what_a_recovery_brought_back_is_as_old_as_now(self, world: World) -> None:
        pull = pulling(world)
        put(world, "2026-11-01 22:30", "recovered;", pull.sync, born_in="integration")
        result = download(pull)
        restore(pull, result)
        sanitise(pull, result)
        promote(pull)
        dumped = dump(pushing(world))
        assert (dumped.born_in, dumped.data_time) == ("integration", NOW)

    def test_the_dump_is_uploaded_with_its_manifest(self, world: World) -> None:
        session = pushing(world)
        dumped = dump(session)
        world.journal.clear()
        result = upload(session, dumped)
        assert world.journal == ["upload_dump"]
        assert world.objects == {dumped.dump_key: b"yesterday;"}
        assert world.pointer == dumped.dump_key
        assert (result.attempt, result.dump_key, result.size, result.pointer_moved) == (
            "first",
            dumped.dump_key,
            10,
            True,
        )

    @pytest.mark.parametrize("accident", ["folder", "note", "half a note", "half a dump", "another"])
    def test_a_lost_work_folder_means_another_dump(self, world: World, accident: str) -> None:
        session = pushing(world)
        dumped = dump(session)
        note = session.dump_file.with_suffix(".json")
        if accident == "folder":
            for file in session.folder.iterdir():
                file.unlink()
            session.folder.rmdir()
        elif accident == "note":
            note.unlink()
        elif accident == "half a note":
            note.write_text(note.read_text()[:-9])
        elif accident == "half a dump":
            session.dump_file.write_text("yest")
        else:
            dumped = evolve(dumped, sha256=sha("another"))
        world.journal.clear()
        upload(session, dumped)
        assert world.journal == ["dump", "upload_dump"]
        assert list(world.objects.values()) == [b"yesterday;"]

    @pytest.mark.parametrize("in_place", [False, True])
    def test_what_ran_before_the_dump_is_in_its_manifest(
        self, world: World, sql: Path, in_place: bool
    ) -> None:
        sync = a_push(pre_dump_transformation=sql, pre_dump_in_place=in_place)
        session = pushing(world, sync=sync)
        dumped = dump(session)
        assert dumped.transformations == (Transformation(name=sql.name, sha256=sha(CLEAN)),)
        assert dumped.warnings == ("left out subscriptions",)
        upload(session, dumped)
        [manifest] = world.manifests.values()
        assert manifest.transformations == dumped.transformations
        assert world.objects[manifest.key] == f"yesterday;{CLEAN}".encode()
        assert world.live
        assert world.live.content == ("yesterday;" + CLEAN if in_place else "yesterday;")
        assert world.journal == [f"transform {'live' if in_place else 'outgoing'}", "upload_dump"]

    def test_a_lost_work_folder_means_another_transformed_dump(self, world: World, sql: Path) -> None:
        session = pushing(world, sync=a_push(pre_dump_transformation=sql))
        dumped = dump(session)
        session.dump_file.unlink()
        upload(session, dumped)
        assert world.journal == ["transform outgoing", "transform outgoing", "upload_dump"]
        [content] = world.objects.values()
        assert content == f"yesterday;{CLEAN}".encode()

    def test_a_dump_from_before_the_transformation_was_asked_for_is_not_uploaded(
        self, world: World, sql: Path
    ) -> None:
        session = pushing(world)
        dumped = dump(session)
        asked = evolve(session.group, sync=evolve(session.sync, pre_dump_transformation=sql))
        upload(evolve(session, group=asked), dumped)
        assert world.journal == ["dump", "transform outgoing", "upload_dump"]
        assert list(world.objects.values()) == [f"yesterday;{CLEAN}".encode()]

    def test_a_transformation_that_was_changed_meanwhile_runs_again(self, world: World, sql: Path) -> None:
        session = pushing(world, sync=a_push(pre_dump_transformation=sql))
        dumped = dump(session)
        sql.write_text("cleaner;")
        upload(session, dumped)
        assert list(world.objects.values()) == [b"yesterday;cleaner;"]

    def test_a_transformation_that_fails_leaves_nothing_to_upload(self, world: World, sql: Path) -> None:
        session = pushing(world, sync=a_push(pre_dump_transformation=sql))

        def fail() -> None:
            raise TransformationFailed

        world.trouble["transform outgoing"] = fail
        with pytest.raises(TransformationFailed):
            dump(session)
        assert not session.folder.exists()
        assert world.objects == {}

    def test_a_dump_that_fails_leaves_no_note_of_the_one_before(self, world: World) -> None:
        session = pushing(world)
        dump(session)

        def full() -> None:
            raise OSError(28, "No space left on device")

        world.trouble["dump"] = full
        with pytest.raises(OSError, match="No space"):
            dump(session)
        assert not session.dump_file.with_suffix(".json").exists()


def test_the_transformations_of_a_sync_are_hashed_as_they_are_now(sql: Path) -> None:
    sync = a_sync(transformation=sql)
    assert transformations_of(sync) == (Transformation(name=sql.name, sha256=sha(CLEAN)),)
    sql.write_text("other;")
    assert transformations_of(sync)[0].sha256 == sha("other;")
