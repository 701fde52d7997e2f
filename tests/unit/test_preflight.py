"""What is tried once, what is not tried at all, and that nothing hides the rest; with servers in memory."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from attrs import define, evolve, field

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import (
    AccessRefused,
    ConnectionMissing,
    DumpDamaged,
    NoSuchBucket,
    ServerUnreachable,
    WrongEnvironment,
)
from env_sync.core.progress import LogProgress
from env_sync.core.secret import Secret
from env_sync.domain.finding import Checked, Level
from env_sync.domain.settings import Sanitise, Settings
from env_sync.domain.sync import Sync
from env_sync.engines.base.contract import Engine, Holder, ServerConnection, Work
from env_sync.pipeline import preflight as preflight_module
from env_sync.pipeline.preflight import Access, preflight
from env_sync.planning.plan import Plan
from env_sync.store.dumps import S3Store
from tests.unit.memory_engine import DAMAGED, Database, MemoryEngine, MemoryStore, World, put
from tests.unit.test_unsanitised import BY_FILE, BY_RULE, stamped
from tests.unit.values import a_bucket_sync, a_plan, a_push, a_recovery, a_sync, moment

NOW = moment("2026-11-24 12:00")
LOG = logging.getLogger("env_sync.test")


@define
class Servers:
    """A world for each sync, servers by their name as the host, and what is wrong with their connections."""

    worlds: dict[str, World] = field(factory=dict)
    bucket: World = field(factory=World)
    refused: dict[str, Exception] = field(factory=dict)
    port: int | None = 5432
    opened: list[str] = field(factory=list)

    def world(self, sync: Sync) -> World:
        return self.worlds.setdefault(sync.name, World(live=Database("x" * 100)))

    def access(self) -> Access:
        return Access(server=self.server, engine=self.engine, store=self.store)

    def server(self, sync: Sync) -> ServerConnection:
        if sync.name in self.refused:
            raise self.refused[sync.name]
        return ServerConnection(
            connection_id=f"env_sync_{sync.environment}_{sync.server}",
            environment=sync.environment,
            host=sync.server,
            port=self.port,
            login="",
            password=Secret(""),
            extra={},
        )

    def engine(self, sync: Sync, connection: ServerConnection) -> Engine:
        work = Work(
            sync=sync,
            holder=Holder(run="preflight", group=sync.name, attempt=""),
            connection=connection,
            folder=Path(),
            cancellation=Cancellation(),
            progress=LogProgress(LOG),
            log=LOG,
        )
        return MemoryEngine(work, self.world(sync))

    def store(self, environment: str) -> S3Store:
        self.opened.append(environment)
        return cast("S3Store", MemoryStore(self.bucket))

    def journal(self, what: str) -> list[str]:
        return [name for name, world in self.worlds.items() for did in world.journal if did == what]


def raises(error: BaseException) -> Callable[[], None]:
    def trouble() -> None:
        raise error

    return trouble


@pytest.fixture(autouse=True)
def _work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path / "work"))


@pytest.fixture
def servers() -> Servers:
    return Servers()


def look(servers: Servers, *plans: Plan, only: tuple[str, ...] = ()) -> dict[str, Checked]:
    return {one.subject: one for one in preflight(plans, servers.access(), only=only, now=NOW)}


def problems(checked: Checked) -> list[str]:
    return [finding.what for finding in checked.findings if finding.level is Level.PROBLEM]


def notes(checked: Checked) -> list[str]:
    return [finding.what for finding in checked.findings if finding.level is Level.NOTE]


def test_what_syncs_share_is_tried_once(servers: Servers) -> None:
    syncs = [a_sync(f"pull_{n}", database="signon", path="signon") for n in range(5)]
    put(servers.bucket, "2026-11-24 01:00", "content", syncs[0])
    found = look(servers, a_plan(*syncs))
    assert list(found) == [
        "bucket govuk-staging-database-backups, for each pull",
        "server signon-postgres:5432 (connection env_sync_integration_signon-postgres), for each pull",
        *(f"sync pull_{n}" for n in range(5)),
    ]
    assert all(one.findings == () for one in found.values())
    assert servers.journal("preflight_server") == ["pull_0"]
    assert len(servers.journal("preflight")) == 5
    assert servers.bucket.journal.count("look_at_bucket") == 1
    assert servers.opened == ["integration"]
    assert found["sync pull_3"].said == "dump of 2026-11-24T010000Z, 0.0 MB, data 11 hours old"


def test_environments_come_in_their_order_and_a_push_says_that_writing_is_not_tried(servers: Servers) -> None:
    staging = a_plan(a_push("push_a", environment="staging", url="b"), environment="staging")
    integration = a_plan(a_push("push_b"), environment="integration")
    found = preflight([staging, integration], servers.access(), now=NOW)
    assert [one.environment for one in found] == ["staging"] * 3 + ["integration"] * 3
    assert [one.count(Level.NOTE) for one in found] == [1, 0, 0, 1, 0, 0]
    assert "not tried" in found[0].findings[0].what
    assert found[2].said == "live takes 0.0 MB"


def test_only_the_syncs_that_are_named(servers: Servers) -> None:
    plan = a_plan(a_push("push_a", database="a"), a_push("push_b", database="b", database_hostname="other"))
    assert [subject for subject in look(servers, plan, only=("push_b",)) if "sync" in subject.split()] == [
        "sync push_b"
    ]
    assert servers.journal("preflight_server") == ["push_b"]


def test_a_sync_with_several_times_is_tried_once(servers: Servers) -> None:
    look(servers, a_plan(a_push("push_a", "01:00", "02:00")))
    assert servers.journal("preflight") == ["push_a"]


def test_a_server_that_does_not_answer_is_tried_once_for_all(servers: Servers) -> None:
    syncs = [a_push(f"push_{n}", database=f"d{n}") for n in range(20)]
    other = a_push("push_other", database_hostname="other")
    pull = a_sync("then_pull", database="d0")
    servers.worlds["push_0"] = World(trouble={"preflight_server": raises(ServerUnreachable("Gone away."))})
    put(servers.bucket, "2026-11-24 01:00", "content", pull)
    found = look(servers, a_plan(*syncs, other, pull))
    # Neither the other syncs nor those that pull through the same address wait for it again.
    assert servers.journal("preflight_server") == ["push_0", "push_other"]
    assert servers.journal("preflight") == ["push_other"]
    shared = [one for subject, one in found.items() if subject.startswith("server signon")]
    assert [problems(one) for one in shared] == [["ServerUnreachable: Gone away."]] * 2
    where = "server signon-postgres:5432 (connection env_sync_integration_signon-postgres)"
    for n in range(20):
        assert problems(found[f"sync push_{n}"]) == [f"Not tried any further: see {where}."]
    assert found["sync push_other"].findings == ()


def test_a_login_that_is_refused_is_not_tried_again_either(servers: Servers) -> None:
    servers.worlds["push_a"] = World(trouble={"preflight_server": raises(AccessRefused("Wrong password."))})
    found = look(servers, a_plan(a_push("push_a"), a_push("push_b", database="b")))
    assert servers.journal("preflight") == []
    assert len(problems(found["sync push_b"])) == 1


def test_a_connection_that_is_missing_or_another_environments(servers: Servers) -> None:
    servers.refused = {"push_a": ConnectionMissing("Add it."), "push_b": WrongEnvironment("Not yours.")}
    plan = a_plan(*(a_push(f"push_{name}", database=name) for name in "abc"))
    found = look(servers, plan)
    assert problems(found["sync push_a"]) == ["ConnectionMissing: Add it."]
    assert problems(found["sync push_b"]) == ["WrongEnvironment: Not yours."]
    assert found["sync push_c"].findings == ()


def test_a_store_without_a_connection_hides_nothing_of_the_servers(servers: Servers) -> None:
    def no_connection(environment: str) -> S3Store:
        raise ConnectionMissing("Add it.")

    access = evolve(servers.access(), store=no_connection)
    found = {one.subject: one for one in preflight([a_plan(a_push("push_a"))], access, now=NOW)}
    assert problems(found["bucket govuk-integration-database-backups, for each push"]) == [
        "ConnectionMissing: Add it."
    ]
    assert problems(found["sync push_a"]) == [
        "Not tried any further: see bucket govuk-integration-database-backups."
    ]
    assert servers.journal("preflight") == ["push_a"]


def test_a_bucket_that_is_not_there_is_asked_once(servers: Servers) -> None:
    servers.bucket.trouble["look_at_bucket"] = raises(NoSuchBucket("There is none."))
    found = look(servers, a_plan(*(a_sync(f"pull_{n}", database=f"d{n}") for n in range(3))))
    assert servers.bucket.journal == ["look_at_bucket"]
    assert all(len(problems(found[f"sync pull_{n}"])) == 1 for n in range(3))
    assert len(servers.journal("preflight")) == 3


def test_whatever_is_raised_hides_nothing_of_the_others_and_tells_no_value(servers: Servers) -> None:
    row = "alice@secret.example"
    servers.worlds["push_a"] = World(live=Database(""), trouble={"preflight": raises(ValueError(row))})
    found = look(servers, a_plan(a_push("push_a"), a_push("push_b", database="b")))
    assert "ValueError" in problems(found["sync push_a"])[0]
    assert row not in str(found)
    assert found["sync push_b"].findings == ()


def test_an_interrupt_ends_it_without_trying_the_rest(servers: Servers) -> None:
    syncs = [a_push(f"push_{n:03}", database=f"d{n}") for n in range(200)]
    servers.worlds["push_000"] = World(live=Database(""), trouble={"preflight": raises(KeyboardInterrupt())})
    # Those that are begun meanwhile take a moment each, as with real servers.
    began = threading.Event()

    def takes_a_moment() -> None:
        began.wait(0.05)

    for sync in syncs[1:]:
        servers.worlds[sync.name] = World(trouble={"preflight": takes_a_moment})
    with pytest.raises(KeyboardInterrupt):
        look(servers, a_plan(*syncs))
    assert len(servers.journal("preflight")) < 200


# The dump


def test_nothing_to_restore(servers: Servers) -> None:
    found = look(servers, a_plan(a_sync()))
    assert problems(found["sync pull_signon"])[0].startswith("NothingToRestore: ")
    assert "read_head" not in servers.bucket.journal


def test_old_data_is_a_note_whatever_the_key_says(servers: Servers) -> None:
    sync = a_sync()
    put(servers.bucket, "2026-11-24 01:00", "content", sync, data_time=moment("2026-11-20 00:00"))
    found = look(servers, a_plan(sync))["sync pull_signon"]
    assert problems(found) == []
    assert "is 108 hours old, more than max_dump_age" in notes(found)[0]


def test_a_dump_of_another_environment_than_its_buckets(servers: Servers) -> None:
    sync = a_sync()
    put(servers.bucket, "2026-11-24 01:00", "content", sync, environment="production")
    found = look(servers, a_plan(sync))["sync pull_signon"]
    assert "is the bucket of staging, but the manifest of" in problems(found)[0]
    named = a_sync("pull_other", url="a-bucket-of-its-own")
    assert problems(look(servers, a_plan(named))["sync pull_other"]) == []


def test_the_first_bytes_go_to_the_engine(servers: Servers) -> None:
    sync = a_sync()
    put(servers.bucket, "2026-11-24 01:00", DAMAGED.decode(), sync)
    found = look(servers, a_plan(sync))["sync pull_signon"]
    assert problems(found) == ["signon-postgres/2026-11-24T010000Z-signon.gz is damaged"]


def test_a_dump_that_may_be_listed_but_not_read(servers: Servers) -> None:
    sync = a_sync()
    put(servers.bucket, "2026-11-24 01:00", "content", sync)
    servers.bucket.trouble["read_head"] = raises(AccessRefused("Not yours."))
    assert problems(look(servers, a_plan(sync))["sync pull_signon"]) == ["AccessRefused: Not yours."]


def test_a_dump_that_is_much_smaller_is_a_problem_and_notes_of_the_choice_are_notes(servers: Servers) -> None:
    sync = a_sync()
    put(servers.bucket, "2026-11-23 12:30", "x" * 100, sync)
    put(servers.bucket, "2026-11-24 01:00", "x", sync)
    assert "DumpTooSmall" in problems(look(servers, a_plan(sync))["sync pull_signon"])[0]
    servers.bucket.pointer = "signon-postgres/2026-11-23T123000Z-signon.gz"
    found = look(servers, a_plan(sync))["sync pull_signon"]
    assert problems(found) == []
    assert "neither manifest nor pointer" in notes(found)[0]


# The disk


def test_a_disk_without_room_for_the_dump(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = a_sync()
    put(servers.bucket, "2026-11-24 01:00", "x" * 1000, sync)
    room = preflight_module.QUICK.room_left
    for free, count in ((room + 999, 1), (room + 1000, 0)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: _Usage(free))
        found = problems(look(servers, a_plan(sync))["sync pull_signon"])
        assert len(found) == count
        assert all("does not fit" in what for what in found)


def test_a_disk_that_is_smaller_than_live_is_a_note(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free, count in ((99, 1), (100, 0)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: _Usage(free))
        found = look(servers, a_plan(a_push()))["sync push_signon"]
        assert problems(found) == []
        assert len(notes(found)) == count


@define
class _Usage:
    free: int


def test_a_work_folder_that_cannot_be_used(servers: Servers, tmp_path: Path) -> None:
    (tmp_path / "work").touch()
    assert "WorkFolderRefused" in problems(look(servers, a_plan(a_push()))["sync push_signon"])[0]


def test_no_folder_is_made(servers: Servers, tmp_path: Path) -> None:
    look(servers, a_plan(a_push()))
    assert list(tmp_path.iterdir()) == []


# What is refused at run time


def test_a_pull_into_a_protected_environment_and_a_recovery(servers: Servers) -> None:
    pull = a_sync("pull_signon", environment="production")
    recovery = a_recovery("recover_signon", database="other")
    put(servers.bucket, "2026-11-24 01:00", "content", recovery, environment="production")
    put(servers.bucket, "2026-11-24 01:00", "content", pull)
    found = look(servers, a_plan(pull, recovery, environment="production", protected=True))
    assert problems(found["sync pull_signon"])[0].startswith("ProtectedEnvironment: ")


def test_a_transformation_that_is_not_there(servers: Servers, tmp_path: Path) -> None:
    sync = a_sync(transformation=tmp_path / "gone.sql")
    put(servers.bucket, "2026-11-24 01:00", "content", sync)
    assert problems(look(servers, a_plan(sync))["sync pull_signon"]) == ["gone.sql is not there"]


def test_a_bucket_sync_looks_at_both_buckets(servers: Servers) -> None:
    found = look(servers, a_plan(a_bucket_sync("mirror"), a_push("push_a")), only=("mirror",))
    assert list(found) == ["sync mirror"]
    assert servers.bucket.journal == ["look_at_mirrored", "look_at_mirrored"]
    assert problems(found["sync mirror"]) == []
    servers.bucket.trouble["look_at_mirrored"] = raises(AccessRefused("Not this one."))
    found = look(servers, a_plan(a_bucket_sync("mirror")))
    assert problems(found["sync mirror"]) == ["AccessRefused: Not this one."] * 2


def test_a_bucket_sync_into_a_protected_environment(servers: Servers) -> None:
    found = look(servers, a_plan(a_bucket_sync("mirror"), protected=True))
    [what] = problems(found["sync mirror"])
    assert what.startswith("ProtectedEnvironment: mirror would write to govuk-assets-integration")


def test_what_live_says_of_the_pull_before_is_looked_at(servers: Servers, tmp_path: Path) -> None:
    sql = tmp_path / "sanitise_signon.sql"
    sql.write_text("clean;")
    kept, said = a_sync("kept", transformation=sql), a_sync("said", says_none=True, reason="public")
    recovery = a_recovery("recovery")
    servers.worlds = {name: stamped(BY_FILE) for name in ("lost", "kept", "said")}
    servers.worlds["ruleless"] = stamped(BY_RULE, reason="public")
    put(servers.bucket, "2026-11-24 01:00", "content", kept)
    found = look(servers, a_plan(a_sync("lost"), kept, said, evolve(said, name="ruleless")))
    protected = Servers(worlds={"recovery": stamped(BY_FILE)})
    put(protected.bucket, "2026-11-24 01:00", "content", recovery, environment="production")
    found |= look(protected, a_plan(recovery, environment="production", protected=True))
    [lost] = problems(found["sync lost"])
    assert "NOT SANITISED: live of signon was sanitised by sanitise_signon.sql" in lost
    assert "`transformation_sql_filename: none` with `reason: <why>`" in lost
    [ruleless] = problems(found["sync ruleless"])
    assert "sanitised by postprocess/redact_last_part" in ruleless
    assert all(not found[f"sync {name}"].findings for name in ("kept", "said", "recovery"))


def test_what_came_down_raw_is_a_problem_of_its_push_unless_a_pull_comes_before(servers: Servers) -> None:
    pushes = [a_push("own"), *(a_push(name, filled_by="pull_signon") for name in ("filled", "partly"))]
    plan = a_plan(*pushes, sanitise=Sanitise.REQUIRED)
    partly = stamped(BY_FILE)
    assert partly.live is not None
    partly.live.unstamped = ("people-2025",)
    servers.worlds = {"own": stamped(), "filled": World(live=Database("x")), "partly": partly}
    found = look(servers, plan)
    assert any("no pull of Env Sync brought people-2025" in each for each in notes(found["sync partly"]))
    [told] = problems(found["sync own"])
    assert told.startswith("NOT SANITISED: pull_signon filled signon from ")
    assert problems(found["sync filled"]) == []
    assert any(
        "pull_signon fills signon, but live does not say" in each for each in notes(found["sync filled"])
    )
    found = look(servers, evolve(plan, settings=Settings()))
    assert problems(found["sync own"]) == []


def test_a_push_that_would_no_longer_sanitise_is_a_problem(servers: Servers, tmp_path: Path) -> None:
    sql = tmp_path / "sanitise_signon.sql"
    sql.write_text("clean;")
    put(servers.bucket, "2026-11-24 01:00", "content", a_push(), transformations=(BY_FILE,))
    pushes = [
        a_push("lost"),
        a_push("filled", filled_by="pull_signon"),
        a_push("kept", pre_dump_transformation=sql),
        a_push("said", says_none=True, reason="public"),
        a_push("elsewhere", path="signon-raw"),
    ]
    found = look(servers, a_plan(*pushes))
    for name in ("lost", "filled"):
        [lost] = problems(found[f"sync {name}"])
        assert "was sanitised by sanitise_signon.sql before it was taken" in lost
        assert "`pre_dump_transformation_sql_filename: none` with `reason: <why>`" in lost
    for name in ("kept", "said", "elsewhere"):
        assert problems(found[f"sync {name}"]) == []
    servers.bucket.trouble["newest_manifest"] = raises(DumpDamaged("The manifest m is not JSON"))
    [unknown] = problems(look(servers, a_plan(a_push("lost")))["sync lost"])
    assert "so nobody knows whether the dumps under signon-postgres" in unknown


def test_a_manifest_that_contradicts_sanitised_above_is_a_problem(servers: Servers) -> None:
    pull = a_sync(says_none=True, reason="sanitised above")
    key = put(servers.bucket, "2026-11-24 01:00", "content", pull, sanitised="NOT SANITISED")
    [told] = problems(look(servers, a_plan(pull))["sync pull_signon"])
    assert f"the manifest of {key} in govuk-staging-database-backups says that it was not" in told
    servers.bucket.manifests.clear()
    found = look(servers, a_plan(pull))["sync pull_signon"]
    assert problems(found) == []
    assert any("the dump has no manifest" in each for each in notes(found))


def test_a_stamp_that_cannot_be_read_is_told(servers: Servers, tmp_path: Path) -> None:
    sql = tmp_path / "sanitise_signon.sql"
    sql.write_text("clean;")
    pulls = [
        a_sync("raw"),
        a_sync("clean", transformation=sql),
        a_sync("said", says_none=True, reason="public"),
    ]
    put(servers.bucket, "2026-11-24 01:00", "content", pulls[0])
    for name in ("raw", "clean", "said", "push"):
        servers.worlds[name] = World(live=Database("x", unreadable=True))
    found = look(servers, a_plan(*pulls)) | look(servers, a_plan(a_push("push")))
    for name in ("raw", "push"):
        [told] = problems(found[f"sync {name}"])
        assert told.startswith("StampUnreadable: live carries a stamp that cannot be read")
    assert problems(found["sync clean"]) == problems(found["sync said"]) == []
    for name in ("clean", "said"):
        assert "StampUnreadable: " in "".join(notes(found[f"sync {name}"]))
