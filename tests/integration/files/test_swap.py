"""Promote, undo, what a kill left, and the lease."""

from __future__ import annotations

import datetime as dt
import errno
import os
import re
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from env_sync.core.errors import (
    AccessRefused,
    ConnectionMissing,
    ContentRefused,
    EnvSyncError,
    LeaseHeld,
    LeaseLost,
    NameRefused,
    NoPrevious,
    PreviousRefused,
    ProofMissing,
    RestoreFailed,
    ServerUnreachable,
    TransformationFailed,
    WrongEnvironment,
)
from env_sync.domain.finding import Level
from env_sync.domain.settings import Options
from env_sync.engines.base.contract import CopyState
from env_sync.engines.files import swap, syscalls
from env_sync.engines.files.metadata import Record, read_record, write_record
from env_sync.engines.files.names import HIDDEN
from tests.integration.files.stage import NAME, Stage
from tests.lacking import lacks


@pytest.fixture
def dump(stage: Stage) -> Path:
    """A dump of new data; live is old."""
    stage.make_live("new")
    dump = stage.push()
    shutil.rmtree(stage.live)
    stage.make_live("old")
    return dump


def text_of(folder: Path) -> str | None:
    return (folder / "file").read_text() if folder.exists() else None


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_live_keeps_its_owner_and_mode(stage: Stage, dump: Path) -> None:
    stage.live.chmod(0o2750)
    os.chown(stage.live, 60_001, 60_002)
    before = syscalls.identity(stage.live)
    stage.pulled(dump)
    status = stage.live.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o2750, 60_001, 60_002)
    assert (text_of(stage.live), text_of(stage.previous)) == ("new", "old")
    assert syscalls.identity(stage.previous) == before
    assert stat.S_IMODE((stage.root / HIDDEN).stat().st_mode) == 0o700
    assert names_in(stage.root) == {HIDDEN, NAME}


def test_undo_and_undo_again(stage: Stage, dump: Path) -> None:
    stage.pulled(dump)
    for run, wanted in (("undo", "old"), ("undo again", "new")):
        for attempt in ("first", "second"):
            engine = stage.engine(run=run, attempt=attempt)
            engine.take_lease(at_most=1)
            with engine.at_work():
                engine.restore_previous(lambda _: None)
                made = engine.made_live_by()
            assert made == engine.work.holder
            assert text_of(stage.live) == wanted
            engine.release_lease()


@pytest.mark.probe("a previous that somebody else made")
def test_what_was_never_live_is_not_made_live(stage: Stage, dump: Path) -> None:
    stage.pulled(dump)
    engine = stage.engine(run="undo")
    engine.take_lease(at_most=1)
    # Somebody puts a copy in its place: it looks the same, and is another directory.
    shutil.copytree(stage.previous, stage.folder / "copy")
    shutil.rmtree(stage.previous)
    shutil.move(stage.folder / "copy", stage.previous)
    with engine.at_work(), pytest.raises(PreviousRefused, match="nothing says that it was ever live"):
        engine.restore_previous(lambda _: None)
    shutil.rmtree(stage.previous)
    with engine.at_work(), pytest.raises(NoPrevious, match="no pull has replaced live yet"):
        engine.restore_previous(lambda _: None)
    assert text_of(stage.live) == "new"


def with_past(record: Record, **changes: Any) -> Record:
    assert record.was_live is not None
    return evolve(record, was_live=evolve(record.was_live, **changes))


def with_stamp(record: Record, **changes: Any) -> Record:
    assert record.stamp is not None
    return evolve(record, stamp=evolve(record.stamp, **changes))


FOREIGN_PASTS: dict[str, Callable[[Record], Record]] = {
    "nothing says that it was ever live": lambda record: evolve(record, was_live=None),
    "it was live as other in integration": lambda record: with_past(record, database="other"),
    f"it was live as {NAME} in production": lambda record: with_past(record, environment="production"),
    "it was pulled for integration and is raw": lambda record: with_stamp(record, state=CopyState.RAW),
    "it was pulled for staging and is sanitised": lambda record: with_stamp(record, environment="staging"),
}


