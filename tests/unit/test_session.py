import os
from pathlib import Path

import pytest

from env_sync.core.errors import ConfirmationMissing, ProtectedEnvironment, WorkFolderRefused
from env_sync.domain.settings import Settings
from env_sync.engines.base.contract import Holder
from env_sync.pipeline.session import check_allowed, check_folder, make_folder, remove_folder, work_folder
from env_sync.planning.request import NIGHTLY, Request, read_request
from tests.unit.memory_engine import World, open_memory_session
from tests.unit.values import SQL, a_plan, a_push, a_recovery, a_sync

HOLDER = Holder(run="env_sync_integration/scheduled__2026-11-23T22:00:00+00:00", group="pull", attempt="a")
PROTECTED = Settings(protected=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path / "work"))
    return work_folder(a_sync(), HOLDER)


def test_the_folder_is_of_the_user_the_environment_the_group_and_the_run(
    folder: Path, tmp_path: Path
) -> None:
    assert folder.parent == tmp_path / "work" / f"env_sync_{os.getuid()}" / "integration" / "pull"
    assert "2026_11_23T22_00_00_00_00" in folder.name


def test_it_is_one_for_all_attempts_of_a_run_and_another_for_each_run(folder: Path) -> None:
    again = Holder(run=HOLDER.run, group="pull", attempt="b")
    assert work_folder(a_sync(), again) == folder
    # The same but for a character that cannot stand in a name.
    other = Holder(run=HOLDER.run.replace("+", "-"), group="pull", attempt="a")
    assert work_folder(a_sync(), other) != folder


@pytest.mark.parametrize("run", ["a/../../b", "x" * 1000, "/etc", "..", "naïve\n"])
def test_no_name_of_a_run_leads_elsewhere(folder: Path, run: str) -> None:
    made = work_folder(a_sync(), Holder(run=run, group="pull", attempt="a"))
    assert made.parent == folder.parent
    assert made.name not in ("", ".", "..")
    assert len(made.name) < 100


def test_where_it_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENV_SYNC_WORK_FOLDER", raising=False)
    sync = a_sync(temppath=tmp_path / "own")
    assert work_folder(sync, HOLDER).is_relative_to(tmp_path / "own")
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path / "all"))
    assert work_folder(sync, HOLDER).is_relative_to(tmp_path / "all")


def test_nobody_else_looks_into_it_nor_into_those_above_it(folder: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_folder(folder)
    finally:
        os.umask(before)
    each = folder
    while each != tmp_path / "work":
        assert each.stat().st_mode & 0o777 == 0o700
        each = each.parent
    make_folder(folder)


@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("trick", ["link", "dangling link", "file", "open to others", "open to the group"])
def test_what_somebody_else_may_have_put_there_is_refused(
    folder: Path, tmp_path: Path, level: int, trick: str
) -> None:
    place = [folder, *folder.parents][level]
    place.parent.mkdir(parents=True, mode=0o700)
    for parent in place.parents:
        if parent == tmp_path:
            break
        parent.chmod(0o700)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if trick == "link":
        place.symlink_to(elsewhere)
    elif trick == "dangling link":
        place.symlink_to(tmp_path / "nowhere")
    elif trick == "file":
        place.touch(0o600)
    else:
        place.mkdir()
        place.chmod(0o701 if trick == "open to others" else 0o770)
    with pytest.raises(WorkFolderRefused, match="ENV_SYNC_WORK_FOLDER"):
        make_folder(folder)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
@pytest.mark.parametrize("level", range(4))
def test_a_folder_of_another_user_is_refused(folder: Path, level: int) -> None:
    make_folder(folder)
    os.chown([folder, *folder.parents][level], 65534, 65534)
    with pytest.raises(WorkFolderRefused, match="not a private folder of this user"):
        make_folder(folder)


def test_a_root_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path / "file" / "work"))
    with pytest.raises(WorkFolderRefused, match="Not a directory"):
        make_folder(work_folder(a_sync(), HOLDER))


