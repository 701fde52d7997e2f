"""A pull that would no longer sanitise, and a push of what nothing sanitised, are stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from env_sync.core.errors import DumpDamaged, NotSanitised
from env_sync.domain.manifest import Transformation
from env_sync.domain.postprocess.redact_last_part import RedactLastPart
from env_sync.domain.report import Report, Result
from env_sync.domain.settings import Sanitise, Settings
from env_sync.domain.sync import Sync
from env_sync.engines.base.contract import CopyState, Holder, Stamp
from env_sync.pipeline.download import download
from env_sync.pipeline.dump import dump
from env_sync.pipeline.restore import restore
from env_sync.pipeline.run import run_group
from env_sync.pipeline.sanitise import sanitise
from env_sync.pipeline.unsanitised import raw_in_push, raw_in_undo
from env_sync.pipeline.upload import upload
from env_sync.planning.request import Request
from tests.unit.memory_engine import NOW, Database, World, open_memory_session, put
from tests.unit.values import REPLACE, a_push, a_recovery, a_sync

REQUIRED = Settings(sanitise=Sanitise.REQUIRED)
SAID: dict[str, Any] = {"says_none": True, "reason": "public"}
NO_RULES: dict[str, Any] = {"says_no_rules": True, "reason": "the field is gone"}
SAY_NONE = "any more, `transformation_sql_filename: none` with `reason: <why>`."
SAY_NO_RULES = "any more, `postprocess: none` with `reason: <why>`."
SAY_BOTH = f"{SAY_NONE[:-1]} and `postprocess: none`."
REDACT = RedactLastPart(collection="assets", path_field="path", limited_by=("limited",))
BY_FILE = Transformation(name="sanitise_signon.sql", sha256="5a" * 32)
BY_RULE = Transformation(name="postprocess/redact_last_part", sha256="4e" * 32)
BY_REWRITE = Transformation(name="postprocess/rewrite_domain", sha256="3d" * 32)
BY_UNKNOWN = Transformation(name="postprocess/from_the_future", sha256="2c" * 32)


@pytest.fixture(autouse=True)
def _work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path / "work"))


@pytest.fixture
def sql(tmp_path: Path) -> Path:
    file = tmp_path / "another_name.sql"
    file.write_text("clean;")
    return file


def stamped(*transformations: Transformation, **said: Any) -> World:
    """A world whose live was filled by a pull with these transformations."""
    stamp = Stamp(
        state=CopyState.SANITISED,
        holder=Holder(run="yesterday", group="pull_signon", attempt="1"),
        sync="pull_signon",
        environment="integration",
        source_environment="staging",
        dump_key="signon-postgres/2026-11-22T223000Z-signon.gz",
        dump_sha256="22" * 32,
        data_time=NOW,
        born_in="production",
        parents=(),
        transformations=transformations,
        changed=NOW,
    )
    return World(live=Database(content="yesterday;", stamp=evolve(stamp, **said)))


def run(world: World, sync: Sync, settings: Settings | None = None) -> Report:
    if sync.writes and not world.objects:
        put(world, "2026-11-23 22:30", "ada@home.example;", sync, sanitised="NOT SANITISED")
    return run_group(open_memory_session(world, sync, settings=settings), lambda step: None)


def stopped(world: World, sync: Sync, settings: Settings | None = None) -> str:
    """Why a group was stopped before anything was fetched, restored, dumped or uploaded."""
    before, objects = world.live, dict(world.objects)
    report = run(world, sync, settings)
    assert report.result is Result.CRITICAL
    touched = {"choose", "download_dump", "restore", "sanitise", "promote", "dump", "upload_dump"}
    assert touched.isdisjoint(world.journal)
    assert world.live is before
    assert world.incoming is None
    if not sync.writes:
        assert world.objects == objects
    return report.line()


def uploaded(world: World, sync: Sync, settings: Settings | None = None) -> None:
    report = run(world, sync, settings)
    assert report.result is not Result.CRITICAL, report.line()
    assert world.pointer in world.objects


class TestPull:
    @pytest.mark.parametrize("settings", [Settings(), REQUIRED], ids=["optional", "required"])
    @pytest.mark.parametrize(
        ("was", "fields", "say"),
        [
            ((BY_FILE,), {}, SAY_NONE),
            ((BY_FILE,), {"postprocess": (REPLACE,)}, SAY_NONE),
            ((BY_FILE,), {"says_none": True}, SAY_NONE),
            ((BY_FILE, BY_RULE), {"postprocess": (REDACT,)}, SAY_NONE),
            ((BY_RULE,), {}, SAY_NO_RULES),
            ((BY_RULE,), {"says_no_rules": True}, SAY_NO_RULES),
            ((BY_FILE, BY_RULE), {}, SAY_BOTH),
            ((BY_FILE, BY_RULE), NO_RULES, SAY_NONE),
        ],
    )
    def test_one_that_sanitises_no_longer_is_stopped(
        self, was: tuple[Transformation, ...], fields: dict[str, Any], say: str, settings: Settings
    ) -> None:
        line = stopped(stamped(*was), a_sync(**fields), settings)
        assert "NOT SANITISED: live of signon was sanitised by " in line
        assert "live is untouched" in line
        assert "integration/db_admin.yaml:7" in line
        assert say in line

    @pytest.mark.parametrize("settings", [Settings(), REQUIRED], ids=["optional", "required"])
    @pytest.mark.parametrize("was", [(BY_RULE,), (BY_REWRITE,), (BY_UNKNOWN,), (BY_FILE, BY_REWRITE)])
    def test_what_was_said_of_the_file_is_not_said_of_a_rule_that_is_lost_later(
        self, was: tuple[Transformation, ...], settings: Settings
    ) -> None:
        line = stopped(stamped(*was, reason="public"), a_sync(**SAID), settings)
        assert f"ed by {was[-1].name} when pull_signon filled it" in line
        assert SAY_NO_RULES in line
        both = a_sync(**SAID, says_no_rules=True)
        assert run(stamped(*was, reason="public"), both, settings).result is not Result.CRITICAL

    def test_a_rule_that_is_still_bound_is_not_missed(self) -> None:
        for was, bound in (((BY_FILE, BY_RULE), REDACT), ((BY_REWRITE,), REPLACE)):
            world = stamped(*was, reason="public")
            assert run(world, a_sync(**SAID, postprocess=(bound,))).result is not Result.CRITICAL

    def test_a_rule_that_is_no_longer_bound_is_missed_beside_a_transformation(self, sql: Path) -> None:
        world = stamped(BY_FILE, BY_RULE)
        line = stopped(world, a_sync(transformation=sql))
        assert "sanitised by postprocess/redact_last_part when" in line
        assert SAY_NO_RULES in line
        said = a_sync(transformation=sql, **NO_RULES)
        assert run(world, said).result is not Result.CRITICAL

    @pytest.mark.parametrize(
        ("was", "said"),
        [
            ((), SAID),
            ((BY_FILE,), SAID),
            ((BY_RULE,), SAID | {"says_no_rules": True}),
            ((BY_FILE, BY_RULE), SAID | {"says_no_rules": True}),
        ],
    )
    def test_it_goes_on_where_it_is_said(self, was: tuple[Transformation, ...], said: dict[str, Any]) -> None:
        world = stamped(*was)
        report = run(world, a_sync(**said))
        assert report.result is not Result.CRITICAL, report.line()
        assert world.live is not None
        assert world.live.stamp is not None
        assert world.live.stamp.reason == "public"

    def test_another_transformation_takes_the_place_of_one(self, sql: Path) -> None:
        assert run(stamped(BY_FILE), a_sync(transformation=sql)).result is not Result.CRITICAL

    @pytest.mark.parametrize("was", [BY_REWRITE, BY_UNKNOWN])
    def test_one_that_transforms_nothing_any_more_is_stopped(self, was: Transformation, sql: Path) -> None:
        line = stopped(stamped(was), a_sync())
        assert f"live of signon was transformed by {was.name} when pull_signon filled it" in line
        assert SAY_NO_RULES in line
        for sync in (a_sync(transformation=sql), a_sync(postprocess=(REPLACE,)), a_sync(**NO_RULES)):
            assert run(stamped(was), sync).result is not Result.CRITICAL

    def test_what_was_never_transformed_is_not_missed(self) -> None:
        assert run(stamped(), a_sync()).result is not Result.CRITICAL

    @pytest.mark.parametrize("postprocess", [(), (REPLACE,)])
    def test_a_stamp_that_cannot_be_read_is_not_none(self, postprocess: tuple[Any, ...]) -> None:
        world = World(live=Database(content="yesterday;", unreadable=True))
        line = stopped(world, a_sync(postprocess=postprocess))
        assert "live carries a stamp that cannot be read" in line
        assert "`transformation_sql_filename: none` with `reason: <why>`" in line

    def test_a_pull_that_sanitises_or_says_why_not_fills_it_anew(self, sql: Path) -> None:
        for sync in (a_sync(transformation=sql), a_sync(postprocess=(REDACT,)), a_sync(**SAID)):
            world = World(live=Database(content="yesterday;", unreadable=True))
            assert run(world, sync).result is not Result.CRITICAL
            assert world.live is not None
            assert not world.live.unreadable

    def test_a_first_pull_misses_nothing(self) -> None:
        assert run(World(live=Database(content="by hand;")), a_sync()).result is not Result.CRITICAL

    def test_a_recovery_brings_back_what_was(self) -> None:
        session = open_memory_session(stamped(BY_FILE), a_recovery())
        session.engine.take_lease(at_most=1)
        put(session.store.world, "2026-11-23 22:30", "own;", session.sync)  # type: ignore[attr-defined]
        assert download(session).dump_key

    def test_a_transformation_that_goes_while_it_runs_is_missed_at_once(self, sql: Path) -> None:
        world = stamped(BY_FILE)
        with_it = open_memory_session(world, a_sync(transformation=sql))
        put(world, "2026-11-23 22:30", "ada@home.example;", with_it.sync)
        with_it.engine.take_lease(at_most=1)
        downloaded = download(with_it)
        without = open_memory_session(world, a_sync())
        with pytest.raises(NotSanitised):
            restore(without, downloaded)
        restore(with_it, downloaded)
        with pytest.raises(NotSanitised):
            sanitise(without, downloaded)


class TestAbove:
    """Of a pull whose reason says that its data was sanitised above."""

    said = a_sync(says_none=True, reason="Sanitised above, before the push of staging")

    def pulled(self, sync: Sync, **told: Any) -> Report:
        """The report of a pull of a dump whose manifest tells this; of one without a manifest for nothing."""
        world = World(live=Database(content="yesterday;"))
        put(world, "2026-11-23 22:30", "ada@home.example;", sync, **told)
        before = world.live
        report = run_group(open_memory_session(world, sync, settings=REQUIRED), lambda step: None)
        if report.result is Result.CRITICAL:
            assert world.live is before
            assert {"download_dump", "restore", "sanitise", "promote"}.isdisjoint(world.journal)
        return report

    def test_a_dump_whose_manifest_says_otherwise_is_not_restored(self) -> None:
        for told in ({}, {"reason": "public"}, {"transformations": (BY_REWRITE,)}):
            line = self.pulled(self.said, sanitised="NOT SANITISED", **told).line()
            assert "NOT SANITISED: pull_signon says that what it brings was sanitised above" in line
            assert "but the manifest of signon-postgres/2026-11-23T223000Z-signon.gz in" in line
            assert "See that push_signon of staging is sanitised again" in line
            assert "live is untouched" in line

    @pytest.mark.parametrize("badge", ["SANITISED", "SANITISED ABOVE"])
    def test_one_whose_manifest_says_so_as_well_is(self, badge: str) -> None:
        report = self.pulled(self.said, sanitised=badge, transformations=(BY_FILE,))
        assert report.result is not Result.CRITICAL, report.line()
        assert "sanitised above, but" not in report.line()

    def test_a_manifest_of_an_earlier_version_is_no_contradiction(self) -> None:
        for transformations in ((), (BY_FILE,)):
            report = self.pulled(self.said, sanitised="", transformations=transformations)
            assert report.result is not Result.CRITICAL, report.line()
            assert ("which tells of no transformation" in report.line()) == (not transformations)

    def test_nor_is_a_dump_without_a_manifest(self) -> None:
        report = self.pulled(self.said)
        assert report.result is Result.WARNING
        assert "but nothing else does: the dump has no manifest" in report.line()

    def test_another_reason_and_a_transformation_of_its_own_contradict_nothing(self, sql: Path) -> None:
        for sync in (a_sync(**SAID), a_sync(transformation=sql)):
            report = self.pulled(sync, sanitised="NOT SANITISED")
            assert report.result is not Result.CRITICAL, report.line()

    def test_a_dump_that_is_fetched_again_is_asked_again(self) -> None:
        world = World(live=Database(content="yesterday;"))
        session = open_memory_session(world, self.said)
        session.engine.take_lease(at_most=1)
        key = put(world, "2026-11-23 22:30", "rows;", self.said, sanitised="SANITISED")
        downloaded = download(session)
        session.dump_file.unlink()
        world.manifests[key] = evolve(world.manifests[key], sanitised="NOT SANITISED")
        with pytest.raises(NotSanitised):
            restore(session, downloaded)
        assert world.incoming is None


class TestPush:
    filled = a_push(filled_by="pull_signon")

    @pytest.mark.parametrize("was", [(), (BY_REWRITE,), (BY_UNKNOWN,)])
    def test_what_came_down_raw_is_not_uploaded(self, was: tuple[Transformation, ...]) -> None:
        for push in (a_push(), self.filled):
            line = stopped(stamped(*was), push, REQUIRED)
            assert "NOT SANITISED: pull_signon filled signon from signon-postgres/" in line
            assert "Nothing was uploaded" in line

    def test_a_live_that_no_pull_filled_although_one_should_is_not_uploaded(self) -> None:
        world = World(live=Database(content="by hand;"))
        assert "pull_signon fills signon, but live does not say" in stopped(world, self.filled, REQUIRED)

    @pytest.mark.parametrize(
        "world",
        [
            stamped(BY_FILE),
            stamped(BY_RULE),
            stamped(reason="public"),
            stamped(born_in="integration", source_environment="integration"),
        ],
        ids=["a file", "a rule", "none was said", "its own"],
    )
    def test_what_is_sanitised_or_need_not_be_is_uploaded(self, world: World) -> None:
        uploaded(world, self.filled, REQUIRED)

    def test_what_no_pull_brought_is_not_uploaded_beside_what_one_did(self) -> None:
        world = stamped(BY_FILE)
        assert world.live is not None
        world.live.unstamped = ("people-2025", *(f"more-{number}" for number in range(21)))
        line = stopped(world, self.filled, REQUIRED)
        assert "no pull of Env Sync brought people-2025, more-0, " in line
        assert "more-18 and 2 more: nobody knows" in line
        assert "write it into `excluded_indices` of push_signon" in line
        # Where no pull fills it, it was born here; and elsewhere nobody asks.
        uploaded(world, a_push(), REQUIRED)
        uploaded(world, self.filled)

    def test_what_is_born_here_is_uploaded(self) -> None:
        uploaded(World(live=Database(content="own;")), a_push(), REQUIRED)

    def test_nobody_said_that_what_a_push_transforms_is_enough(self, sql: Path) -> None:
        push = evolve(self.filled, pre_dump_transformation=sql)
        stopped(stamped(), push, REQUIRED)
        uploaded(stamped(BY_FILE), push, REQUIRED)

    @pytest.mark.parametrize("state", [each for each in CopyState if each is not CopyState.SANITISED])
    def test_a_copy_that_somebody_renamed_before_it_was_sanitised_is_not_uploaded(
        self, state: CopyState
    ) -> None:
        stopped(stamped(BY_FILE, state=state, reason="public"), a_push(), REQUIRED)

    @pytest.mark.parametrize("settings", [Settings(), REQUIRED], ids=["optional", "required"])
    def test_what_says_something_that_cannot_be_read_is_not_uploaded(self, settings: Settings) -> None:
        for push in (a_push(), self.filled):
            world = World(live=Database(content="yesterday;", unreadable=True))
            assert "live carries a stamp that cannot be read" in stopped(world, push, settings)

    def test_elsewhere_nobody_asks(self) -> None:
        uploaded(stamped(), self.filled)

    def test_who_says_it_born_here_must_have_pushed_it_as_well(self) -> None:
        stopped(stamped(born_in="integration"), self.filled, REQUIRED)

    def test_of_a_cluster_it_is_only_what_a_connection_says(self) -> None:
        own = {"born_in": "integration", "source_environment": "integration"}
        cluster = evolve(self.filled, dbms="elasticsearch", storagebackend="elasticsearch")
        protected = evolve(REQUIRED, protected=True)
        for was, settings, right in (
            (stamped(**own), REQUIRED, False),
            (stamped(**own, reason="public"), REQUIRED, True),
            (stamped(BY_FILE, **own), REQUIRED, True),
            (stamped(**own), protected, True),
            (stamped(**own), Settings(), True),
        ):
            assert was.live is not None
            assert was.live.stamp is not None
            stamps = [was.live.stamp]
            assert (raw_in_push(cluster, settings, stamps) is None) is right
            assert (raw_in_undo(cluster, settings, stamps[0]) is None) is right
            assert raw_in_push(self.filled, settings, stamps) is None

    def test_a_dump_of_before_it_was_required_is_not_uploaded(self) -> None:
        world = stamped()
        session = open_memory_session(world, self.filled)
        session.engine.take_lease(at_most=1)
        dumped = dump(session)
        with pytest.raises(NotSanitised):
            upload(open_memory_session(world, self.filled, settings=REQUIRED), dumped)
        assert world.objects == {}


@pytest.mark.parametrize("settings", [Settings(), REQUIRED], ids=["optional", "required"])
class TestPath:
    """Of a push, whose dumps before under the same path were sanitised."""

    def sanitised_before(self, world: World, sql: Path, settings: Settings) -> World:
        """The same world after a push that transforms a copy, of one that a pull or nobody filled."""
        run(world, a_push(pre_dump_transformation=sql), settings)
        [manifest] = world.manifests.values()
        assert manifest.sanitised == "SANITISED"
        world.journal.clear()
        return world

    @pytest.mark.parametrize("live", [None, BY_FILE], ids=["own", "pulled"])
    def test_a_push_that_lost_its_transformation_uploads_nothing(
        self, live: Transformation | None, settings: Settings, sql: Path
    ) -> None:
        world = stamped(live) if live else World(live=Database(content="own;"))
        self.sanitised_before(world, sql, settings)
        [key] = world.objects
        line = stopped(world, a_push(), settings)
        assert f"NOT SANITISED: the dump before, {key} in govuk-integration-database-backups, was" in line
        assert "was sanitised by another_name.sql before it was taken" in line
        assert "integration/db_admin.yaml:7" in line
        assert "`pre_dump_transformation_sql_filename: none` with `reason: <why>`" in line
        assert "Nothing was uploaded" in line

    def test_nor_does_one_whose_manifest_an_earlier_version_wrote(
        self, settings: Settings, sql: Path
    ) -> None:
        world = self.sanitised_before(World(live=Database(content="own;")), sql, settings)
        [(key, manifest)] = world.manifests.items()
        world.manifests[key] = evolve(manifest, sanitised="")
        stopped(world, a_push(), settings)

    def test_one_that_says_why_is_uploaded_and_so_are_those_after_it(
        self, settings: Settings, sql: Path
    ) -> None:
        world = self.sanitised_before(World(live=Database(content="own;")), sql, settings)
        report = run(world, a_push(**SAID), settings)
        assert (report.badge, report.reason) == ("NOT SANITISED", "public")
        assert world.manifests[str(world.pointer)].reason == "public"
        uploaded(world, a_push(), settings)

    def test_another_transformation_takes_the_place_of_one(
        self, settings: Settings, sql: Path, tmp_path: Path
    ) -> None:
        world = self.sanitised_before(World(live=Database(content="own;")), sql, settings)
        other = tmp_path / "third_name.sql"
        other.write_text("clean too;")
        uploaded(world, a_push(pre_dump_transformation=other), settings)

    def test_another_path_tells_nothing(self, settings: Settings, sql: Path) -> None:
        world = self.sanitised_before(World(live=Database(content="own;")), sql, settings)
        uploaded(world, a_push(path="signon-raw"), settings)

    def test_a_first_push_and_those_of_raw_data_go_on(self, settings: Settings) -> None:
        world = World(live=Database(content="own;"))
        for _ in range(2):
            uploaded(world, a_push(), settings)
        [(key, manifest)] = world.manifests.items()
        world.manifests[key] = evolve(manifest, sanitised="")
        uploaded(world, a_push(), settings)

    def test_a_live_that_no_longer_says_that_it_was_sanitised_is_not_uploaded(
        self, settings: Settings
    ) -> None:
        world = stamped(BY_FILE)
        for _ in range(2):
            uploaded(world, a_push(), settings)
        world.journal.clear()
        assert world.live is not None
        for live in (Database(content="by hand;"), evolve(world.live, stamp=None)):
            world.live = live
            assert "was SANITISED, and nothing would sanitise that" in stopped(world, a_push(), settings)
            world.journal.clear()
        [(key, manifest)] = world.manifests.items()
        world.manifests[key] = evolve(manifest, sanitised="")
        uploaded(world, a_push(), settings)

    def test_a_pull_that_said_why_has_said_it_for_the_push(self, settings: Settings) -> None:
        world = stamped(BY_FILE)
        uploaded(world, a_push(), settings)
        world.live = stamped(reason="public").live
        uploaded(world, a_push(), settings)

    def test_a_manifest_that_cannot_be_read_tells_nothing_either_way(
        self, settings: Settings, sql: Path
    ) -> None:
        def damaged() -> None:
            raise DumpDamaged("The manifest m is not JSON")

        world = World(live=Database(content="own;"), trouble={"newest_manifest": damaged})
        line = stopped(world, a_push(), settings)
        assert "The manifest m is not JSON: so nobody knows whether the dumps under signon-postgres" in line
        for push in (a_push(pre_dump_transformation=sql), a_push(**SAID)):
            uploaded(world, push, settings)

    def test_a_transformation_that_goes_between_dump_and_upload_is_missed(
        self, settings: Settings, sql: Path
    ) -> None:
        world = self.sanitised_before(World(live=Database(content="own;")), sql, settings)
        objects = dict(world.objects)
        session = open_memory_session(world, a_push(pre_dump_transformation=sql), settings=settings)
        session.engine.take_lease(at_most=1)
        dumped = dump(session)
        with pytest.raises(NotSanitised):
            upload(open_memory_session(world, a_push(), settings=settings), dumped)
        assert world.objects == objects


class TestUndo:
    """Of a pull that sanitises, where what was live before it is previous."""

    @pytest.fixture
    def pull(self, sql: Path) -> Sync:
        return a_sync(transformation=sql)

    def undo(self, world: World, pull: Sync, settings: Settings = REQUIRED, confirm: str = "") -> Report:
        request = Request(nightly=False, restore_previous="signon", ignore_pauses=True, confirm=confirm)
        session = open_memory_session(world, pull, run="undo", settings=settings, request=request)
        return run_group(session, lambda step: None)

    def is_live_again(self, world: World, pull: Sync, **how: Any) -> None:
        before = world.live
        run(world, pull)
        report = self.undo(world, pull, **how)
        assert report.what == "previous is live again", report.line()
        assert world.live is before

    @pytest.mark.parametrize("was", [(), (BY_REWRITE,), (BY_UNKNOWN,)])
    def test_what_was_not_sanitised_is_not_made_live_again(
        self, was: tuple[Transformation, ...], pull: Sync
    ) -> None:
        world = stamped(*was)
        run(world, pull)
        live, previous = world.live, world.previous
        for confirm in ("", "signon", "NOT SANITISED", "other NOT SANITISED", "signon not sanitised"):
            report = self.undo(world, pull, confirm=confirm)
            assert (report.result, report.what) == (
                Result.CRITICAL,
                "promote failed, live was not replaced",
            )
            assert "NotSanitised: NOT SANITISED: pull_signon filled signon from signon-post" in report.line()
            assert "Live is untouched" in report.line()
            assert "an older dump by its `timestamp`" in report.line()
            assert "type 'signon NOT SANITISED' in `confirm`" in report.line()
            assert (world.live, world.previous) == (live, previous)

    def test_nobody_knows_what_was_live_before_the_first_pull(self, pull: Sync) -> None:
        world = World(live=Database(content="by hand;"))
        run(world, pull)
        live = world.live
        assert "before the first pull, and may well not be sanitised" in self.undo(world, pull).line()
        assert world.live is live

    @pytest.mark.parametrize("world", [stamped(), World(live=Database(content="by hand;"))])
    def test_it_is_made_live_again_where_that_is_confirmed(self, world: World, pull: Sync) -> None:
        self.is_live_again(world, pull, confirm="signon NOT SANITISED")

    def test_what_is_confirmed_so_does_not_go_out(self, pull: Sync) -> None:
        world = stamped()
        self.is_live_again(world, pull, confirm="signon NOT SANITISED")
        world.journal.clear()
        stopped(world, a_push(), REQUIRED)

    def test_it_is_made_live_again_where_nobody_asks(self, pull: Sync) -> None:
        self.is_live_again(stamped(), pull, settings=Settings())

    @pytest.mark.parametrize(
        "world",
        [
            stamped(BY_FILE),
            stamped(BY_RULE),
            stamped(reason="public"),
            stamped(born_in="integration", source_environment="integration"),
        ],
        ids=["a file", "a rule", "none was said", "its own"],
    )
    def test_what_is_sanitised_or_need_not_be_is_made_live_again(self, world: World, sql: Path) -> None:
        self.is_live_again(world, a_sync(transformation=sql, postprocess=(REDACT,)))

    def test_a_pull_that_says_none_today_asks_nobody(self) -> None:
        self.is_live_again(stamped(), a_sync(**SAID))

    def test_a_rerun_of_one_that_is_done_is_not_refused(self, pull: Sync) -> None:
        world = stamped(BY_FILE)
        self.is_live_again(world, pull)
        live, previous = world.live, world.previous
        assert previous is not None
        previous.stamp = None
        assert self.undo(world, pull).what == "previous is live again"
        assert world.live is live