@pytest.mark.parametrize("why", FOREIGN_PASTS)
@pytest.mark.probe("a previous that somebody else made")
def test_what_was_not_live_here_is_not_made_live(stage: Stage, dump: Path, why: str) -> None:
    stage.pulled(dump)
    # Again, so that previous has both a stamp and a past.
    stage.pulled(dump, stage.engine(run="next"))
    engine = stage.engine(run="undo")
    place = engine._place
    record = read_record(place, place.previous)
    assert record is not None
    write_record(place, place.previous, FOREIGN_PASTS[why](record))
    engine.take_lease(at_most=1)
    before = syscalls.identity(stage.live)
    with engine.at_work(), pytest.raises(PreviousRefused, match=f"{why}.*Live is untouched"):
        engine.restore_previous(lambda _: None)
    assert syscalls.identity(stage.live) == before
    # As it was, it may.
    write_record(place, place.previous, record)
    with engine.at_work():
        engine.restore_previous(lambda _: None)
    assert syscalls.identity(stage.live) != before


def test_a_live_that_was_put_there_by_hand_has_no_stamp(stage: Stage, dump: Path) -> None:
    stage.pulled(dump)
    engine = stage.engine()
    stamp = engine.live_stamp()
    assert stamp is not None
    assert stamp.born_in == "production"
    shutil.rmtree(stage.live)
    stage.make_live("by hand")
    assert engine.live_stamp() is None
    assert engine.made_live_by() is None


@pytest.mark.probe("a forged proof")
def test_promote_wants_the_proof_of_this_attempt(stage: Stage, dump: Path) -> None:
    stage.restored(dump, stage.engine())
    engine = stage.engine(attempt="second")
    engine.take_lease(at_most=1)
    with engine.at_work(), pytest.raises(ProofMissing, match="its attempt is first"):
        engine.promote((), lambda: None)
    with engine.at_work():
        engine.restore(stage.dump_of(dump))
        with pytest.raises(ProofMissing, match="is raw, not sanitised"):
            engine.promote((), lambda: None)
        engine.sanitise(())
        # Somebody puts another directory there: the proof stays with the one that it is of.
        shutil.move(stage.incoming, stage.folder / "away")
        stage.incoming.mkdir()
        with pytest.raises(ProofMissing, match="carries no stamp"):
            engine.promote((), lambda: None)
    assert text_of(stage.live) == "old"