def test_a_folder_is_looked_at_without_making_it(folder: Path, tmp_path: Path) -> None:
    assert check_folder(folder) == tmp_path
    assert list(tmp_path.iterdir()) == []
    make_folder(folder)
    assert check_folder(folder) == folder
    remove_folder(folder)
    assert check_folder(folder) == folder.parent


@pytest.mark.parametrize("trick", ["link", "dangling link", "file", "open to others"])
def test_looking_refuses_what_making_would(folder: Path, tmp_path: Path, trick: str) -> None:
    place = folder.parents[2]
    place.parent.mkdir()
    if trick == "open to others":
        place.mkdir(mode=0o701)
    elif trick == "file":
        place.touch(0o600)
    else:
        place.symlink_to(tmp_path if trick == "link" else tmp_path / "nowhere")
    for look in (check_folder, make_folder):
        with pytest.raises(WorkFolderRefused, match="ENV_SYNC_WORK_FOLDER"):
            look(folder)


def test_looking_refuses_a_root_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path / "file" / "work"))
    with pytest.raises(WorkFolderRefused, match="no folder"):
        check_folder(work_folder(a_sync(), HOLDER))


def test_it_is_removed_with_all_that_is_in_it(folder: Path) -> None:
    make_folder(folder)
    (folder / "deep").mkdir()
    (folder / "deep" / "dump").touch()
    remove_folder(folder)
    remove_folder(folder)
    assert not folder.exists()


def test_the_store_is_opened_once_and_only_when_it_is_asked_for(folder: Path) -> None:
    session = open_memory_session(World(), a_sync())
    assert session.store is session.store


@pytest.mark.parametrize(
    "request_", [NIGHTLY, Request(nightly=False, only=("pull_signon",), confirm="signon")]
)
def test_a_pull_into_a_protected_environment_is_refused(request_: Request) -> None:
    with pytest.raises(ProtectedEnvironment, match="Nothing was touched"):
        check_allowed(a_sync(environment="production"), PROTECTED, request_)


def test_a_transformation_of_live_in_a_protected_environment_is_refused() -> None:
    push = a_push(environment="production", pre_dump_transformation=SQL, pre_dump_in_place=True)
    with pytest.raises(ProtectedEnvironment, match="pre_dump_in_place"):
        check_allowed(push, PROTECTED, NIGHTLY)


@pytest.mark.parametrize("confirm", ["", "Signon", "signon2"])
def test_a_recovery_needs_the_name_of_its_database(confirm: str) -> None:
    request = Request(nightly=False, only=("recover_signon",), confirm=confirm)
    with pytest.raises(ConfirmationMissing, match="signon"):
        check_allowed(a_recovery(), PROTECTED, request)


def test_a_run_that_was_let_in_with_its_confirmation_is_not_refused_later() -> None:
    sync = a_recovery()
    plan = a_plan(sync, environment="production", protected=True)
    for confirm in ("signon", "signon NOT SANITISED"):
        check_allowed(sync, PROTECTED, read_request({"restore_previous": "signon", "confirm": confirm}, plan))
    raw = Request(nightly=False, only=("recover_signon",), confirm="signon NOT SANITISED")
    with pytest.raises(ConfirmationMissing, match="signon"):
        check_allowed(sync, PROTECTED, raw)


def test_what_is_allowed() -> None:
    check_allowed(a_sync(), Settings(), NIGHTLY)
    check_allowed(a_push(pre_dump_transformation=SQL, pre_dump_in_place=True), Settings(), NIGHTLY)
    check_allowed(a_push(pre_dump_transformation=SQL), PROTECTED, NIGHTLY)
    check_allowed(a_push(environment="production"), PROTECTED, NIGHTLY)
    check_allowed(a_recovery(), PROTECTED, Request(nightly=False, only=("recover_signon",), confirm="signon"))