def test_no_transformation_is_run(stage: Stage, dump: Path) -> None:
    engine = stage.engine()
    engine.take_lease(at_most=1)
    with engine.at_work():
        engine.restore(stage.dump_of(dump))
        with pytest.raises(TransformationFailed, match="cannot be run on files"):
            engine.sanitise((Path("sanitise.sql"),))
    assert not stage.incoming.exists()


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(params=["one step", "two renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With and without a file system that exchanges two names in one step."""
    if request.param == "two renames":
        monkeypatch.setattr(swap, "exchange", lambda first, second: False)
    way: str = request.param
    return way


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Has the process be gone before its so-manieth change on the disk."""
    real = {name: getattr(os, name) for name in ("replace", "rename", "mkdir", "unlink", "chmod")}
    call = syscalls._call
    left = [-1]

    def dying(function: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **named: object) -> object:
            left[0] -= 1
            if left[0] == -1:
                raise Killed
            return function(*arguments, **named)

        return run

    for name, function in real.items():
        monkeypatch.setattr(os, name, dying(function))
    monkeypatch.setattr(syscalls, "_call", dying(call))

    def at(number: int) -> None:
        left[0] = number

    yield at
    left[0] = -1


def test_killed_anywhere_in_promote(
    stage: Stage, dump: Path, way: str, killed_at: Callable[[int], None]
) -> None:
    ends = set()
    for moment in range(200):
        engine = stage.engine(run=f"run {moment}")
        stage.restored(dump, engine)
        killed_at(moment)
        try:
            with engine.at_work():
                engine.promote((), lambda: None)
        except Killed:
            died = True
        else:
            died = False
        killed_at(-1)
        if way == "one step":
            assert stage.live.exists()
        report = stage.engine(run=f"run {moment}")
        with report.at_work():
            report.clean_up()
            made = report.made_live_by()
        report.release_lease()
        text = text_of(stage.live)
        assert text in ("old", "new")
        assert (made == engine.work.holder) == (text == "new")
        assert text == "old" or text_of(stage.previous) == "old"
        assert not stage.incoming.exists()
        assert names_in(stage.incoming.parent) <= {"records", "at_work", "previous"}
        ends.add(text)
        if not died:
            assert text_of(stage.previous) == "old"
            break
        shutil.rmtree(stage.live)
        stage.make_live("old")
    else:
        pytest.fail("it never came to its end")
    assert moment > 5
    assert ends == {"old", "new"}


def test_killed_anywhere_in_undo(
    stage: Stage, dump: Path, way: str, killed_at: Callable[[int], None]
) -> None:
    stage.pulled(dump)
    for moment in range(200):
        before = text_of(stage.live)
        engine = stage.engine(run=f"undo {moment}")
        engine.take_lease(at_most=1)
        killed_at(moment)
        try:
            with engine.at_work():
                engine.restore_previous(lambda _: None)
        except Killed:
            died = True
        else:
            died = False
        killed_at(-1)
        report = stage.engine(run=f"undo {moment}")
        with report.at_work():
            report.clean_up()
            made = report.made_live_by()
        report.release_lease()
        assert {text_of(stage.live), text_of(stage.previous)} == {"old", "new"}
        assert (made == engine.work.holder) == (text_of(stage.live) != before)
        if not died:
            break
    else:
        pytest.fail("it never came to its end")
    assert moment > 3


def test_a_previous_that_cannot_be_removed_is_a_warning(
    stage: Stage, dump: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(errno.EBUSY, "busy", str(folder))

    stage.pulled(dump)
    engine = stage.engine(run="second")
    stage.restored(dump, engine)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", refuse)
        with engine.at_work():
            promotion = engine.promote((), lambda: None)
    assert (promotion.first, promotion.previous_kept) == (False, True)
    assert "replaced" in "".join(promotion.warnings)
    assert (text_of(stage.live), text_of(stage.previous)) == ("new", "new")
    assert "replaced" in names_in(stage.previous.parent)
    with engine.at_work():
        [note] = engine.clean_up().notes
    assert note.endswith("previous before the swap")
    assert names_in(stage.previous.parent) <= {"records", "lease.json", "at_work", "previous"}


def test_live_by_two_renames(stage: Stage, dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "exchange", lambda first, second: False)
    stage.pulled(dump)
    assert (text_of(stage.live), text_of(stage.previous)) == ("new", "old")


def test_a_live_that_cannot_be_swapped(stage: Stage, dump: Path) -> None:
    elsewhere = stage.folder / "elsewhere"
    shutil.move(stage.live, elsewhere)
    stage.live.symlink_to(elsewhere)
    engine = stage.engine()
    engine.take_lease(at_most=1)
    with engine.at_work(), pytest.raises(RestoreFailed, match=r"is a symlink.*Set `root`"):
        engine.restore(stage.dump_of(dump))
    [finding] = [one for one in engine.preflight((), None).findings if one.level is Level.PROBLEM]
    assert "is a symlink" in finding.what
    with pytest.raises(ContentRefused, match="is a symlink"):
        stage.engine(run="push", push=True)._check_live(ContentRefused)


def test_a_live_that_is_a_mount_point(stage: Stage, dump: Path) -> None:
    for inside in (".", "below"):
        mounted = stage.live / inside
        mounted.mkdir(exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mounted], capture_output=True, check=False)
        if done.returncode:
            lacks("this user may not mount anything")
        try:
            engine = stage.engine()
            engine.take_lease(at_most=1)
            with engine.at_work(), pytest.raises(RestoreFailed, match="is a file system of its own"):
                engine.restore(stage.dump_of(dump))
        finally:
            subprocess.run(["umount", mounted], check=True)
    with pytest.raises(EnvSyncError):
        stage.engine(database="../uploads").live_stamp()


@pytest.mark.parametrize(
    ("wanted", "extra", "error", "says"),
    [
        ({"host": "files-2.example"}, {}, ServerUnreachable, "for the files of files-2.example"),
        ({}, {"root": None}, ConnectionMissing, '"root"'),
        ({}, {"root": "relative"}, ConnectionMissing, '"root"'),
        ({}, {"root": "/nowhere/at/all"}, ServerUnreachable, "no directory /nowhere/at/all"),
        ({"database": "a/b"}, {}, NameRefused, "its name alone"),
        ({"database": ".."}, {}, NameRefused, "its name alone"),
        ({"database": HIDDEN}, {}, NameRefused, "Rename it"),
    ],
)
def test_a_connection_that_is_wrong(
    stage: Stage, wanted: dict[str, Any], extra: dict[str, Any], error: type[EnvSyncError], says: str
) -> None:
    stage.make_live()
    stage.extra = extra
    with pytest.raises(error, match=says):
        stage.engine(**wanted).take_lease(at_most=1)
    assert names_in(stage.root) == {NAME}


@pytest.mark.probe("a connection of another environment")
def test_a_connection_of_another_environment(stage: Stage, dump: Path) -> None:
    engine = stage.engine(environment="staging")
    engine.take_lease(at_most=1)
    with engine.at_work(), pytest.raises(WrongEnvironment, match="belongs to staging"):
        engine.restore(stage.dump_of(dump))


@pytest.mark.parametrize("wrong", ["mode", "owner", "link"])
@pytest.mark.probe("a right that reaches the copies")
def test_what_others_could_enter_holds_no_incoming(stage: Stage, dump: Path, wrong: str) -> None:
    hidden = stage.root / HIDDEN
    if wrong == "mode":
        hidden.chmod(0o755)
    elif wrong == "owner":
        os.chown(hidden, 60_001, 60_001)
    else:
        shutil.move(hidden, stage.folder / "hidden")
        hidden.symlink_to(stage.folder / "hidden")
    with pytest.raises(AccessRefused, match="with mode 0700"):
        stage.restored(dump, stage.engine())
    assert not stage.incoming.exists()
    with pytest.raises(AccessRefused, match="with mode 0700"):
        stage.engine().preflight_server()


@pytest.mark.parametrize("name", ["lock", f"{NAME}/lease.json", f"{NAME}/at_work"])
@pytest.mark.parametrize("wrong", ["mode", "owner", "link", "second name", "directory"])
@pytest.mark.probe("leases that somebody else made or may change")
def test_a_lease_that_somebody_else_made(stage: Stage, name: str, wrong: str) -> None:
    stage.make_live()
    engine = stage.engine()
    engine.take_lease(at_most=1)
    with engine.at_work():
        pass
    file, other = stage.root / HIDDEN / name, stage.folder / "another's"
    other.write_text("{}")
    if wrong == "mode":
        file.chmod(0o620)
    elif wrong == "owner":
        os.chown(file, 60_001, 60_001)
    elif wrong == "second name":
        os.link(file, stage.root / "second")
    else:
        file.unlink()
        if wrong == "link":
            file.symlink_to(other)
        else:
            file.mkdir()
    refused = f"{file} must be a file of the user of this worker"
    with pytest.raises(AccessRefused, match=re.escape(refused)):
        engine.take_lease(at_most=1)
    with pytest.raises(AccessRefused, match="neither read nor written"), engine.at_work():
        pytest.fail("A step went on.")
    with pytest.raises(AccessRefused, match=re.escape(refused)):
        engine.preflight_server()
    assert other.read_text() == "{}"


def with_list(folder: Path) -> None:
    """Let another user enter a folder by an access control list, as `setfacl -m u:60001:rwx` does."""
    entries = [(0x01, 7, -1), (0x02, 7, 60_001), (0x04, 0, -1), (0x10, 0, -1), (0x20, 0, -1)]
    packed = [struct.pack("<HHI", tag, rights, who & 0xFFFFFFFF) for tag, rights, who in entries]
    os.setxattr(folder, "system.posix_acl_default", struct.pack("<I", 2) + b"".join(packed))


@pytest.mark.probe("a right that reaches the copies")
def test_who_could_enter_is_told(stage: Stage) -> None:
    stage.make_live()
    engine = stage.engine()
    engine.take_lease(at_most=1)
    looked = engine.preflight((), None)
    assert "by root and the user number" in looked.said
    assert not [one for one in looked.findings if one.level is Level.PROBLEM]
    assert not any("may rename" in one.what for one in looked.findings)
    stage.root.chmod(0o777)
    assert any(
        f"Everybody may rename what is in {stage.root}" in one.what
        for one in engine.preflight((), None).findings
    )
    stage.root.chmod(0o755)
    try:
        with_list(stage.root / HIDDEN / NAME)
    except OSError as problem:
        if problem.errno != errno.EOPNOTSUPP:
            raise
        lacks("this file system has no access control lists")
    [found] = [one for one in engine.preflight((), None).findings if one.level is Level.PROBLEM]
    assert "has an access control list (system.posix_acl_default)" in found.what


def test_one_at_a_time(stage: Stage) -> None:
    stage.make_live()
    first, second = stage.engine(run="first"), stage.engine(run="second")
    first.take_lease(at_most=1)
    with pytest.raises(LeaseHeld, match="is held by first sync"):
        second.take_lease(at_most=1)
    second.release_lease()
    with pytest.raises(LeaseLost, match="is held by first sync"), second.at_work():
        pass
    other = stage.engine(run="other", database="other")
    with pytest.raises(LeaseHeld, match="1 leases are held below"):
        other.take_lease(at_most=1)
    other.take_lease(at_most=2)
    # A newer attempt of the same group takes over, and the older one stops.
    newer = stage.engine(run="first", attempt="second")
    newer.take_lease(at_most=1)
    with pytest.raises(LeaseLost, match="a newer attempt of this group"), first.at_work():
        pass
    newer.release_lease()
    second.take_lease(at_most=2)


def test_a_lease_that_another_version_wrote_is_left_alone(stage: Stage) -> None:
    engine, other = stage.engine(), stage.engine(database="other")
    engine.take_lease(at_most=1)
    lease = stage.root / HIDDEN / NAME / "lease.json"
    lease.write_text('{"held_by": "another version"}')
    for refused in (engine.release_lease, lambda: engine.take_lease(at_most=1)):
        with pytest.raises(LeaseHeld, match=r"another version of Env Sync wrote it\. Wait until"):
            refused()
    with pytest.raises(LeaseHeld, match="uploads by another version of Env Sync"):
        other.take_lease(at_most=1)
    # Whatever a power cut leaves, nobody holds it.
    lease.write_text("")
    engine.take_lease(at_most=1)


def test_a_lease_that_lapsed_is_free_only_when_its_process_is_at_rest(stage: Stage) -> None:
    stage.make_live()
    brief = Options(lease_lifetime=dt.timedelta(0))
    first = stage.engine(run="first", options=brief)
    second = stage.engine(run="second")
    first.take_lease(at_most=1)
    with first.at_work(), pytest.raises(LeaseHeld, match="It has lapsed, but its process is still at work"):
        second.take_lease(at_most=1)
    second.take_lease(at_most=1)
    with pytest.raises(LeaseLost, match="is held by second"), first.at_work():
        pass


def test_preflight(stage: Stage) -> None:
    stage.make_live()
    (stage.live / "out").symlink_to("/etc")
    push = stage.engine(push=True, excluded_tables=("*.tmp",))
    looked = push.preflight((), None)
    said = [finding.what for finding in looked.findings]
    assert any("1 symlinks" in what and "'out'" in what for what in said)
    assert any("excluded_tables has *.tmp, and nothing of" in what for what in said)
    assert looked.live_size is not None
    assert [one.level for one in push.preflight_server()] == [Level.NOTE]
    assert names_in(stage.root) == {NAME}
